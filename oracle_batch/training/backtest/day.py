"""The day of an account's limits: its lines, and what the looks around its reset make of the anchors."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from oracle_batch.hands.account_risk import AccountRisk
from oracle_batch.hands.anchors import AccountMoney, Booking, History
from oracle_batch.hands.limit_rules import LimitRules
from oracle_batch.hands.reset_days import last_reset, next_reset
from oracle_batch.hands.roll import roll
from oracle_batch.market.book import BookedDeal
from oracle_batch.training.backtest.dealing import NotPlainError
from oracle_batch.training.backtest.threat import levels_of


class Day:
    """``floor`` is the equity at which a limit closes positions, ``no_entry`` the one at which it stops entries (minor
    units), ``ends`` the next reset: what they are until then.
    """

    floor: float
    no_entry: float
    ends: float

    def __init__(self, rules: LimitRules) -> None:
        self._rules = rules

    def begin(self, risk: AccountRisk) -> None:
        """Take the lines from the anchors."""
        assert risk.anchors is not None
        self.floor, self.no_entry = levels_of(risk.anchors, self._rules)
        self.ends = next_reset(self._rules.day, risk.anchors.day_start)

    def rolled(
        self, risk: AccountRisk, at: float, money: AccountMoney, deals: Sequence[BookedDeal]
    ) -> tuple[AccountRisk, list[str]]:
        """The account's memory as of a look near a reset, and the events that are told of it.

        Raises:
            NotPlainError: an anchor is a guess.
        """
        anchors, history = risk.anchors, None
        assert anchors is not None
        if at >= self.ends:
            since = min(last_reset(self._rules.day, at)[1], anchors.last_seen.time)
            results = []
            for deal in reversed(deals):
                if deal.time < since:
                    break
                results.append(Booking(deal.time, deal.profit + deal.swap - deal.commission))
            history = History(since, tuple(reversed(results)), ())
        anchors, events = roll(anchors, self._rules, at, money, history)
        if anchors.balance_source == "estimated":
            raise NotPlainError
        return replace(risk, anchors=anchors), [event.code.lower() for event in events]
