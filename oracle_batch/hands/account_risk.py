"""What the hands remember of an account as a whole: anchors, trades, spreads. Plain frozen values."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from oracle_batch.hands.anchors import Anchors
from oracle_batch.hands.ledger import Ended
from oracle_batch.hands.spreads import SpreadWindow
from oracle_batch.hands.trade_log import ClosedTrade, TradeLog, forgiven, recorded


class AccountRisk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One account's memory beside its models' books; it is written with them, in one piece.

    ``anchors`` are None until the account is first looked at; ``initial_balance`` is the setting that they were made
    with (0: none). ``spreads`` are by symbol. ``target_reached`` is when the profit target was (Unix seconds): no entry
    until the operator's reset. ``alike`` are the accounts of which it was told that they trade just as this one.
    """

    anchors: Anchors | None = None
    initial_balance: float = 0.0
    trades: TradeLog = TradeLog()
    spreads: Mapping[str, SpreadWindow] = {}
    target_reached: float | None = None
    alike: tuple[str, ...] = ()


def with_end(risk: AccountRisk, model: str, symbol: str, result: Ended, now: float, keep_s: float) -> AccountRisk:
    """The memory with one more position of ours that has ended; ``now`` stands in where the broker tells no time."""
    time = now if result.time is None else result.time
    trade = ClosedTrade(model, symbol, time, result.net, result.reason)
    return replace(risk, trades=recorded(risk.trades, trade, keep_s))


def reset(risk: AccountRisk) -> AccountRisk:
    """The memory after the operator's reset: no pause, no streak, no target reached; the day's anchors stay."""
    anchors = None if risk.anchors is None else replace(risk.anchors, pause=None)
    return replace(risk, anchors=anchors, trades=forgiven(risk.trades), target_reached=None)
