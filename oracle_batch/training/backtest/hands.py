"""Hands and market over history: what tick and guard would have done with the brain's signals on one account.

A *look* is an instant at which the live job runs: one second after a bar's close the tick, half a minute after a price
appears, and around each reset of the account's day, the guard. Between two prices a guard sees nothing new.

Where nothing can happen the looks are left out: no signal changes, no stop, target or margin call is reached on the
way (the market engine plays it, and is set back where one is), no limit or target comes near at the worst price of the
stretch, and no rule goes by the clock. ``play(every_look=True)`` leaves none out; a test holds both to the same deals.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oracle_batch import guarding, unattended
from oracle_batch.bars import Bars
from oracle_batch.brain.twin import FLAT, TwinState
from oracle_batch.clock import FrozenClock
from oracle_batch.config import AccountSettings, SymbolSettings, TickSettings
from oracle_batch.config.risk_files import limit_rules
from oracle_batch.hands.limits import limit_lines
from oracle_batch.hands.reset_days import resets_between
from oracle_batch.market import spec_file
from oracle_batch.market.book import BookedDeal, OpenPosition
from oracle_batch.market.specs import Contract
from oracle_batch.planning import judge, propose
from oracle_batch.sheltering import shelter
from oracle_batch.store.executor import Executor
from oracle_batch.store.records import Event
from oracle_batch.store.twins import TwinFile
from oracle_batch.think import Thought
from oracle_batch.training.backtest.account import MemoryBroker, MemoryDesk, MemoryJournal, new_desk
from oracle_batch.training.backtest.history import History
from oracle_batch.training.backtest.lives import Life
from oracle_batch.training.backtest.spreads import Market, MarketContracts
from oracle_batch.types import ACTIONS, TIMEFRAME_SECONDS, WINDOW

TICK_AFTER_S: Final = 1.0
GUARD_AFTER_S: Final = 30.0
SLACK: Final = 1.02
"""How much more than computed a position may cost before a stretch is called harmless."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How an account trades: its settings and rules, execution settings by model id, contracts by symbol.

    ``home`` is where the files lie that ``[risk]`` names.
    """

    account: AccountSettings
    rules: TickSettings
    symbols: Mapping[str, SymbolSettings]
    specs: Mapping[str, spec_file.SymbolSettings]
    home: Path


@dataclass(frozen=True, slots=True)
class Trading:
    """What an account did. Money in account currency.

    ``time``, ``balance`` and ``equity`` are the account at every look that was made, the last one at the end;
    ``day_end`` marks the looks right before a reset of its day. ``refusals`` and ``events`` are counted by code.
    """

    deals: tuple[BookedDeal, ...]
    money_digits: int
    time: NDArray[np.float64]
    balance: NDArray[np.float64]
    equity: NDArray[np.float64]
    day_end: NDArray[np.bool_]
    refusals: Counter[str]
    events: Counter[str]
    model_bars: int
    looks: int
    problems: Mapping[str, str]


class Hands:
    """One account and the lives of its models, each from row ``first`` on.

    ``bars`` are the models' own bars, by model id; ``history`` is all that the market knows.
    """

    def __init__(
        self,
        lives: Sequence[Life],
        bars: Mapping[str, Bars],
        history: History,
        setup: Setup,
        first: Sequence[int],
        market: Market = Market(),  # noqa: B008 - a frozen value
    ) -> None:
        self._lives, self._bars, self._first, self._setup = lives, bars, first, setup
        self._rules = limit_rules(setup.account.risk, setup.home)
        self._models = {life.model.model_id: life.model for life in lives}
        self._closes = [life.time + TIMEFRAME_SECONDS[life.model.timeframe] for life in lives]
        begin = min(int(closes[row]) for closes, row in zip(self._closes, first, strict=True))
        end = max(int(closes[-1]) for closes in self._closes)
        self._clock = FrozenClock(begin - GUARD_AFTER_S)
        file = setup.home / "config" / "symbols.json"
        self._contracts = MarketContracts(
            setup.specs, self._models.values(), setup.account.paper.currency, file, market, self._clock
        )
        self._broker = MemoryBroker(setup.account, history, self._contracts, self._clock, self._models)
        self._journal = MemoryJournal(self._clock)
        self._memory: Executor | None = None
        self._history = history
        self._fill_looks(begin, end)
        self._deals: list[BookedDeal] = []
        self._seen: list[tuple[float, float, float, bool]] = []
        self._refusals: Counter[str] = Counter()
        self._events: Counter[str] = Counter()
        self._restless: set[int] = set()

    def _fill_looks(self, begin: int, end: int) -> None:
        """All looks in time order; ``_must`` those with a new signal, or at a reset."""
        closes = [closes[row:] for closes, row in zip(self._closes, self._first, strict=True)]
        changed = [
            self._closes[place][life.changes[life.changes >= self._first[place]]]
            for place, life in enumerate(self._lives)
        ]
        firsts = np.array([one[0] for one in closes])
        ticks = np.unique(np.concatenate(closes)) + TICK_AFTER_S
        opens = np.concatenate([bars.time for bars in self._history.series.values()])
        prices = np.concatenate([opens[(opens >= begin) & (opens <= end)], np.concatenate(closes)])
        resets = np.array(resets_between(self._rules.day, begin, end), np.float64)
        before, after = resets - GUARD_AFTER_S, resets + GUARD_AFTER_S
        self._looks = np.unique(np.concatenate([ticks, prices + GUARD_AFTER_S, before, after]))
        self._is_tick = np.isin(self._looks, ticks)
        self._day_end = np.isin(self._looks, before)
        must = np.concatenate([np.concatenate([*changed, firsts]) + TICK_AFTER_S, before, after])
        self._must = np.flatnonzero(np.isin(self._looks, must))

    def play(self, *, every_look: bool = False) -> Trading:
        """Trade through all of history. Once an object."""
        place, last, made = 0, len(self._looks) - 1, 0
        with _quiet():
            while place <= last:
                all_due = every_look or self._always_looking()
                if not all_due:
                    due = self._must[int(np.searchsorted(self._must, place)) :]
                    target = min(int(due[0]) if len(due) else last, self._next_restless(place))
                    place, all_due = self._undisturbed(place, target)
                self._look(place, all_due=all_due)
                made += 1
                place += 1
            self._finish()
        seen = list(zip(*self._seen, strict=True))
        return Trading(
            tuple(self._deals),
            self._broker.book.money_digits,
            np.array(seen[0]),
            np.array(seen[1]),
            np.array(seen[2]),
            np.array(seen[3], np.bool_),
            self._refusals,
            self._events,
            sum(len(life) - row for life, row in zip(self._lives, self._first, strict=True)),
            made,
            self._broker.problems,
        )

    def looks(self) -> list[tuple[float, bool]]:
        """Every look there is, made or not: its instant, and whether it is a tick."""
        return list(zip(self._looks.tolist(), self._is_tick.tolist(), strict=True))

    def contracts(self) -> dict[str, Contract]:
        """The contracts of the models' symbols that are known."""
        symbols = {model.broker_symbol for model in self._models.values()}
        return {symbol: found for symbol in symbols if (found := self._contracts.find(symbol)) is not None}

    # which looks matter

    def _always_looking(self) -> bool:
        """Whether a rule goes by the clock or by every price, so that no look can be left out."""
        risk, rules = self._setup.account.risk, self._rules
        if risk.max_spread_vs_median or (rules.maximum != "none" and rules.maximum.trails == "equity"):
            return True
        if self._memory is None:
            return False
        held = self._broker.book.positions
        if held and (risk.news_mode != "off" or risk.flat_before_break_min):
            return True
        for books in self._memory.models.values():
            keep = books.watch.upkeep if books.watch is not None and books.position is not None else None
            if books.pending_close is not None or (keep is not None and (keep.trailing_usd or keep.breakeven_usd)):
                return True
        return False

    def _next_restless(self, place: int) -> int:
        """The next look at which a model that could not do what it wants has a bar."""
        found = len(self._looks) - 1
        for one in self._restless:
            closes = self._closes[one]
            row = int(np.searchsorted(closes, self._looks[place] - TICK_AFTER_S))
            if row < len(closes):
                found = min(found, int(np.searchsorted(self._looks, closes[row] + TICK_AFTER_S)))
        return found

    def _undisturbed(self, place: int, target: int) -> tuple[int, bool]:
        """The look up to which nothing happens, ``target`` at most, and whether every model is asked there."""
        engine = self._broker.engine
        before = engine.book
        if not before.positions:
            return target, False
        if self._threatened(before.positions, place, target):
            return (target, True) if place == target else (place, True)
        fresh = engine.advance(float(self._looks[target]))
        if not fresh:
            return target, False
        engine.book = before
        return min(target, int(np.searchsorted(self._looks, min(deal.time for deal in fresh)))), False

    def _threatened(self, positions: Sequence[OpenPosition], place: int, target: int) -> bool:
        """Whether a loss limit, the margin or the profit target may come near before the target look."""
        book, anchors = self._broker.book, self._memory.risk.anchors if self._memory is not None else None
        if anchors is None:
            return True
        start, end = book.clock, float(self._looks[target])
        low = high = float(book.balance)
        unit = 10.0**book.money_digits
        for one in positions:
            worst, best = self._reach(one, start, end)
            units = one.volume_cents / 100 * one.rate * unit
            spec = one.contract
            costs = (spec.commission_per_lot * one.volume_cents / spec.spec.lot_size_cents) * unit
            costs += (spec.slippage * 2 + spec.spread) * units
            value = (worst - one.entry_price) * one.direction * units
            if one.stop_loss is not None:
                value = min(value, (one.stop_loss - one.entry_price) * one.direction * units)
            low += one.swap + (value * SLACK if value < 0 else value / SLACK) - costs * SLACK
            high += one.swap + max(0.0, (best - one.entry_price) * one.direction * units) * SLACK
        floors = [max(line.flatten_at, line.floor) for line in limit_lines(anchors, self._rules)]
        floors.append(int(0.6 * book.margin_used))
        if low <= max(floors):
            return True
        target_pct = self._setup.account.risk.profit_target_pct
        return bool(target_pct) and high >= anchors.initial_balance * (1 + target_pct / 100) / SLACK

    def _reach(self, position: OpenPosition, start: float, end: float) -> tuple[float, float]:
        """Worst and best bid between two instants."""
        worst = best = position.mark
        for timeframe in self._history.timeframes(position.symbol):
            bars = self._history.bars(
                position.symbol, timeframe, int(start) - TIMEFRAME_SECONDS[timeframe], int(end) + 1
            )
            if len(bars):
                lows, highs = float(bars.low.min()), float(bars.high.max())
                worst = min(worst, lows) if position.direction > 0 else max(worst, highs)
                best = max(best, highs) if position.direction > 0 else min(best, lows)
        return worst, best

    # one look

    def _look(self, place: int, *, all_due: bool) -> None:
        now = float(self._looks[place])
        self._clock.instant = now
        desk = new_desk(
            self._setup.account,
            self._broker,
            self._setup.home,
            self._clock,
            self._models,
            self._setup.symbols,
            self._setup.rules,
            self._journal,
            self._memory,
        )
        if self._is_tick[place]:
            due = self._due(int(now - TICK_AFTER_S), all_due=all_due)
            thoughts = {self._lives[one].model.model_id: self._thought(one, row) for one, row in due}
            _at_once(_tick(desk, thoughts, self._windows(due), now))
            self._restless -= {one for one, _ in due}
            self._restless |= {one for one, row in due if not self._settled(desk.kept, one, row)}
        else:
            _at_once(_guard(desk, now))
        self._memory = desk.kept
        self._take_in(desk, now, day_end=bool(self._day_end[place]))

    def _due(self, close: int, *, all_due: bool) -> list[tuple[int, int]]:
        """Models with a bar that closes now, and its row; without ``all_due`` those that have something to do."""
        found = []
        for one, closes in enumerate(self._closes):
            row = int(np.searchsorted(closes, close))
            if row == len(closes) or closes[row] != close or row < self._first[one]:
                continue
            life = self._lives[one]
            changes = row == self._first[one] or life.action[row] != life.action[row - 1]
            if all_due or changes or one in self._restless:
                found.append((one, row))
        return found

    def _windows(self, due: Sequence[tuple[int, int]]) -> dict[str, Bars]:
        found = {}
        for one, row in due:
            name = self._lives[one].model.model_id
            settings = self._setup.symbols[name]
            if settings.sl_atr or settings.tp_atr:
                found[name] = self._bars[name][row : row + WINDOW]
        return found

    def _thought(self, one: int, row: int) -> Thought:
        life = self._lives[one]
        before = _twin(life, row - 1) if row else FLAT
        warmed = int(life.time[self._first[one] - 1]) if self._first[one] else 0
        model = life.model
        twin = TwinFile(
            model=model.model_id,
            bundle_sha256=model.sha256,
            state=_twin(life, row),
            history=(before,),
            warmed_to=warmed,
        )
        return Thought(model, twin, past=(before,))

    def _settled(self, memory: Executor, one: int, row: int) -> bool:
        """Whether a model holds what it wants, or knows what it waits for, so that the same signal changes nothing."""
        life = self._lives[one]
        books = memory.models.get(life.model.model_id)
        if books is None or books.pending_close is not None or books.last_bar != int(life.time[row]):
            return False
        held = books.position
        action = ACTIONS[int(life.action[row])]
        wanted = (action.direction, action.intensity)
        if held is None:
            return not wanted[0] or books.waiting is not None
        return (held.direction, held.intensity) == wanted

    def _take_in(self, desk: MemoryDesk, now: float, *, day_end: bool) -> None:
        for record in self._journal.heard:
            if isinstance(record, Event):
                self._events[record.name] += 1
                if record.name == "refused":
                    self._refusals[str(record.detail["code"])] += 1
        self._journal.heard.clear()
        self._collect()
        self._seen.append((now, desk.account.balance, desk.account.equity, day_end))

    def _collect(self) -> None:
        newest = self._deals[-1].deal_id if self._deals else 0
        fresh = []
        for deal in reversed(self._broker.book.deals):
            if deal.deal_id <= newest:
                break
            fresh.append(deal)
        self._deals += reversed(fresh)

    def _finish(self) -> None:
        """The account after the last look."""
        book, value = self._broker.book, self._broker.engine.valuation()
        unit = 10.0**book.money_digits
        self._collect()
        self._seen.append((float(self._looks[-1]) + 1, book.balance / unit, value.equity / unit, True))


