"""Through many looks at a stride: a model's trips are certain, and only the account's lines are watched on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from msgspec.structs import replace

from oracle_batch.errors import OracleBatchError
from oracle_batch.hands import ledger, sync
from oracle_batch.hands.anchors import AccountMoney
from oracle_batch.hands.plan import intent_id
from oracle_batch.hands.protection import Sized
from oracle_batch.hands.rules_trades import resting
from oracle_batch.hands.trade_log import ClosedTrade, Streak, longer, recorded_all
from oracle_batch.market import fills
from oracle_batch.market.book import BookedDeal, to_money
from oracle_batch.market.engine import Engine
from oracle_batch.training.backtest.account import Setup
from oracle_batch.training.backtest.chronicle import Chronicle
from oracle_batch.training.backtest.day import Day
from oracle_batch.training.backtest.dealing import Dealer, NotPlainError, When
from oracle_batch.training.backtest.ground import Ground, ground_of, judges_money_alone
from oracle_batch.training.backtest.history import HistoryTape
from oracle_batch.training.backtest.itinerary import Itinerary
from oracle_batch.training.backtest.life import Life
from oracle_batch.training.backtest.looks import closes_of
from oracle_batch.training.backtest.prices import Prices
from oracle_batch.training.backtest.sizes import Sizes
from oracle_batch.training.backtest.solo_state import Entered, State
from oracle_batch.training.backtest.threat import FREE_SHARE, MARGIN_SHARE, at_risk
from oracle_batch.training.backtest.trips import Trips, trips_of
from oracle_batch.training.backtest.whole import InexactError
from oracle_batch.types import ACTIONS, label_of

_UNKNOWN: Final = 2**62


@dataclass(frozen=True, slots=True)
class Terms:
    """What all entries of one action have in common: commissions, ``threat.at_risk``, the most margin. Minor units."""

    direction: int
    sized: Sized
    opening: int
    closing: int
    at_risk: float
    margin: int


@dataclass(slots=True)
class Ride:
    """On the way: ``held`` is the look at which the trip began whose position is held, -1 without one.

    ``entered`` is the decision behind a position that was opened on the way, ``balance`` the account's at that moment;
    ``streak`` is the model's, ``account`` the account's; ``ended`` are the trades that have ended.
    """

    state: State
    held: int
    position_id: int
    margin: int
    streak: Streak
    account: Streak
    entered: Entered | None = None
    balance: int = 0
    ended: list[ClosedTrade] = field(default_factory=list)


class Express:
    """Makes the looks at certain trips. Whatever else comes is left to ``Solo``, before anything is changed."""

    def __init__(
        self,
        life: Life,
        way: Itinerary,
        trips: Trips,
        ground: Ground,
        setup: Setup,
        dealer: Dealer,
        day: Day,
        chronicle: Chronicle,
    ) -> None:
        self._way, self._trips, self._ground, self._dealer = way, trips, ground, dealer
        self._day, self._chronicle, self._digits = day, chronicle, ground.money_digits
        self._name, self._symbol = life.model.model_id, life.model.broker_symbol
        self._leverage = setup.account.paper.leverage
        self._label, self._unit = label_of(self._name), 10.0**ground.money_digits
        self._actions: list[int] = life.action.tolist()
        self._times: list[int] = life.time.tolist()
        self._closes: list[int] = closes_of(life).tolist()
        rules = setup.account.risk
        self._rules, self._keep_s, self._free = rules, rules.history_s, 1 - rules.min_free_margin_pct / 100
        self._keeps = setup.rules.same_volume == "hold"
        self._terms = {action: self._terms_of(action, found) for action, found in ground.wished.items()}

    def _terms_of(self, action: int, found: Sized) -> Terms:
        contract, digits = self._ground.contract, self._digits
        half = fills.round_turn_minor(contract, found.volume_cents, digits, half=True)
        rest = max(0, fills.round_turn_minor(contract, found.volume_cents, digits) - half)
        risk = at_risk(contract, found, self._ground.rate.value, digits)
        unit = self._ground.most_per_unit
        margin = fills.margin_minor(found.volume_cents, unit, self._leverage, digits) if unit < np.inf else _UNKNOWN
        return Terms(ACTIONS[action].direction, found, half, rest, risk, margin)

    def ride(self, state: State, number: int) -> int:
        """Make looks from ``number`` on; gives the first that is not certain, and is still to be made."""
        way, trips, begun = self._way, self._trips, number
        if number == len(way) or not self._knows(state, number):
            return number
        ride = self._board(state, number)
        while number < len(way) and (ride.held < 0 or trips.calm[ride.held]):
            at, row, ends_day, held = way.time[number], way.row[number], way.ends_day[number], ride.held
            balance, equity, least = state.balance, state.balance, float(state.balance)
            if held >= 0:
                equity, least = equity + trips.floating[number], least + trips.worst[held]
                if least <= MARGIN_SHARE * ride.margin:
                    break
            if row < 0:
                certain = self._guard(state, at, equity, least, ends_day=ends_day)
            else:
                certain = not ends_day and at < self._day.ends and self._tick(ride, number, row, equity, least)
            if not certain:
                break
            self._chronicle.seen.append((at, balance / self._unit, equity / self._unit, ends_day))
            number += 1
        if number > begun:
            state.clock, state.known = way.time[number - 1], way.known[number - 1]
            self._alight(ride)
        return number

    def _knows(self, state: State, number: int) -> bool:
        """Whether a position, if there is one, is that of the trip on which a look lies."""
        position, entered, begun = state.position, state.entered, self._trips.begun[number]
        if position is None:
            return True
        if entered is None or begun < 0 or entered.row != self._way.row[begun] or position.swap:
            return False
        wished = self._ground.wished.get(self._actions[entered.row])
        return wished == entered.sized and position.entry_price == self._trips.price[begun]

    def _board(self, state: State, number: int) -> Ride:
        position, log = state.position, state.risk.trades
        streaks = log.streak(self._name), log.account
        if position is None:
            return Ride(state, -1, 0, 0, *streaks)
        return Ride(state, self._trips.begun[number], position.position_id, position.margin, *streaks)

    def _alight(self, ride: Ride) -> None:
        """Leave the state as looks one by one would have."""
        state, entered = ride.state, ride.entered
        if ride.ended:
            state.risk = replace(state.risk, trades=recorded_all(state.risk.trades, ride.ended, self._keep_s))
            state.leave()
        if entered is not None:
            terms, row = self._terms[self._actions[entered.row]], entered.row
            when = When(self._times[row], self._closes[row], self._way.time[ride.held])
            ids = ride.position_id, 0, 0
            position, _ = self._dealer.entry(
                self._ground.contract, terms.sized, terms.direction, when, ride.balance, 0, ids
            )
            state.hold(position, entered, ACTIONS[self._actions[row]].intensity, terms.opening, self._digits)

    def _guard(self, state: State, at: float, equity: int, least: float, *, ends_day: bool) -> bool:
        """A look without a new signal. False: it is not certain, and nothing has changed."""
        day, risk, told = self._day, state.risk, list[str]()
        if ends_day or at >= day.ends:
            money = AccountMoney(state.balance, equity, self._digits)
            try:
                risk, told = day.rolled(risk, at, money, self._chronicle.deals)
            except (NotPlainError, OracleBatchError):
                return False
            if at >= day.ends:
                day.begin(risk)
        if least <= day.floor:
            day.begin(state.risk)
            return False
        state.risk = risk
        self._chronicle.events.update(told)
        return True

    def _tick(self, ride: Ride, number: int, row: int, equity: int, least: float) -> bool:
        """A new signal: what is held is closed, what is wished for opened. False: not certain, nothing has changed."""
        state, trips, held = ride.state, self._trips, ride.held
        if least <= self._day.floor:
            return False
        at, balance, used, action = self._way.time[number], state.balance, 0, self._actions[row]
        leaving, terms = None, self._terms.get(action)
        if held >= 0:
            leaving, used = self._terms[self._actions[self._way.row[held]]], ride.margin
            balance += trips.profit[held] - leaving.closing
        if leaving is None and sync.is_sticky(
            waiting := state.waits(row - 1, self._actions), ACTIONS[action].direction
        ):
            state.row, state.waiting = row, waiting
            self._chronicle.events["decision"] += 1
            return True
        if action and (
            terms is None
            or not trips.opens[number]
            or (leaving is not None and self._keeps and trips.repeats[number])
            or least - terms.at_risk <= self._day.no_entry
            or resting(self._rules, ride.streak, ride.account, at) is not None
        ):
            return False
        margin = 0
        if terms is not None:
            margin, free = terms.margin, FREE_SHARE * (balance * self._free)
            if used + margin + terms.opening > free:
                margin = self._ground.margin(terms.sized.volume_cents, trips.price[number], self._closes[row])
                if used + margin + terms.opening > free:
                    return False
        entered = None if terms is None else Entered(row, state.balance, equity, terms.sized)
        if leaving is not None:
            self._close(ride, leaving, row, at)
        if entered is not None and terms is not None:
            self._open(ride, terms, entered, number)
            ride.margin = margin
        if leaving is not None or terms is not None:
            self._chronicle.events["plan"] += 1
        state.row, state.waiting = row, None
        return True

    def _close(self, ride: Ride, terms: Terms, row: int, at: float) -> None:
        """Book the end of the trip that is held."""
        profit, digits = self._trips.profit[ride.held], self._digits
        self._book(ride, terms, row, at, -terms.direction, self._trips.leaves[ride.held], profit, closing=True)
        paid = to_money(terms.opening, digits)
        result = ledger.Ended(
            ride.position_id, to_money(profit, digits), to_money(terms.closing, digits), "order", at, 0.0, paid
        )
        trade = ClosedTrade(self._name, self._symbol, at, result.net, "order")
        ride.ended.append(trade)
        ride.streak, ride.account = longer(ride.streak, trade), longer(ride.account, trade)
        ride.held, ride.entered = -1, None

    def _open(self, ride: Ride, terms: Terms, entered: Entered, number: int) -> None:
        """Book the beginning of a trip."""
        ride.position_id, ride.balance = ride.state.next_position, ride.state.balance
        ride.state.next_position += 1
        at, price = self._way.time[number], self._trips.price[number]
        self._book(ride, terms, entered.row, at, terms.direction, price, 0, closing=False)
        ride.held, ride.entered = number, entered

    def _book(
        self, ride: Ride, terms: Terms, row: int, at: float, direction: int, price: float, profit: int, *, closing: bool
    ) -> None:
        state, rate, commission = ride.state, self._ground.rate, terms.closing if closing else terms.opening
        deal = BookedDeal(
            deal_id=state.next_deal,
            order_id=state.next_order,
            client_order_id=intent_id(self._name, self._times[row], 0 if closing else 1),
            position_id=ride.position_id,
            label=self._label,
            symbol=self._symbol,
            direction=direction,
            volume_cents=terms.sized.volume_cents,
            price=price,
            time=at,
            closing=closing,
            reason="order",
            profit=profit,
            commission=commission,
            rate=rate.value,
            rate_source=rate.source,
        )
        state.next_deal, state.next_order = state.next_deal + 1, state.next_order + 1
        state.balance += profit - commission
        state.fresh.append(deal)
        self._chronicle.deals.append(deal)


def express_of(
    life: Life,
    way: Itinerary,
    prices: Prices,
    sizes: Sizes,
    setup: Setup,
    dealer: Dealer,
    day: Day,
    chronicle: Chronicle,
    engine: Engine,
    tape: HistoryTape,
) -> Express | None:
    """Who takes a model through its certain trips, at costs that do not go by the hour; None where none are certain."""
    contract, settings = dealer.contract(), setup.symbols[life.model.model_id]
    if max(way.row, default=-1) < 0 or not judges_money_alone(setup.account.risk, settings, contract, prices):
        return None
    try:
        wished = sizes.of_all(contract, way.time[0])
        if not wished:
            return None
        ground = ground_of(way, closes_of(life), contract, wished, engine, tape, float(prices.bid.max()))
        trips = trips_of(way, life.action, prices, ground)
    except (OracleBatchError, InexactError):
        return None
    return Express(life, way, trips, ground, setup, dealer, day, chronicle)
