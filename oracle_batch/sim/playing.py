"""The virtual clock: prices, ends of bars, nights, holidays and deadlines, in the order in which they come."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Final

from msgspec.structs import replace

from oracle_batch.errors import BarError
from oracle_batch.market.holidays import holiday_edges
from oracle_batch.market.swaps import next_rollover
from oracle_batch.market.track import Point, Track
from oracle_batch.sim.account import AccountDesk
from oracle_batch.sim.board import Board
from oracle_batch.sim.events import Event, Spot, SymbolChanged
from oracle_batch.sim.market_faults import MarketFaults
from oracle_batch.sim.values import SymbolInfo

_log = logging.getLogger(__name__)
CLOSED_GAP_S: Final = 86400.0
"""Bars that stay away for a day mean a closed market, where no schedule tells; less is a gap in the prices."""
_CHUNK_S: Final = 86400.0
_EXECUTING: Final = ("ENABLED", "DISABLED_WITH_PENDINGS_EXECUTION")


class Playing:
    """Moves boards and desks through time. ``infos`` and ``boards`` are by symbol id; ``watched`` as of ``Exchange``.

    ``problems`` names symbols whose bars could not be played lately, with the reason.
    """

    def __init__(
        self,
        start: float,
        track: Track,
        faults: MarketFaults,
        infos: Mapping[int, SymbolInfo],
        boards: Mapping[int, Board],
        desks: Sequence[AccountDesk],
        *,
        closing_update: bool,
    ) -> None:
        self.now = float(start)
        self.watched: set[int] | None = None
        self.problems: dict[str, str] = {}
        self._track = track
        self._faults = faults
        self._infos = infos
        self._boards = boards
        self._ids = {board.symbol: symbol_id for symbol_id, board in boards.items()}
        self._desks = desks
        self._closing_update = closing_update
        self._rollover, self._nights = next_rollover(start)
        self._next_end = min(board.next_end for board in boards.values())

    def advance(self, to: float) -> Iterator[Event]:
        """Play up to an instant; an earlier one changes nothing."""
        while self.now < to:
            until = min(to, self.now + _CHUNK_S, self._rollover)
            yield from self._play(until)
            if until == self._rollover:
                for desk in self._desks:
                    yield from desk.pass_nights(until, self._nights)
                self._rollover, self._nights = next_rollover(until)
        self._faults.time_passed()

    def follow(self, symbol_id: int, period: str) -> None:
        """Keep the live bars of one more period."""
        self._boards[symbol_id].follow(period, self.now)
        self._next_end = min(self._next_end, self._boards[symbol_id].next_end)

    def is_open(self, info: SymbolInfo) -> bool:
        """Whether the symbol trades now: by its schedule, else by its prices."""
        if info.schedule is not None:
            return info.schedule.is_open(self.now)
        point = self._track.current(info.name, self.now)
        if point is None or self.now < point.end:
            return True
        coming = self._track.next_price(info.name, self.now)
        return (self.now if coming is None else coming) - point.end < CLOSED_GAP_S

    def _play(self, until: float) -> Iterator[Event]:
        holidays = self._holidays(until)
        points = sorted(chain.from_iterable(self._points(board.symbol, until) for board in self._boards.values()))
        for point in points:
            yield from self._pass(point.shown, holidays)
            self.now = point.shown
            yield from self._happen(point)
        yield from self._pass(until, holidays)
        self.now = until
        for desk in self._desks:
            desk.engine.pass_time(until)

    def _happen(self, point: Point) -> Iterator[Event]:
        symbol_id = self._ids[point.step.symbol]
        board = self._boards[symbol_id]
        spot = board.see(point)
        self._next_end = min(self._next_end, board.next_end)
        if self._is_watched(symbol_id):
            yield self.visible(spot)
        for desk in self._desks:
            if not desk.is_idle():
                yield from desk.meet(point, pending=desk.waits_for(point.step.symbol) and self._executes(symbol_id))

    def _pass(self, until: float, holidays: list[tuple[float, int]]) -> Iterator[Event]:
        """What happens by the clock alone, up to an instant."""
        while self._next_end <= until:
            yield from self._end_bars(self._next_end)
        while holidays and holidays[0][0] <= until:
            at, symbol_id = holidays.pop(0)
            yield SymbolChanged((symbol_id,), at)
        for desk in self._desks:
            while (at := desk.next_expiry) <= until:
                yield from desk.expire(max(at, self.now))

    def _end_bars(self, at: float) -> Iterator[Event]:
        for symbol_id, board in self._boards.items():
            if board.next_end > at:
                continue
            bars = tuple(board.ended(at))
            if self._closing_update and self._is_watched(symbol_id):
                yield self.visible(board.spot(at, bars, closed=True))
        self._next_end = min(board.next_end for board in self._boards.values())

    def visible(self, spot: Spot) -> Spot:
        """A quote without the bars that a fault keeps out of the stream."""
        if not self._faults.mutes_anything:
            return spot
        name = self._infos[spot.symbol_id].name
        shown = tuple(bar for bar in spot.bars if not self._faults.is_muted(name, bar.period, bar.time))
        return replace(spot, bars=shown)

    def _points(self, symbol: str, until: float) -> list[Point]:
        try:
            points = list(self._track.points(symbol, self.now, until))
        except BarError as error:
            _log.warning("sim: %s", error)
            self.problems[symbol] = str(error)
            return []
        self.problems.pop(symbol, None)
        return points

    def _holidays(self, until: float) -> list[tuple[float, int]]:
        edges = ((symbol_id, holiday_edges(info.schedule, self.now, until)) for symbol_id, info in self._infos.items())
        return sorted((at, symbol_id) for symbol_id, found in edges for at in found)

    def _executes(self, symbol_id: int) -> bool:
        info = self._infos[symbol_id]
        return info.trading_mode in _EXECUTING and self.is_open(info)

    def _is_watched(self, symbol_id: int) -> bool:
        return self.watched is None or symbol_id in self.watched
