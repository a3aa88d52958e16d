"""Bars to train on, asked of the workspace's broker."""

from __future__ import annotations

from typing import Final

from oracle_batch.bars import empty
from oracle_batch.brokers import make_broker
from oracle_batch.clock import Clock
from oracle_batch.config import Settings
from oracle_batch.errors import BarError
from oracle_batch.store.workspace import Workspace
from oracle_batch.training.data import History, usable
from oracle_batch.types import TIMEFRAME_SECONDS

SLACK_S: Final = 10 * 86400
LONGEST_S: Final = 15 * 365 * 86400
"""No bars are asked for that are older: minutes of so many years come in some 150 pages, which take half a minute."""


async def fetch(
    workspace: Workspace, settings: Settings, clock: Clock, symbol: str, broker_symbol: str, timeframe: str, count: int
) -> History:
    """The last ``count`` closed bars of the first account's feed, or all there are; asks further and further back.

    Raises:
        BarError: the feed has none, or nothing can be learnt from them.
        BrokerError: the broker does not answer.
    """
    account = settings.accounts[0]
    broker = make_broker(account, workspace, {}, clock, dry_run=True)
    now = int(clock.now())
    span = count * TIMEFRAME_SECONDS[timeframe] * 3 // 2 + SLACK_S
    bars = empty()
    await broker.connect()
    try:
        for reach in (span, 4 * span, LONGEST_S):
            bars = await broker.bars(broker_symbol, timeframe, now - min(reach, LONGEST_S), now)
            if len(bars) >= count or reach >= LONGEST_S:
                break
    finally:
        await broker.close()
    if not len(bars):
        raise BarError(
            f"the {account.kind} feed has no {timeframe} bars of {broker_symbol}",
            file=account.account,
            field="--from-broker",
            fix="check the symbol, or give --bars FILE",
        )
    return usable(History(symbol, timeframe, bars[-count:], f"{account.kind} feed"))
