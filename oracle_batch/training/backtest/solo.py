"""One model alone on an account, from one new signal to the next, without a job's scaffolding.

The same rules and the same arithmetic as the desk's and the market engine's, called one by one, where nothing but
them can matter: plain settings, no limit in reach at the worst price of the stretch, orders that the market is certain
to take. Whatever else comes is left, untouched, to a whole tick or guard, and taken over again after it. Tests hold
both ways to the same deals, money and refusals.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

import numpy as np
from msgspec.structs import replace

from oracle_batch.bars import Bars
from oracle_batch.broker.base import CloseReason
from oracle_batch.clock import FrozenClock
from oracle_batch.errors import OracleBatchError
from oracle_batch.hands import ledger, sync
from oracle_batch.hands.anchors import AccountMoney
from oracle_batch.hands.books import Waiting
from oracle_batch.hands.limit_rules import LimitRules
from oracle_batch.hands.protection import Sized
from oracle_batch.hands.refusal import Refusal
from oracle_batch.market import fills, swaps
from oracle_batch.market.book import BookedDeal, OpenPosition
from oracle_batch.market.fills import OrderIds
from oracle_batch.store.executor import Executor
from oracle_batch.training.backtest.account import MemoryBroker, Setup
from oracle_batch.training.backtest.chronicle import Chronicle
from oracle_batch.training.backtest.day import Day
from oracle_batch.training.backtest.dealing import Dealer, NotPlainError, When
from oracle_batch.training.backtest.express import express_of
from oracle_batch.training.backtest.history import HistoryTape
from oracle_batch.training.backtest.itinerary import itinerary_of
from oracle_batch.training.backtest.lives import Life
from oracle_batch.training.backtest.looks import GUARD_AFTER_S, TICK_AFTER_S, Looks, closes_of
from oracle_batch.training.backtest.prices import Prices
from oracle_batch.training.backtest.reaching import reached
from oracle_batch.training.backtest.sizes import Sizes
from oracle_batch.training.backtest.solo_state import Entered, handed_back, played, taken_over
from oracle_batch.training.backtest.threat import MARGIN_SHARE, at_risk
from oracle_batch.types import ACTIONS

RESTS: Final = ("CONSECUTIVE_LOSSES_MODEL", "CONSECUTIVE_LOSSES_ACCOUNT")
"""Why a model rests until an instant."""


class Solo:
    """Takes an account from look to look where that is plain; ``chronicle`` hears of it.

    ``steady`` says that no price moves the conversion rate, ``constant`` that costs do not go by the hour.
    """

    def __init__(
        self,
        life: Life,
        bars: Bars,
        setup: Setup,
        rules: LimitRules,
        broker: MemoryBroker,
        clock: FrozenClock,
        looks: Looks,
        prices: Prices,
        tape: HistoryTape,
        chronicle: Chronicle,
        *,
        steady: bool,
        constant: bool,
    ) -> None:
        self._life, self._broker, self._clock = life, broker, clock
        self._looks, self._prices, self._tape, self._chronicle = looks, prices, tape, chronicle
        model = life.model
        self._name, self._symbol = model.model_id, model.broker_symbol
        self._settings, self._keep_s = setup.symbols[self._name], setup.account.risk.history_s
        self._pricing, self._digits = broker.engine.pricing, broker.book.money_digits
        self._unit = 10.0**self._digits
        span = (float(prices.bid.min()), float(prices.bid.max()))
        self._sizes = Sizes(self._settings, self._pricing, self._symbol, bars, span, steady=steady)
        self._keeps = setup.rules.same_volume == "hold"
        self._dealer = Dealer(model, self._settings, setup.account.risk, broker, tape)
        self._actions: list[int] = life.action.tolist()
        self._bar_times: list[int] = life.time.tolist()
        self._closes = closes_of(life)
        self._close_times: list[int] = self._closes.tolist()
        self._day = Day(rules)
        self._way = itinerary_of(life, looks, prices)
        self._constant = constant
        self._resting: tuple[str, float] = "", 0.0
        rest = setup, self._dealer, self._day, chronicle, broker.engine, tape
        self._express = express_of(life, self._way, prices, self._sizes, *rest) if constant else None

    def run(self, place: int, memory: Executor) -> tuple[int, Executor]:
        """Go on from the look at ``place``, none of which is made yet; gives the next one that is to be made."""
        known = int(self._prices.known(np.array([self._broker.book.clock]))[0])
        state = taken_over(memory, self._broker.book, self._life, known)
        if state is None:
            return place, memory
        self._state, begun = state, place
        self._day.begin(state.risk)
        place = self._through(place)
        if place == begun and not state.fresh:
            return place, memory
        return place, self._hand_back(memory, place)

    def _hand_back(self, memory: Executor, place: int) -> Executor:
        """The books before the look at ``place``."""
        state, engine = self._state, self._broker.engine
        ahead = self._looks.time[place] if place <= self._looks.last else np.inf
        done = int(np.searchsorted(self._closes + TICK_AFTER_S, ahead)) - 1
        state.waiting = state.waits(done, self._actions)
        state.row = max(state.row, done)
        if state.position is not None:
            rate = self._pricing.rate(state.position, state.clock).value
            state.position = replace(state.position, mark=self._mark(state.position), rate=rate)
        memory, engine.book = handed_back(state, memory, engine.book, self._life, self._pricing, self._settings)
        return memory

    def _mark(self, position: OpenPosition) -> float:
        """The last bid since the position was opened, else the one that filled it."""
        since = int(self._prices.known(np.array([position.opened_at]))[0])
        return float(self._prices.bid[self._state.known - 1]) if self._state.known > since else position.mark

    def _through(self, place: int) -> int:
        way = self._way
        number = bisect_left(way.place, place)
        while number < len(way):
            if self._express is not None and (after := self._express.ride(self._state, number)) > number:
                number, place = after, way.place[after - 1] + 1
                continue
            try:
                if self._state.position is not None:
                    place = max(place, self._hold(number))
            except (NotPlainError, OracleBatchError):
                return place
            try:
                self._look(number)
            except (NotPlainError, OracleBatchError):
                return way.place[number]
            number = self._rested(number + 1)
            place = way.place[number - 1] + 1
        return place

    # between two looks

    def _hold(self, number: int) -> int:
        """The market with a position, up to the look ``number``; gives the first place that no look is made at yet.

        Raises:
            NotPlainError: a limit may come near on the way.
        """
        state, way, prices = self._state, self._way, self._prices
        position, stake, until = state.position, state.stake, way.time[number]
        assert position is not None
        assert stake is not None
        begin, end = state.known, way.known[number]
        low, high = way.low[number], way.high[number]
        if not number or begin != way.known[number - 1]:
            low, high = prices.span(begin, end)
        least = state.balance + stake.worst(low if position.direction > 0 else high)
        if not low <= high or least <= self._day.floor or least <= MARGIN_SHARE * stake.margin:
            raise NotPlainError
        deal = None
        if position.contract.swap(position.direction) and swaps.next_rollover(state.clock)[0] <= until:
            deal = played(state, self._broker.engine, until)
        elif (found := reached(position, prices, begin, end, low, high)) is not None:
            deal = self._closed(position, *found)
        state.clock, state.known = until, end
        if deal is None:
            return 0
        self._end(deal)
        state.waiting = Waiting(ledger.CAUSE_OF_END[deal.reason], position.direction)
        place = self._looks.at_or_after(deal.time)
        if place >= way.place[number]:
            return 0
        self._see(float(self._looks.time[place]), state.balance, state.balance, ends_day=False)
        return place + 1

    def _closed(self, position: OpenPosition, price: float, reason: CloseReason, at: float) -> BookedDeal:
        """A close that the market causes."""
        ids = OrderIds(self._state.next_order, self._state.next_deal, "", at)
        rate = self._pricing.rate(position, at)
        deal, _ = fills.closing(position, position.volume_cents, price, rate, reason, ids, self._digits)
        return deal

    def _end(self, deal: BookedDeal) -> None:
        self._state.end(deal, self._name, self._keep_s, self._digits)
        self._chronicle.deals.append(deal)

    # one look

    def _look(self, number: int) -> None:
        """Raises ``NotPlainError``, or a tape's error, with nothing changed."""
        state, day, at, before = self._state, self._day, self._way.time[number], self._state.risk
        self._clock.instant = at
        equity, least, position = state.balance, float(state.balance), state.position
        if position is not None and state.stake is not None:
            mark = self._tape.last(self._symbol, at)
            bid = position.mark if mark is None else mark.bid
            equity += self._pricing.floating(position, bid, at, self._digits)
            least += state.stake.worst(bid)
        ends_day, row = self._way.ends_day[number], self._way.row[number]
        told: list[str] = []
        balance = state.balance
        try:
            if ends_day or at >= day.ends:
                money = AccountMoney(state.balance, equity, self._digits)
                state.risk, told = day.rolled(before, at, money, self._chronicle.deals)
                if at >= day.ends:
                    day.begin(state.risk)
            if least <= day.floor:
                raise NotPlainError
            if row >= 0:
                self._decide(row, at, equity, least, told)
        except (NotPlainError, OracleBatchError):
            state.risk = before
            raise
        state.clock, state.known = at, self._way.known[number]
        for name in told:
            self._chronicle.events[name] += 1
        self._see(at, balance, equity, ends_day=ends_day)

    def _rested(self, number: int) -> int:
        """The look ``number``, or the first after it at which a resting model may be let in again.

        A rest that has refused an entry of a flat model refuses all, until it ends: nothing closes in between, and no
        bar without a new signal changes anything. The day's reset is another look's matter.
        """
        state, way = self._state, self._way
        code, until = self._resting
        if not code:
            return number
        self._resting = "", 0.0
        end = bisect_left(way.time, min(until, self._day.ends - GUARD_AFTER_S), number)
        if end == number or not self._sizes.all_known(self._dealer.contract(), way.time[number]):
            return number
        row = max(way.row[number:end])
        count, money = way.wishes[end] - way.wishes[number], state.balance / self._unit
        self._chronicle.seen += [(at, money, money, False) for at in way.time[number:end]]
        if count:
            self._chronicle.refusals[code] += count
            self._chronicle.events["refused"] += count
            self._chronicle.events["decision"] += count
        if row >= 0:
            direction = ACTIONS[self._actions[row]].direction
            state.row, state.waiting = row, Waiting("missed", direction) if direction else None
        state.clock, state.known = way.time[end - 1], way.known[end - 1]
        return end

    def _see(self, at: float, balance: int, equity: int, *, ends_day: bool) -> None:
        self._chronicle.seen.append((at, balance / self._unit, equity / self._unit, ends_day))

    def _decide(self, row: int, at: float, equity: int, least: float, told: list[str]) -> None:
        """Carry out a new signal. Until all of it is certain nothing is changed."""
        state, dealer = self._state, self._dealer
        desired, position = ACTIONS[self._actions[row]], state.position
        held = position.direction if position is not None else 0
        waiting = state.waits(row - 1, self._actions)
        verdict = sync.decide(held, state.intensity, desired, edge=True, waiting=waiting)
        closing, entry, refusal, found = None, None, None, None
        seen_balance = balance = state.balance
        when = When(self._bar_times[row], self._close_times[row], at)
        if position is not None and verdict.decision in ("CLOSE", "CLOSE_OPEN"):
            closing = dealer.closing(position, when, state.next_order, state.next_deal)
            balance += closing.profit + closing.swap - closing.commission
        if verdict.decision in ("OPEN", "CLOSE_OPEN"):
            contract = dealer.contract()
            found = self._sizes.known(contract, desired.index, at)
            if found is None:
                quote, money = dealer.quote(contract, at), (state.balance / self._unit, equity / self._unit)
                found = self._sizes.asked(desired.index, row, quote, at, *money)
            if self._keeps and position is not None and held == desired.direction and dealer.same(found, position):
                raise NotPlainError  # kept, and relabelled
            if isinstance(found, Refusal):
                refusal = found
            elif least <= self._day.no_entry:
                raise NotPlainError
            else:
                refusal = dealer.refusal(state.risk.trades, contract, at)
            if refusal is None and isinstance(found, Sized):
                used, shift = (0, 0) if position is None else (position.margin, 1)
                ids = state.next_position, state.next_order + shift, state.next_deal + shift
                entry = dealer.entry(contract, found, desired.direction, when, balance, used, ids)
                if least - at_risk(contract, found, entry[0].rate, self._digits) <= self._day.no_entry:
                    raise NotPlainError
        if closing is not None:
            self._end(closing)
        if entry is not None and isinstance(found, Sized):
            state.enter(*entry, Entered(row, seen_balance, equity, found), desired.intensity, self._digits)
            self._chronicle.deals.append(entry[1])
        state.row, state.waiting = row, verdict.waiting
        if refusal is not None:
            state.waiting = Waiting("missed", desired.direction)
            self._chronicle.refusals[refusal.code] += 1
            if self._constant and closing is None and refusal.code in RESTS:
                self._resting = refusal.code, float(refusal.numbers["until"] or 0.0)
            told.append("refused")
        if closing is not None or entry is not None:
            told.append("plan")
        if verdict.decision == "WAIT_SYNC" or refusal is not None:
            told.append("decision")
