"""What one model and its account come to between two signals, taken from the books and given back to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace

from oracle_batch.broker.paper_views import position_view
from oracle_batch.config import SymbolSettings
from oracle_batch.hands import ledger, sync
from oracle_batch.hands.account_risk import AccountRisk, with_end
from oracle_batch.hands.books import HeldPosition, ModelBooks, Waiting
from oracle_batch.hands.prices import RELATIVE_SCALE
from oracle_batch.hands.protection import Distances, Sized
from oracle_batch.hands.texts import order_comment
from oracle_batch.hands.watch import Watch, begin, upkeep
from oracle_batch.market.book import Book, BookedDeal, OpenPosition, to_money, with_deals
from oracle_batch.market.engine import Engine
from oracle_batch.market.pricing import Pricing
from oracle_batch.store.executor import Executor
from oracle_batch.training.backtest.lives import Life
from oracle_batch.training.backtest.threat import Stake, stake_of
from oracle_batch.types import ACTIONS


@dataclass(frozen=True, slots=True)
class Entered:
    """The decision behind a position: its row, and the account's money (minor units) that it saw."""

    row: int
    balance: int
    equity: int
    sized: Sized


@dataclass(slots=True)
class State:
    """A model and its account. Money in minor units.

    ``clock`` is the instant up to which the market is played, ``known`` how many prices had appeared by then; ``row``
    the last bar that was acted on. ``commission`` is what opening the position has cost, in account currency. ``fresh``
    are the deals since the books were left.
    """

    clock: float
    known: int
    row: int
    balance: int
    next_order: int
    next_deal: int
    next_position: int
    waiting: Waiting | None
    risk: AccountRisk
    position: OpenPosition | None = None
    stake: Stake | None = None
    intensity: int = 0
    commission: float = 0.0
    entered: Entered | None = None
    fresh: list[BookedDeal] = field(default_factory=list)

    def waits(self, row: int, actions: Sequence[int]) -> Waiting | None:
        """What the model waits for after the bar of a row, up to which its signal has not changed."""
        if self.position is not None or row <= self.row:
            return self.waiting
        return sync.decide(0, 0, ACTIONS[actions[row]], edge=False, waiting=self.waiting).waiting

    def end(self, deal: BookedDeal, model: str, keep_s: float, money_digits: int) -> None:
        """Take in the deal that has closed the position."""
        money = (to_money(one, money_digits) for one in (deal.profit, deal.commission, deal.swap))
        profit, commission, swap = money
        ended = ledger.Ended(deal.position_id, profit, commission, deal.reason, deal.time, swap, self.commission)
        self.risk = with_end(self.risk, model, deal.symbol, ended, deal.time, keep_s)
        self.balance += deal.profit + deal.swap - deal.commission
        self.next_order, self.next_deal = deal.order_id + 1, deal.deal_id + 1
        self.leave()
        self.fresh.append(deal)

    def enter(
        self, position: OpenPosition, deal: BookedDeal, entered: Entered, intensity: int, money_digits: int
    ) -> None:
        """Take in a position and the deal that has opened it."""
        self.hold(position, entered, intensity, deal.commission, money_digits)
        self.balance -= deal.commission
        self.next_position = position.position_id + 1
        self.next_order, self.next_deal = deal.order_id + 1, deal.deal_id + 1
        self.fresh.append(deal)

    def hold(
        self, position: OpenPosition, entered: Entered, intensity: int, commission: int, money_digits: int
    ) -> None:
        """Hold a position that is booked already."""
        self.position, self.stake = position, stake_of(position, money_digits)
        self.entered, self.intensity = entered, intensity
        self.commission = to_money(commission, money_digits)

    def leave(self) -> None:
        """Hold nothing."""
        self.position = self.stake = self.entered = None
        self.intensity, self.commission = 0, 0.0


