"""Volume and protection of a model's entries, asked of the hands once where the answer cannot change."""

from __future__ import annotations

from oracle_batch.bars import Bars
from oracle_batch.broker.base import Quote
from oracle_batch.config import SymbolSettings
from oracle_batch.hands import entries
from oracle_batch.hands.atr import atr
from oracle_batch.hands.protection import Sized
from oracle_batch.hands.refusal import Refusal
from oracle_batch.market import fills
from oracle_batch.market.pricing import Pricing
from oracle_batch.market.specs import Contract
from oracle_batch.types import ACTIONS, WINDOW

_BALANCE = 1.0
"""Any: where a balance or an equity counts, nothing is asked once."""


class Sizes:
    """What ``hands.entries.size`` says of a model's wishes.

    Without a share of the account, an average true range or a rate that moves, the answer depends on the price alone,
    and on that only through the room that a low price leaves, which grows with it: where the lowest and the highest
    price of all history are answered alike, so is every one between them.
    """

    def __init__(
        self,
        settings: SymbolSettings,
        pricing: Pricing,
        symbol: str,
        bars: Bars,
        span: tuple[float, float],
        steady: bool,
    ) -> None:
        self._settings, self._pricing, self._symbol = settings, pricing, symbol
        self._bars, self._span = bars, span
        shares = settings.risk_per_trade_pct or settings.max_stop_pct or settings.sl_atr or settings.tp_atr
        self._once = steady and not shares
        self._known: dict[tuple[int, int], Sized | Refusal | None] = {}

    def known(self, contract: Contract, action: int, at: float) -> Sized | Refusal | None:
        """The answer where it is always the same."""
        if not self._once:
            return None
        key = (id(contract), action)  # a market keeps the few contracts that it has for good
        if key not in self._known:
            self._known[key] = self._for_all(contract, action, at)
        return self._known[key]

    def all_known(self, contract: Contract, at: float) -> bool:
        """Whether every wish has a size, and always the same one."""
        return len(self.of_all(contract, at)) == sum(one.intensity > 0 for one in ACTIONS)

    def of_all(self, contract: Contract, at: float) -> dict[int, Sized]:
        """The sizes of the actions that always have the same one."""
        found = {one.index: self.known(contract, one.index, at) for one in ACTIONS if one.intensity}
        return {action: size for action, size in found.items() if isinstance(size, Sized)}

    def asked(self, action: int, row: int, quote: Quote, at: float, balance: float, equity: float) -> Sized | Refusal:
        settings, reach = self._settings, None
        if settings.sl_atr or settings.tp_atr:
            reach = atr(self._bars[row : row + WINDOW], settings.atr_period)
        terms = self._pricing.terms(self._symbol, at)
        return entries.size(settings, terms, quote, action=action, atr=reach, balance=balance, equity=equity)

    def _for_all(self, contract: Contract, action: int, at: float) -> Sized | Refusal | None:
        """The answer at any price, None where there are several."""
        lowest, highest = (
            self.asked(action, 0, Quote(bid, fills.exit_quote(contract, -1, bid), at), at, _BALANCE, _BALANCE)
            for bid in self._span
        )
        if isinstance(lowest, Refusal) and isinstance(highest, Refusal):
            return lowest if lowest.code == highest.code else None
        return lowest if lowest == highest else None
