"""One model alone on an account, from one new signal to the next, without a job's scaffolding.

The same rules and the same arithmetic as the desk's and the market engine's, called one by one, where nothing but
them can matter: plain settings, no limit in reach at the worst price of the stretch, orders that the market is certain
to take. Whatever else comes is left, untouched, to a whole tick or guard, and taken over again after it. Tests hold
both ways to the same deals, money and refusals.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

import numpy as np
from msgspec.structs import replace

from oracle_batch.bars import Bars
from oracle_batch.broker.base import CloseReason
from oracle_batch.broker.paper_views import deal_view
from oracle_batch.clock import FrozenClock
from oracle_batch.errors import OracleBatchError
from oracle_batch.hands import ledger, sync
from oracle_batch.hands.account_risk import AccountRisk, with_end
from oracle_batch.hands.anchors import AccountMoney, Booking
from oracle_batch.hands.anchors import History as Bookings
from oracle_batch.hands.books import Waiting
from oracle_batch.hands.limit_rules import LimitRules
from oracle_batch.hands.limits import limit_lines
from oracle_batch.hands.protection import Sized
from oracle_batch.hands.refusal import Refusal
from oracle_batch.hands.reset_days import last_reset, next_reset
from oracle_batch.hands.roll import roll
from oracle_batch.market import fills, protection, swaps
from oracle_batch.market.book import BookedDeal, OpenPosition, to_money
from oracle_batch.market.fills import OrderIds
from oracle_batch.market.tape import Mark, Reach, Tape
from oracle_batch.store.executor import Executor
from oracle_batch.training.backtest.account import MemoryBroker, Setup
from oracle_batch.training.backtest.chronicle import Chronicle
from oracle_batch.training.backtest.dealing import Dealer, NotPlainError, When
from oracle_batch.training.backtest.lives import Life
from oracle_batch.training.backtest.looks import TICK_AFTER_S, Looks, closes_of
from oracle_batch.training.backtest.prices import Prices
from oracle_batch.training.backtest.sizes import Sizes
from oracle_batch.training.backtest.solo_state import Entered, handed_back, taken_over
from oracle_batch.training.backtest.threat import MARGIN_SHARE, floor_of, stake_of
from oracle_batch.types import ACTIONS


class Solo:
    """Takes an account from look to look where that is plain; ``chronicle`` hears of it."""

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
        tape: Tape,
        steady: bool,
        chronicle: Chronicle,
    ) -> None:
        self._life, self._setup, self._rules, self._broker, self._clock = life, setup, rules, broker, clock
        self._looks, self._prices, self._tape, self._chronicle = looks, prices, tape, chronicle
        model = life.model
        self._name, self._symbol = model.model_id, model.broker_symbol
        self._settings, self._risk_rules = setup.symbols[self._name], setup.account.risk
        self._pricing, self._digits = broker.engine.pricing, broker.book.money_digits
        self._unit = 10.0**self._digits
        span = (float(prices.bid.min()), float(prices.bid.max()))
        self._sizes = Sizes(self._settings, self._pricing, self._symbol, bars, span, steady=steady)
        self._keeps = setup.rules.same_volume == "hold"
        self._dealer = Dealer(model, self._settings, self._risk_rules, broker, tape)
        self._actions: list[int] = life.action.tolist()
        self._bar_times: list[int] = life.time.tolist()
        self._closes = closes_of(life)
        self._lay_out()

    def _lay_out(self) -> None:
        """What every look that must be made will find, as lists."""
        looks, closes = self._looks, self._closes
        times = looks.time[looks.must]
        rows = np.searchsorted(closes, times - TICK_AFTER_S)
        within = np.minimum(rows, len(closes) - 1)
        turns = np.diff(self._life.action, prepend=0) != 0
        new = looks.is_tick[looks.must] & (closes[within] + TICK_AFTER_S == times) & turns[within]
        known = self._prices.known(times)
        low, high = self._prices.spans(known)
        self._must: list[int] = looks.must.tolist()
        self._times: list[float] = times.tolist()
        self._ends_day: list[bool] = looks.day_end[looks.must].tolist()
        self._rows: list[int] = np.where(new, within, -1).tolist()
        self._known: list[int] = known.tolist()
        self._low: list[float] = low.tolist()
        self._high: list[float] = high.tolist()

    def run(self, place: int, memory: Executor) -> tuple[int, Executor]:
        """Go on from the look at ``place``, none of which is made yet; gives the next one that is to be made."""
        known = int(self._prices.known(np.array([self._broker.book.clock]))[0])
        state = taken_over(memory, self._broker.book, self._life, known)
        if state is None:
            return place, memory
        self._state, begun = state, place
        self._set_lines(state.risk)
        place = self._through(place)
        if place == begun:
            return place, memory
        return place, self._hand_back(memory, place)

    def _hand_back(self, memory: Executor, place: int) -> Executor:
        """The books before the look at ``place``."""
        state, engine = self._state, self._broker.engine
        ahead = self._looks.time[place] if place <= self._looks.last else np.inf
        done = int(np.searchsorted(self._closes + TICK_AFTER_S, ahead)) - 1
        state.waiting = self._waiting(done)
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
        number = bisect_left(self._must, place)
        while number < len(self._must):
            try:
                if self._state.position is not None:
                    place = max(place, self._hold(number))
            except (NotPlainError, OracleBatchError):
                return place
            try:
                self._look(number)
            except (NotPlainError, OracleBatchError):
                return self._must[number]
            place = self._must[number] + 1
            number += 1
        return place

    # between two looks

    def _hold(self, number: int) -> int:
        """The market with a position, up to the look ``number``; gives the first place that no look is made at yet.

        Raises:
            NotPlainError: a limit may come near on the way.
        """
        state, until = self._state, self._times[number]
        position, stake = state.position, state.stake
        assert position is not None
        assert stake is not None
        begin, end = state.known, self._known[number]
        if number and begin == self._known[number - 1]:
            low, high = self._low[number - 1], self._high[number - 1]
        else:
            bids = self._prices.bid[max(begin - 1, 0) : end]
            low, high = (float(bids.min()), float(bids.max())) if len(bids) else (np.inf, -np.inf)
        least = state.balance + stake.worst(low if position.direction > 0 else high)
        if not low <= high or least <= self._floor or least <= MARGIN_SHARE * stake.margin:
            raise NotPlainError
        deal = None
        if position.contract.swap(position.direction) and swaps.next_rollover(state.clock)[0] <= until:
            deal = self._played(until)
        elif (found := self._reached(position, low, high, begin, end)) is not None:
            deal = self._closed(position, *found)
        state.clock, state.known = until, end
        if deal is None:
            return 0
        state.waiting = Waiting(ledger.CAUSE_OF_END[deal.reason], position.direction)
        place = self._looks.at_or_after(deal.time)
        if place >= self._must[number]:
            return 0
        self._see(float(self._looks.time[place]), state.balance, state.balance, ends_day=False)
        return place + 1

    def _reached(
        self, position: OpenPosition, low: float, high: float, begin: int, end: int
    ) -> tuple[float, CloseReason, float] | None:
        """Price, reason and instant of the first stop or target on the way."""
        reserve = 2 * position.contract.spread + 1e-9 * high
        stop, target = position.stop_loss, position.take_profit
        if position.direction > 0:
            near = (stop is not None and low <= stop + reserve) or (target is not None and high >= target - reserve)
        else:
            near = (stop is not None and high >= stop - reserve) or (target is not None and low <= target + reserve)
        if not near or not protection.in_reach(position, {self._symbol: Reach(low, high, high)}):
            return None
        bids, rows = self._prices.bid[begin:end], np.zeros(end - begin, np.bool_)
        if stop is not None:
            rows |= bids <= stop + reserve if position.direction > 0 else bids >= stop - reserve
        if target is not None:
            rows |= bids >= target - reserve if position.direction > 0 else bids <= target + reserve
        for row in np.flatnonzero(rows).tolist():
            step = self._prices.step(begin + row)
            trigger = protection.trigger(position, step)
            if trigger is not None:
                return *trigger, step.time
        return None

    def _closed(self, position: OpenPosition, price: float, reason: CloseReason, at: float) -> BookedDeal:
        """A close that the market caused."""
        state = self._state
        ids = OrderIds(state.next_order, state.next_deal, "", at)
        rate = self._pricing.rate(position, at)
        deal, _ = fills.closing(position, position.volume_cents, price, rate, reason, ids, self._digits)
        state.next_order += 1
        self._book(deal)
        return deal

    def _played(self, until: float) -> BookedDeal | None:
        """The market engine's own way over a night that makes swap."""
        state, engine = self._state, self._broker.engine
        assert state.position is not None
        before = engine.book
        engine.book = replace(
            before,
            clock=state.clock,
            balance=state.balance,
            next_order_id=state.next_order,
            next_deal_id=state.next_deal,
            next_position_id=state.next_position,
            positions=(state.position,),
            deals=(),
        )
        try:
            fresh, after = engine.advance(until), engine.book
        finally:
            engine.book = before
        if fresh:
            state.next_order = after.next_order_id
            self._book(fresh[0])
            return fresh[0]
        state.position = after.positions[0]
        state.stake = stake_of(state.position, self._digits)
        return None

    def _book(self, deal: BookedDeal) -> None:
        """Take a closing deal of the whole position in."""
        state = self._state
        view = deal_view(deal, self._digits)
        end = ledger.ended(deal.position_id, [view], deal.reason, state.commission)
        keep_s = self._risk_rules.history_s
        state.risk = with_end(state.risk, self._name, self._symbol, end, deal.time, keep_s)
        state.balance += deal.profit + deal.swap - deal.commission
        state.next_deal = deal.deal_id + 1
        state.position = state.stake = state.entered = None
        state.intensity, state.commission = 0, 0.0
        state.fresh.append(deal)
        self._chronicle.deals.append(deal)

    # one look

    def _look(self, number: int) -> None:
        """Raises ``NotPlainError``, or a tape's error, with nothing changed."""
        state, at, before = self._state, self._times[number], self._state.risk
        self._clock.instant = at
        mark = self._tape.last(self._symbol, at)
        if mark is None:
            raise NotPlainError
        equity, least = state.balance, float(state.balance)
        if state.position is not None and state.stake is not None:
            equity += self._pricing.floating(state.position, mark.bid, at, self._digits)
            least += state.stake.worst(mark.bid)
        ends_day, told = self._ends_day[number], Counter[str]()
        balance = state.balance
        try:
            if ends_day or at >= self._next_reset:
                state.risk = self._rolled(before, at, equity, told)
                self._set_lines(state.risk)
            if least <= self._floor:
                raise NotPlainError
            if self._rows[number] >= 0:
                self._decide(number, mark, equity, least, told)
        except (NotPlainError, OracleBatchError):
            state.risk = before
            raise
        state.clock, state.known = at, self._known[number]
        self._chronicle.events.update(told)
        self._see(at, balance, equity, ends_day=ends_day)

    def _see(self, at: float, balance: int, equity: int, *, ends_day: bool) -> None:
        self._chronicle.seen.append((at, balance / self._unit, equity / self._unit, ends_day))

    def _rolled(self, risk: AccountRisk, at: float, equity: int, told: Counter[str]) -> AccountRisk:
        """The account's memory with its anchors as of a look near a reset."""
        state, anchors, history = self._state, risk.anchors, None
        assert anchors is not None
        if at >= self._next_reset:
            since = min(last_reset(self._rules.day, at)[1], anchors.last_seen.time)
            results = []
            for deal in reversed(self._chronicle.deals):
                if deal.time < since:
                    break
                results.append(Booking(deal.time, deal.profit + deal.swap - deal.commission))
            history = Bookings(since, tuple(reversed(results)), ())
        money = AccountMoney(state.balance, equity, self._digits)
        anchors, events = roll(anchors, self._rules, at, money, history)
        if anchors.balance_source == "estimated":
            raise NotPlainError
        told.update(event.code.lower() for event in events)
        return replace(risk, anchors=anchors)

    def _set_lines(self, risk: AccountRisk) -> None:
        """The equity at which a limit closes positions, and the one at which it stops entries, until the next reset."""
        anchors = risk.anchors
        assert anchors is not None
        self._floor = floor_of(anchors, self._rules)
        lines = limit_lines(anchors, self._rules)
        self._no_entry = max((line.entries_stop_at for line in lines), default=float("-inf"))
        self._next_reset = next_reset(self._rules.day, anchors.day_start)

    def _waiting(self, row: int) -> Waiting | None:
        """What the model waits for after the bar of a row, on which the signal has not changed."""
        state = self._state
        if state.position is not None or row <= state.row:
            return state.waiting
        return sync.decide(0, 0, ACTIONS[self._actions[row]], edge=False, waiting=state.waiting).waiting

    def _decide(self, number: int, mark: Mark, equity: int, least: float, told: Counter[str]) -> None:
        """Carry out a new signal. Until all of it is certain nothing is changed."""
        state, dealer, row, at = self._state, self._dealer, self._rows[number], self._times[number]
        desired, position = ACTIONS[self._actions[row]], state.position
        held = position.direction if position is not None else 0
        waiting = self._waiting(row - 1)
        verdict = sync.decide(held, state.intensity, desired, edge=True, waiting=waiting)
        closing, entry, refusal, found = None, None, None, None
        seen_balance = balance = state.balance
        used = position.margin if position is not None else 0
        when = When(self._bar_times[row], int(self._closes[row]), at)
        if position is not None and verdict.decision in ("CLOSE", "CLOSE_OPEN"):
            closing = dealer.closing(position, when, state.next_order, state.next_deal)
            balance += closing.profit + closing.swap - closing.commission
        if verdict.decision in ("OPEN", "CLOSE_OPEN"):
            contract, quote = dealer.quoted(mark)
            money = state.balance / self._unit, equity / self._unit
            found = self._sizes.of(contract, desired.index, row, quote, at, *money)
            if self._keeps and position is not None and held == desired.direction and dealer.same(found, position):
                raise NotPlainError  # kept, and relabelled
            if isinstance(found, Refusal):
                refusal = found
            else:
                if least <= self._no_entry:
                    raise NotPlainError
                refusal = dealer.refusal(state.risk.trades, quote, contract, at)
            if refusal is None and isinstance(found, Sized):
                shift = int(closing is not None)
                ids = state.next_position, state.next_order + shift, state.next_deal + shift
                entry = dealer.entry(contract, found, desired.direction, when, mark, balance, used, ids)
                if least - dealer.at_risk(entry[0], found) <= self._no_entry:
                    raise NotPlainError
        if closing is not None:
            state.next_order += 1
            self._book(closing)
        if entry is not None and isinstance(found, Sized):
            self._enter(*entry, Entered(row, seen_balance, equity, found), desired.intensity)
        state.row, state.waiting = row, verdict.waiting
        if refusal is not None:
            state.waiting = Waiting("missed", desired.direction)
            self._chronicle.refusals[refusal.code] += 1
            told["refused"] += 1
        if closing is not None or entry is not None:
            told["plan"] += 1
        if verdict.decision == "WAIT_SYNC" or refusal is not None:
            told["decision"] += 1

    def _enter(self, position: OpenPosition, deal: BookedDeal, entered: Entered, intensity: int) -> None:
        """Take an opening deal in."""
        state = self._state
        state.position, state.stake = position, stake_of(position, self._digits)
        state.entered, state.intensity = entered, intensity
        state.commission = to_money(deal.commission, self._digits)
        state.balance -= deal.commission
        state.next_position, state.next_order = position.position_id + 1, deal.order_id + 1
        state.next_deal = deal.deal_id + 1
        state.fresh.append(deal)
        self._chronicle.deals.append(deal)
