"""Paper money on live prices: the paper broker on a folder of bars that a cTrader connection keeps up to date.

The connection is asked for data and nothing else; a token that may only look will do. Between two runs the paper
account lives through the bars of its models' timeframes, as on any other folder.
"""

from __future__ import annotations

import csv
import io
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from oracle_batch import bars as bars_module
from oracle_batch.bars import FIELDS, Bars
from oracle_batch.broker.base import (
    Account,
    Ack,
    Bar,
    CashFlow,
    Deal,
    Gate,
    Intent,
    PlacedOrder,
    Position,
    Quote,
    Request,
    Series,
    Stir,
    SymbolSpec,
    Wish,
)
from oracle_batch.broker.ctrader.broker import CtraderBroker
from oracle_batch.broker.paper import PaperBroker
from oracle_batch.bundle.model import Model
from oracle_batch.clock import Clock
from oracle_batch.errors import BrokerError
from oracle_batch.hands.calendar import Schedule
from oracle_batch.hands.protection import Terms
from oracle_batch.market.feed import Feed
from oracle_batch.store.files import replace_atomically, state_error
from oracle_batch.types import STORED_BARS, TIMEFRAME_SECONDS

_log = logging.getLogger(__name__)

KEPT_BARS: Final = 3 * STORED_BARS
CONVERSION_TIMEFRAME: Final = "H1"
FIRST_SPAN: Final = 2
"""A first pull reaches back so many times the stored bars, for weekends and holidays."""


class LivePaperBroker:
    """A ``Broker`` that trades on paper; ``folder`` None keeps the bars in a temporary folder (dry runs)."""

    def __init__(
        self,
        data: CtraderBroker,
        make_paper: Callable[[Feed], PaperBroker],
        models: Mapping[str, Model],
        folder: Path | None,
        currency: str,
        clock: Clock,
    ) -> None:
        self._data = data
        self._make_paper = make_paper
        self._models = models
        self._currency = currency
        self._clock = clock
        self._temporary = tempfile.TemporaryDirectory(prefix="oracle-bars-") if folder is None else None
        self._folder = folder or Path(self._temporary.name if self._temporary else "")
        self._made: PaperBroker | None = None

    async def connect(self) -> None:
        """Open the data session, bring the bars up to date, then load the paper account and play them.

        Raises:
            BrokerError, ConfigError: no data can be had.
            StateError: the bars or the account cannot be read or written.
        """
        if self._made is not None:
            return
        await self._data.connect()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise state_error(error, self._folder, "make the folder") from error
        for symbol, timeframe in await self._series():
            try:
                await self._pull(symbol, timeframe)
            except BrokerError as error:
                _log.warning("%s %s: no new bars: %s", symbol, timeframe, error)
        self._made = self._make_paper(Feed(self._folder))
        await self._made.connect()

    async def close(self) -> None:
        if self._made is not None:
            await self._made.close()
        await self._data.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    async def bars(self, symbol: str, timeframe: str, start: int, end: int) -> Bars:
        """As the connection has them now; what is new is played on paper, too."""
        found = await self._data.bars(symbol, timeframe, start, end)
        self._keep(symbol, timeframe, found)
        return found

    async def account(self) -> Account:
        return await self._paper.account()

    async def symbols(self, names: Sequence[str]) -> dict[str, SymbolSpec]:
        return await self._paper.symbols(names)

    async def positions(self) -> list[Position]:
        return await self._paper.positions()

    async def quotes(self, names: Sequence[str]) -> dict[str, Quote]:
        return await self._paper.quotes(names)

    async def deals(self, since: float) -> list[Deal]:
        return await self._paper.deals(since)

    @property
    def absence_grace_s(self) -> float:
        return self._paper.absence_grace_s

    async def orders(self, since: float) -> list[PlacedOrder]:
        return await self._paper.orders(since)

    async def cash_flows(self, since: float) -> list[CashFlow]:
        return await self._paper.cash_flows(since)

    async def terms(self, names: Sequence[str]) -> dict[str, Terms]:
        return await self._paper.terms(names)

    async def margins(self, wishes: Sequence[Wish]) -> list[float | None]:
        return await self._paper.margins(wishes)

    async def schedules(self, names: Sequence[str]) -> dict[str, Schedule]:
        """The broker's own opening hours."""
        return await self._data.schedules(names)

    async def arm(self, series: Sequence[Series], wishes: Sequence[Wish]) -> None:
        """Nothing is followed: the bars that paper plays are pulled at the trigger."""

    async def stirred(self) -> Stir:
        return await self._paper.stirred()

    async def confirm(self) -> None:
        await self._paper.confirm()

    def final_bars(self, close: int) -> dict[Series, Bar]:
        return {}

    def prepare(self, intents: Sequence[Intent]) -> None:
        self._paper.prepare(intents)

    @property
    def version(self) -> int | None:
        return None

    def disarm(self) -> None:
        self._paper.disarm()

    @property
    def last_sent(self) -> float | None:
        return self._paper.last_sent

    async def execute(self, intents: Sequence[Request], gate: Gate) -> list[Ack]:
        return await self._paper.execute(intents, gate)

    # inside

    @property
    def _paper(self) -> PaperBroker:
        if self._made is None:
            raise BrokerError("the paper broker is not connected", fix="connect() comes first")
        return self._made

    async def _series(self) -> list[tuple[str, str]]:
        """Every model's bars, and those of the pairs that turn profits into the account currency."""
        wanted = {(model.broker_symbol, model.timeframe): None for model in self._models.values()}
        symbols = sorted({symbol for symbol, _ in wanted})
        known = {symbol for symbol, _ in wanted}
        for name in await self._data.conversion_symbols(symbols, self._currency):
            if name not in known:
                wanted[name, CONVERSION_TIMEFRAME] = None
        return list(wanted)

    async def _pull(self, symbol: str, timeframe: str) -> None:
        old, now = self._read(symbol, timeframe), int(self._clock.now())
        span = FIRST_SPAN * STORED_BARS * TIMEFRAME_SECONDS[timeframe]
        start = int(old.time[-1]) if len(old) else now - span
        self._keep(symbol, timeframe, await self._data.bars(symbol, timeframe, start, now))

    def _keep(self, symbol: str, timeframe: str, fresh: Bars) -> None:
        old = self._read(symbol, timeframe)
        whole = bars_module.join(old, fresh)[-KEPT_BARS:]
        if whole.equals(old):
            return
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(FIELDS)
        writer.writerows(zip(*(getattr(whole, name).tolist() for name in FIELDS), strict=True))
        replace_atomically(self._path(symbol, timeframe), text.getvalue().encode())

    def _read(self, symbol: str, timeframe: str) -> Bars:
        if not self._path(symbol, timeframe).exists():
            return bars_module.empty()
        return Feed(self._folder).bars(symbol, timeframe, 0, int(self._clock.now()) + 1)

    def _path(self, symbol: str, timeframe: str) -> Path:
        return self._folder / f"{symbol}_{timeframe}.csv"