async def _tick(desk: MemoryDesk, thoughts: Mapping[str, Thought], windows: Mapping[str, Bars], now: float) -> None:
    """The tick's own steps on one account (``tick.tick``), on a frozen clock and without a feed to ask."""
    await desk.open()
    await desk.recover()
    proposal = await propose(desk, thoughts, windows, now)
    if proposal is not None:
        await judge(desk, proposal, thoughts, [], now)
    unattended.retry_pending(desk, now)
    await unattended.close_blind(desk, desk.failed, now)
    desk.journal_intents()
    await desk.send()
    await shelter(desk, now)
    desk.conclude(thoughts)
    desk.journal_acks()
    desk.commit()


async def _guard(desk: MemoryDesk, now: float) -> None:
    await desk.open()
    await guarding.look_after(desk, now)


def _twin(life: Life, row: int) -> TwinState:
    """The twin after a row, as far as the hands ask: position, profit, signal."""
    action = int(life.action[row])
    return TwinState(
        direction=ACTIONS[action].direction,
        intensity=ACTIONS[action].intensity,
        entry_price=float(life.entry_price[row]),
        floating_pnl=float(life.floating_pnl[row]),
        realized_pnl=float(life.realized_pnl[row]),
        bar_time=int(life.time[row]),
        last_action=action,
        last_hmm_state=int(life.hmm_state[row]),
    )


def _at_once(work: Coroutine[Any, Any, None]) -> None:
    """Run work on a paper account, which never waits."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("the work waits: it needs an event loop")


@contextmanager
def _quiet() -> Iterator[None]:
    """The hands' log lines are for operators; over history they are counted instead."""
    log = logging.getLogger("oracle_batch")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)
