"""Hands and market over history: what tick and guard would have done with the brain's signals on one account.

A *look* is an instant at which the live job runs: one second after a bar's close the tick, half a minute after a price
appears, and around each reset of the account's day, the guard. Between two prices a guard sees nothing new.

Where nothing can happen the looks are left out: no signal changes, no stop, target or margin call is reached on the
way (the market engine plays it, and is set back where one is), no limit or target comes near at the worst price of the
stretch, and no rule goes by the clock. Where one model trades plainly, ``solo`` makes the looks that are left.
``play(every_look=True)`` leaves none out, and makes each a whole one; tests hold both to the same deals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from oracle_batch.bars import Bars
from oracle_batch.clock import FrozenClock
from oracle_batch.config.risk_files import limit_rules
from oracle_batch.market.book import OpenPosition
from oracle_batch.market.specs import Contract
from oracle_batch.store.executor import Executor
from oracle_batch.training.backtest import one_look
from oracle_batch.training.backtest.account import MemoryBroker, MemoryDesk, MemoryJournal, Setup, new_desk
from oracle_batch.training.backtest.chronicle import Chronicle, Trading
from oracle_batch.training.backtest.history import History, HistoryTape
from oracle_batch.training.backtest.lives import Life
from oracle_batch.training.backtest.looks import GUARD_AFTER_S, TICK_AFTER_S, closes_of, looks_of
from oracle_batch.training.backtest.plain import is_plain, is_steady
from oracle_batch.training.backtest.prices import prices_of
from oracle_batch.training.backtest.solo import Solo
from oracle_batch.training.backtest.spreads import Market, MarketContracts
from oracle_batch.training.backtest.threat import SLACK, levels_of, needed, stake_of
from oracle_batch.types import TIMEFRAME_SECONDS, WINDOW

NORMAL: Final = Market()


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
        market: Market = NORMAL,
    ) -> None:
        self._lives, self._bars, self._first, self._setup = lives, bars, first, setup
        self._market = market
        self._rules = limit_rules(setup.account.risk, setup.home)
        self._models = {life.model.model_id: life.model for life in lives}
        self._closes = [closes_of(life) for life in lives]
        begin = min(int(closes[row]) for closes, row in zip(self._closes, first, strict=True))
        self._clock = FrozenClock(begin - GUARD_AFTER_S)
        file = setup.home / "config" / "symbols.json"
        self._contracts = MarketContracts(
            setup.specs, self._models.values(), setup.account.paper.currency, file, market, self._clock
        )
        tape = HistoryTape(history)
        self._broker = MemoryBroker(setup.account, history, tape, self._contracts, self._clock, self._models)
        self._journal = MemoryJournal(self._clock)
        self._memory: Executor | None = None
        self._history = history
        self._looks = looks_of(lives, first, history.series.values(), self._rules)
        self._chronicle = Chronicle()
        self._restless: set[int] = set()
        self._solo = self._alone(tape)

    def _alone(self, tape: HistoryTape) -> Solo | None:
        """Who makes the looks where one model trades plainly."""
        if len(self._lives) != 1 or not is_plain(self._setup, self._rules, self._lives[0], self._contracts):
            return None
        life, account = self._lives[0], self._setup.account
        contract = self._contracts.find(life.model.broker_symbol)
        assert contract is not None
        steady = is_steady(contract.spec, account.paper.currency, self._history)
        prices = prices_of(self._history, tape, life.model.broker_symbol)
        bars = self._bars[life.model.model_id]
        return Solo(
            life,
            bars,
            self._setup,
            self._rules,
            self._broker,
            self._clock,
            self._looks,
            prices,
            tape,
            self._chronicle,
            steady=steady,
            constant=self._market.profile is None,
        )

    def play(self, *, every_look: bool = False) -> Trading:
        """Trade through all of history. Once an object."""
        place, looks = 0, self._looks
        with one_look.quiet():
            while place <= looks.last:
                if self._solo is not None and not every_look and self._memory is not None and not self._restless:
                    place, self._memory = self._solo.run(place, self._memory)
                    if place > looks.last:
                        break
                all_due = every_look or self._always_looking()
                if not all_due:
                    target = min(looks.next_must(place), self._next_restless(place))
                    place, all_due = self._undisturbed(place, target)
                self._look(place, all_due=all_due)
                place += 1
            made = len(self._chronicle.seen)
            self._finish()
        model_bars = sum(len(life) - row for life, row in zip(self._lives, self._first, strict=True))
        return self._chronicle.trading(self._broker.book.money_digits, model_bars, made, self._broker.problems)

    def looks(self) -> list[tuple[float, bool]]:
        """Every look there is, made or not: its instant, and whether it is a tick."""
        return list(zip(self._looks.time.tolist(), self._looks.is_tick.tolist(), strict=True))

    def contracts(self) -> dict[str, Contract]:
        """The contracts of the models' symbols that are known."""
        symbols = {model.broker_symbol for model in self._models.values()}
        return {symbol: found for symbol in symbols if (found := self._contracts.find(symbol)) is not None}

    def contract_at(self, symbol: str, time: float) -> Contract | None:
        """The terms on which a position was opened at an instant (Unix seconds)."""
        return self._contracts.at(symbol, time)

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
        looks, found = self._looks, self._looks.last
        for one in self._restless:
            closes = self._closes[one]
            row = int(np.searchsorted(closes, looks.time[place] - TICK_AFTER_S))
            if row < len(closes):
                found = min(found, looks.at_or_after(closes[row] + TICK_AFTER_S))
        return found

    def _undisturbed(self, place: int, target: int) -> tuple[int, bool]:
        """The look up to which nothing happens, ``target`` at most, and whether every model is asked there."""
        engine = self._broker.engine
        before = engine.book
        if not before.positions:
            return target, False
        if self._threatened(before.positions, target):
            return (target, True) if place == target else (place, True)
        fresh = engine.advance(float(self._looks.time[target]))
        if not fresh:
            return target, False
        engine.book = before
        return min(target, self._looks.at_or_after(min(deal.time for deal in fresh))), False

    def _threatened(self, positions: Sequence[OpenPosition], target: int) -> bool:
        """Whether a loss limit, the margin or the profit target may come near before the target look."""
        book, anchors = self._broker.book, self._memory.risk.anchors if self._memory is not None else None
        if anchors is None:
            return True
        start, end = book.clock, float(self._looks.time[target])
        low = high = float(book.balance)
        stakes = [stake_of(position, book.money_digits) for position in positions]
        for position, stake in zip(positions, stakes, strict=True):
            worst, best = self._reach(position, start, end)
            low += stake.worst(worst)
            high += stake.best(best)
        if low <= max(levels_of(anchors, self._rules)[0], needed(stakes)):
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
        now = float(self._looks.time[place])
        self._clock.instant = now
        desk = self._desk()
        if self._looks.is_tick[place]:
            due = self._due(int(now - TICK_AFTER_S), all_due=all_due)
            thoughts = {
                self._lives[one].model.model_id: one_look.thought(self._lives[one], row, self._first[one])
                for one, row in due
            }
            one_look.at_once(one_look.tick(desk, thoughts, self._windows(due), now))
            self._restless -= {one for one, _ in due}
            self._restless |= {one for one, row in due if not one_look.settled(desk.kept, self._lives[one], row)}
        else:
            one_look.at_once(one_look.guard(desk, now))
        self._memory = desk.kept
        self._chronicle.hear(self._journal.heard)
        self._journal.heard.clear()
        self._chronicle.collect(self._broker.book.deals)
        self._chronicle.seen.append((now, desk.account.balance, desk.account.equity, bool(self._looks.day_end[place])))

    def _desk(self) -> MemoryDesk:
        return new_desk(
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

    def _finish(self) -> None:
        """The account after the last look."""
        book, value = self._broker.book, self._broker.engine.valuation()
        unit = 10.0**book.money_digits
        self._chronicle.collect(book.deals)
        self._chronicle.seen.append((float(self._looks.time[-1]) + 1, book.balance / unit, value.equity / unit, True))
