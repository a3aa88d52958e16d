"""Deals of one model alone, as the market engine makes them: its arithmetic, on values that nothing else can touch."""

from __future__ import annotations

from typing import NamedTuple

from oracle_batch.broker.base import Quote
from oracle_batch.bundle.model import Model
from oracle_batch.config import SymbolSettings
from oracle_batch.config.rules import EntryRules
from oracle_batch.hands import rules_market, rules_time, rules_trades
from oracle_batch.hands.plan import intent_id
from oracle_batch.hands.protection import Sized
from oracle_batch.hands.refusal import Refusal
from oracle_batch.hands.spreads import SpreadWindow
from oracle_batch.hands.trade_log import TradeLog
from oracle_batch.market import fills
from oracle_batch.market.book import BookedDeal, OpenPosition
from oracle_batch.market.fills import OrderIds
from oracle_batch.market.orders import Order, protection_prices, protection_refusal, range_refusal, volume_refusal
from oracle_batch.market.specs import Contract
from oracle_batch.market.tape import Mark, Tape
from oracle_batch.training.backtest.account import MemoryBroker
from oracle_batch.training.backtest.threat import FREE_SHARE, NEAR_PRICE
from oracle_batch.types import label_of


class NotPlainError(Exception):
    """Something has come up that a whole tick or guard must look at."""


class When(NamedTuple):
    """A decision's bar (its open), its close, and the instant of the tick (Unix seconds)."""

    bar_time: int
    close: int
    at: float


class Dealer:
    """Makes the deals of a model that is alone on a hedged account whose market never closes."""

    def __init__(
        self, model: Model, settings: SymbolSettings, rules: EntryRules, broker: MemoryBroker, tape: Tape
    ) -> None:
        self._name, self._symbol, self._label = model.model_id, model.broker_symbol, label_of(model.model_id)
        self._settings, self._rules, self._tape = settings, rules, tape
        self._pricing = broker.engine.pricing
        self._orders: dict[tuple[int, int, int | None, int | None], Order] = {}
        self._met: tuple[float, Mark] = (float("nan"), Mark(float("nan"), float("nan")))
        self._leverage, self._digits = broker.book.leverage, broker.book.money_digits

    def contract(self) -> Contract:
        """The terms now."""
        found = self._pricing.contract(self._symbol)
        if found is None:
            raise NotPlainError
        return found

    def quote(self, contract: Contract, at: float) -> Quote:
        """Bid and ask at an instant."""
        mark = self._tape.last(self._symbol, at)
        if mark is None:
            raise NotPlainError
        return Quote(mark.bid, fills.exit_quote(contract, -1, mark.bid), mark.time)

    def same(self, found: Sized | Refusal, position: OpenPosition) -> bool:
        """Whether a position may be kept, since what is wished for would be as large."""
        return isinstance(found, Refusal) or found.volume_cents == position.volume_cents

    def refusal(self, log: TradeLog, contract: Contract, now: float) -> Refusal | None:
        """What the rules that can be in force (``plain.is_plain``) say of an entry, in the order of ``hands.rules``."""
        rules, limit = self._rules, self._settings.max_spread_pips
        found = (
            rules_trades.consecutive_losses(rules, log, self._name, now)
            or rules_trades.stoploss_guard(rules, log, self._symbol, now)
            or rules_trades.low_profit(rules, log, self._name, now)
            or rules_time.trading_hours(rules, now)
        )
        if found is not None or not limit:
            return found
        return rules_market.spread(rules, limit, self.quote(contract, now), contract.spec.digits, SpreadWindow())

    def closing(self, position: OpenPosition, when: When, order_id: int, deal_id: int) -> BookedDeal:
        """The deal of a closing leg."""
        price = fills.deal_price(position.contract, -position.direction, self._fill(when.close).bid)
        ids = OrderIds(order_id, deal_id, intent_id(self._name, when.bar_time, 0), when.at)
        rate = self._pricing.rate(position, when.close)
        deal, _ = fills.closing(position, position.volume_cents, price, rate, "order", ids, self._digits)
        return deal

    def entry(
        self,
        contract: Contract,
        found: Sized,
        direction: int,
        when: When,
        balance: int,
        used: int,
        ids: tuple[int, int, int],
    ) -> tuple[OpenPosition, BookedDeal]:
        """A position and the deal that opens it, on an account that is flat by then; ``ids``: position, order, deal.

        ``balance`` is what there is then, ``used`` the margin that is in use before.

        Raises:
            NotPlainError: the market, or the margin, might refuse it.
        """
        order = self._order(contract, found, direction)
        price, bid, protected = self._filled(order, contract, when)
        rate = self._pricing.rates.profit_rate(contract, when.close)
        volume, digits = found.volume_cents, self._digits
        margin = self._pricing.margin(contract, volume, price, when.close, self._leverage, digits)
        commission = fills.round_turn_minor(contract, volume, digits, half=True)
        free = balance * (1 - self._rules.min_free_margin_pct / 100)
        if used + margin + commission > FREE_SHARE * free:
            raise NotPlainError
        position = OpenPosition(
            position_id=ids[0],
            contract=contract,
            direction=direction,
            volume_cents=volume,
            entry_price=price,
            opened_at=when.at,
            label=self._label,
            comment="",
            stop_loss=protected[0],
            take_profit=protected[1],
            margin=margin,
            commission=commission,
            mark=bid,
            rate=rate.value,
            stop_trigger=order.stop_trigger,
        )
        placed = OrderIds(ids[1], ids[2], intent_id(self._name, when.bar_time, 1), when.at)
        return position, fills.opening(position, volume, price, commission, rate, placed)

    def _order(self, contract: Contract, found: Sized, direction: int) -> Order:
        """What of an order its fill depends on; one of a volume that the contract does not take is not plain."""
        distances = found.distances
        key = (found.volume_cents, direction, distances.stop_relative, distances.target_relative)
        order = self._orders.get(key)
        if order is None:
            order = self._orders[key] = Order(
                self._symbol,
                direction,
                found.volume_cents,
                0.0,
                stop_relative=distances.stop_relative or 0,
                target_relative=distances.target_relative or 0,
                max_slippage_points=self._settings.max_slippage_points,
                stop_trigger=self._settings.stop_trigger_method,
            )
        if volume_refusal(order, contract) is not None:
            raise NotPlainError
        return order

    def _fill(self, close: int) -> Mark:
        """The bid that orders meet which a bar's close has decided."""
        if self._met[0] != close:
            mark = self._pricing.fill_mark(self._symbol, close)
            if mark is None:
                raise NotPlainError
            self._met = close, mark
        return self._met[1]

    def _filled(
        self, order: Order, contract: Contract, when: When
    ) -> tuple[float, float, tuple[float | None, float | None]]:
        """Price, bid and protection of a fill that the market is certain to make."""
        bid, seen = self._fill(when.close).bid, self._tape.last(self._symbol, when.at)
        if seen is None or abs(bid - seen.bid) > NEAR_PRICE * seen.bid:
            raise NotPlainError
        price = fills.deal_price(contract, order.direction, bid)
        protected = protection_prices(order, contract, price)
        if isinstance(protected, fills.Refusal):
            raise NotPlainError
        if order.max_slippage_points:
            quoted = self._tape.last(self._symbol, when.close)
            if quoted is None or range_refusal(order, contract, price, quoted.bid) is not None:
                raise NotPlainError
        if protection_refusal(contract, order.direction, bid, *protected) is not None:
            raise NotPlainError
        return price, bid, protected