def played(state: State, engine: Engine, until: float) -> BookedDeal | None:
    """The market engine's own way over a night that makes swap; the deal that ended the position, if one did."""
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
        return fresh[0]
    state.position = after.positions[0]
    state.stake = stake_of(state.position, before.money_digits)
    return None


def taken_over(memory: Executor, book: Book, life: Life, known: int) -> State | None:
    """The state of a model whose books hide nothing; None where something is pending, paused or not understood."""
    name, risk = life.model.model_id, memory.risk
    books, anchors = memory.models.get(name), risk.anchors
    if books is None or not books.last_bar or books.pending_close is not None or memory.damaged:
        return None
    if anchors is None or anchors.pause is not None or anchors.balance_source == "estimated":
        return None
    if risk.target_reached is not None or book.behind or len(book.positions) > 1:
        return None
    state = State(
        clock=book.clock,
        known=known,
        row=int(np.searchsorted(life.time, books.last_bar)),
        balance=book.balance,
        next_order=book.next_order_id,
        next_deal=book.next_deal_id,
        next_position=book.next_position_id,
        waiting=books.waiting,
        risk=risk,
    )
    held = books.position
    if not book.positions:
        return state if held is None else None
    position = book.positions[0]
    intensity = ledger.real_intensity(position_view(position, book.money_digits), books)
    if held is None or held.position_id != position.position_id or intensity is None or books.waiting is not None:
        return None
    if held.in_parts or (held.direction, held.volume_cents) != (position.direction, position.volume_cents):
        return None
    state.position, state.stake = position, stake_of(position, book.money_digits)
    state.intensity, state.commission = intensity, held.commission
    return state


def handed_back(
    state: State, memory: Executor, book: Book, life: Life, pricing: Pricing, settings: SymbolSettings
) -> tuple[Executor, Book]:
    """The books as whole ticks would have left them."""
    name, position = life.model.model_id, state.position
    book = with_deals(book, state.fresh)
    old = memory.models[name]
    held, watch = None, None
    if position is not None and state.entered is None:
        held, watch = old.position, old.watch
    elif position is not None and state.entered is not None:
        position = replace(position, comment=_comment(state.entered, life, book.money_digits))
        held, watch = _held(position, state), _watch(position, state.entered.sized, pricing, settings)
    book = replace(
        book,
        clock=state.clock,
        next_order_id=state.next_order,
        next_position_id=state.next_position,
        positions=() if position is None else (position,),
    )
    books = ModelBooks(
        last_bar=int(life.time[state.row]),
        waiting=state.waiting,
        position=held,
        watch=watch,
        decisions_revised=old.decisions_revised,
        last=old.last,
    )
    return replace(memory, models={**memory.models, name: books}, risk=state.risk), book


def _comment(entered: Entered, life: Life, money_digits: int) -> str:
    balance, equity = to_money(entered.balance, money_digits), to_money(entered.equity, money_digits)
    return order_comment(
        int(life.hmm_state[entered.row]),
        int(life.action[entered.row]),
        balance,
        max(0.0, (balance - equity) / balance * 100) if balance > 0 else 0.0,
        float(life.floating_pnl[entered.row - 1]),
    )


def _held(position: OpenPosition, state: State) -> HeldPosition:
    return HeldPosition(
        position.position_id,
        position.direction,
        state.intensity,
        position.volume_cents,
        position.entry_price,
        position.opened_at,
        commission=state.commission,
    )


def _watch(position: OpenPosition, sized: Sized, pricing: Pricing, settings: SymbolSettings) -> Watch | None:
    terms = pricing.terms(position.symbol, position.opened_at)
    if terms is None:
        return None
    found = sized.distances
    carried = Distances(
        (found.stop_relative or 0) / RELATIVE_SCALE or None, (found.target_relative or 0) / RELATIVE_SCALE or None
    )
    keep = upkeep(settings, sized.share)
    return begin(position.position_id, position.direction, position.entry_price, carried, terms, keep)
