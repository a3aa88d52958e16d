"""The paper broker: the market engine in process, its account in a file between runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from oracle_batch.bars import FIELDS, Bars
from oracle_batch.broker.base import (
    Account,
    Ack,
    AmendIntent,
    Bar,
    CashFlow,
    CashKind,
    CloseIntent,
    Deal,
    Gate,
    Intent,
    OpenIntent,
    PlacedOrder,
    Position,
    Quote,
    Request,
    Series,
    Stir,
    SymbolSpec,
    Wish,
)
from oracle_batch.broker.paper_account import load_book, save_book
from oracle_batch.broker.paper_views import deal_view, flow_view, orders_view, position_view
from oracle_batch.bundle.model import Model
from oracle_batch.clock import Clock
from oracle_batch.config.settings import PaperSettings
from oracle_batch.errors import BrokerError, OracleBatchError, StateError
from oracle_batch.hands.calendar import Schedule
from oracle_batch.hands.protection import Terms
from oracle_batch.market.book import Book, exact, to_minor, to_money
from oracle_batch.market.engine import Engine
from oracle_batch.market.excerpts import Excerpts
from oracle_batch.market.feed import Feed
from oracle_batch.market.fills import Fill, Refusal, deal_price
from oracle_batch.market.orders import Order
from oracle_batch.market.spec_file import SymbolSettings
from oracle_batch.market.specs import Contracts
from oracle_batch.market.tape import Tape
from oracle_batch.types import TIMEFRAME_SECONDS

_log = logging.getLogger(__name__)
CLOCK_TOLERANCE_S = 60.0
"""How far the clock may lie behind the account's: a machine's clock is corrected by seconds, not by bars."""


class PaperBroker:
    """A ``Broker`` that trades on a folder of bars.

    The account is loaded by ``connect`` and written by everything that changed it before that returns: after a crash
    the file holds a burst as a whole, or nothing of it. ``dry_run`` never writes. ``models`` lend contract terms and
    costs to symbols that ``config/symbols.json`` does not describe; ``specs_file`` is named in messages about it.
    """

    def __init__(
        self,
        account: str,
        settings: PaperSettings,
        feed: Feed,
        specs: Mapping[str, SymbolSettings],
        state_path: Path,
        clock: Clock,
        models: Mapping[str, Model],
        *,
        specs_file: Path = Path("config/symbols.json"),
        dry_run: bool = False,
        excerpts: Excerpts | None = None,
    ) -> None:
        self._account = account
        self._settings = settings
        self._feed = feed
        self._contracts = Contracts(specs, models.values(), settings.currency, specs_file)
        self._path = state_path
        self._clock = clock
        self._dry_run = dry_run
        self._excerpts = excerpts
        self._engine: Engine | None = None
        self._followed: tuple[Series, ...] = ()
        self._last_sent: float | None = None

    @property
    def absence_grace_s(self) -> float:
        return 0.0

    @property
    def problems(self) -> dict[str, str]:
        """Symbols that could not be priced lately, with the reason; their last known price stands in the equity."""
        return dict(self._engine.problems) if self._engine else {}

    async def connect(self) -> None:
        """Load the account, or create it, and play the market up to now.

        Raises:
            StateError: the account file cannot be used, or it is ahead of the clock with positions open.
        """
        if self._engine is not None:
            return
        now = self._clock.now()
        book = load_book(self._path, self._account, self._settings, now)
        self._engine = Engine(_at(book, now, self._path), Tape(self._feed), self._contracts)
        self._now()

    async def close(self) -> None:
        self._engine = None
        if self._excerpts is not None:
            self._feed.keep(self._excerpts)

    async def account(self) -> Account:
        engine = self._now()
        book = engine.book
        return Account(
            account=self._account,
            currency=book.currency,
            balance=to_money(book.balance, book.money_digits),
            equity=to_money(engine.valuation().equity, book.money_digits),
            margin_used=to_money(book.margin_used, book.money_digits),
            leverage=book.leverage,
            hedged=book.hedged,
            money_digits=book.money_digits,
        )

    async def symbols(self, names: Sequence[str]) -> dict[str, SymbolSpec]:
        """Contracts by symbol. One whose terms or costs are not known is absent; the log and ``problems`` say why."""
        engine = self._now()
        found = {}
        for name in names:
            try:
                contract = engine.pricing.contract(name) if self._feed.timeframes(name) else None
            except OracleBatchError as error:
                self._note(name, error)
                continue
            if contract is not None:
                found[name] = contract.spec
        return found

    async def positions(self) -> list[Position]:
        book = self._now().book
        return [position_view(position, book.money_digits) for position in book.positions]

    async def bars(self, symbol: str, timeframe: str, start: int, end: int) -> Bars:
        closed = int(self._clock.now()) - TIMEFRAME_SECONDS[timeframe] + 1
        return self._feed.bars(symbol, timeframe, start, max(start, min(end, closed)))

    async def quotes(self, names: Sequence[str]) -> dict[str, Quote]:
        engine = self._now()
        found = {}
        for name in names:
            try:
                quote = engine.quote(name)
            except OracleBatchError as error:
                self._note(name, error)
                continue
            if quote is not None:
                found[name] = quote
        return found

    async def orders(self, since: float) -> list[PlacedOrder]:
        """Orders that were filled; paper answers at once, so that none is ever on its way."""
        return orders_view(await self.deals(since))

    async def deals(self, since: float) -> list[Deal]:
        book = self._now().book
        return [deal_view(deal, book.money_digits) for deal in book.deals if deal.time >= since]

    async def cash_flows(self, since: float) -> list[CashFlow]:
        book = self._now().book
        return [flow_view(flow, book.money_digits) for flow in book.flows if flow.time >= since]

    async def terms(self, names: Sequence[str]) -> dict[str, Terms]:
        """Contract, costs and the conversion rate now; absent as in ``symbols``, and where no rate is known."""
        engine = self._now()
        found = {}
        for name in await self.symbols(names):
            try:
                if (terms := engine.pricing.terms(name, engine.book.clock)) is not None:
                    found[name] = terms
            except OracleBatchError as error:
                self._note(name, error)
        return found

    async def margins(self, wishes: Sequence[Wish]) -> list[float | None]:
        """The margin of each order by itself; what a netted account would take off is not."""
        engine = self._now()
        return [self._margin(engine, *wish) for wish in wishes]

    async def schedules(self, names: Sequence[str]) -> dict[str, Schedule]:
        """Schedules from ``config/symbols.json``; a symbol without one is absent, and trades at any time."""
        found = {name: self._contracts.schedule(name) for name in names}
        return {name: schedule for name, schedule in found.items() if schedule is not None}

    async def arm(self, series: Sequence[Series], wishes: Sequence[Wish]) -> None:
        """There is no network to get ahead of: the folder is read at the trigger."""
        self._followed = tuple(series)

    async def stirred(self) -> Stir:
        import asyncio  # not before: a run between bars on paper needs no event loop

        never: asyncio.Future[Stir] = asyncio.get_running_loop().create_future()
        return await never

    async def confirm(self) -> None:
        """There is nobody to ask."""

    def final_bars(self, close: int) -> dict[Series, Bar]:
        found = {}
        for symbol, timeframe in self._followed:
            try:
                bars = self._feed.bars(symbol, timeframe, close - TIMEFRAME_SECONDS[timeframe], close)
            except OracleBatchError as error:
                self._note(symbol, error)
                continue
            if len(bars) and bars.time[-1] == close - TIMEFRAME_SECONDS[timeframe]:
                last = (getattr(bars, name)[-1].item() for name in FIELDS)
                found[symbol, timeframe] = Bar(*last)
        return found

    def prepare(self, intents: Sequence[Intent]) -> None:
        """A leg needs no request here."""

    @property
    def version(self) -> int | None:
        return None

    def disarm(self) -> None:
        self._followed = ()

    @property
    def last_sent(self) -> float | None:
        return self._last_sent

    async def execute(self, intents: Sequence[Request], gate: Gate) -> list[Ack]:
        """Closes first, then amendments, then openings, each in the order given.

        The account is on disk before the acks are returned.

        Raises:
            StateError: the account could not be written; then nothing of the burst has happened.
        """
        engine = self._now()
        before = engine.book
        acks: dict[int, Ack] = {}
        for place, intent in enumerate(intents):
            if isinstance(intent, CloseIntent):
                acks[place] = self._close(engine, intent)
        gone = {ack.position_id for ack in acks.values() if ack.reason == "ALREADY_CLOSED"}
        for place, intent in enumerate(intents):
            if isinstance(intent, AmendIntent):
                acks[place] = self._amend(engine, intent)
        for place, intent in enumerate(intents):
            if isinstance(intent, OpenIntent):
                acks[place] = self._open(engine, intent, gate, gone)
        if engine.book != before:
            self._save(engine, before)
        self._last_sent = time.monotonic()
        return [acks[place] for place in range(len(intents))]

    def move_cash(self, amount: float, kind: CashKind) -> None:
        """Book a deposit (positive, account currency) or a withdrawal.

        Raises:
            BrokerError: more is taken out than is free.
            StateError: the account could not be written.
        """
        engine = self._now()
        before = engine.book
        refusal = engine.move_cash(to_minor(exact(amount), before.money_digits), kind)
        if refusal is not None:
            raise BrokerError(f"{refusal.code}: {refusal.text}", fix="take out less, or close positions first")
        self._save(engine, before)

    def _now(self) -> Engine:
        """The engine, brought to the present; what the market did on the way is written."""
        if self._engine is None:
            raise BrokerError("the paper broker is not connected", fix="connect() comes first")
        before = self._engine.book
        for deal in self._engine.advance(self._clock.now()):
            _log.info("paper: %s %s closed by %s at %.8g", deal.symbol, deal.position_id, deal.reason, deal.price)
        if self._engine.book.next_deal_id != before.next_deal_id:
            self._save(self._engine, before)
        return self._engine

    def _save(self, engine: Engine, before: Book) -> None:
        if self._dry_run:
            return
        try:
            save_book(self._path, engine.book)
        except StateError:
            engine.book = before
            raise

    def _close(self, engine: Engine, intent: CloseIntent) -> Ack:
        found = engine.close(
            intent.position_id,
            intent.volume_cents,
            decided_at=intent.decided_at,
            client_order_id=intent.intent_id,
        )
        return self._ack(engine, intent, found)

    def _amend(self, engine: Engine, intent: AmendIntent) -> Ack:
        refusal = engine.amend(intent.position_id, intent.stop_loss, intent.take_profit, intent.stop_trigger)
        return self._refused(intent, refusal) if refusal else Ack(intent.intent_id, "OK", None, intent.position_id)

    def _open(self, engine: Engine, intent: OpenIntent, gate: Gate, gone: Collection[int | None]) -> Ack:
        if intent.after_close is not None and not _released(engine.book, intent, gone):
            return Ack(intent.intent_id, "FAIL", "CLOSE_NOT_CONFIRMED")
        reason = gate([intent]).get(intent.intent_id)
        if reason is not None:
            return Ack(intent.intent_id, "SKIP", reason)
        order = Order(
            intent.symbol,
            intent.direction,
            intent.volume_cents,
            intent.decided_at,
            client_order_id=intent.intent_id,
            label=intent.label,
            comment=intent.comment,
            stop_relative=intent.stop_relative,
            target_relative=intent.target_relative,
            max_slippage_points=intent.max_slippage_points,
            stop_trigger=intent.stop_trigger,
        )
        return self._ack(engine, intent, engine.open(order))

    def _margin(self, engine: Engine, symbol: str, direction: int, volume_cents: int) -> float | None:
        book, at = engine.book, engine.book.clock
        try:
            contract, quote = engine.pricing.contract(symbol), engine.quote(symbol)
            if contract is None or quote is None:
                return None
            price = deal_price(contract, direction, quote.bid)
            minor = engine.pricing.margin(contract, volume_cents, price, at, book.leverage, book.money_digits)
        except OracleBatchError as error:
            self._note(symbol, error)
            return None
        return to_money(minor, book.money_digits)

    def _ack(self, engine: Engine, intent: OpenIntent | CloseIntent, found: Fill | Refusal) -> Ack:
        if isinstance(found, Refusal):
            return self._refused(intent, found)
        deals = tuple(deal_view(deal, engine.book.money_digits) for deal in found.deals)
        return Ack(intent.intent_id, "OK", None, found.position_id, found.price, found.slippage, deals)

    def _refused(self, intent: Request, refusal: Refusal) -> Ack:
        position_id = None if isinstance(intent, OpenIntent) else intent.position_id
        if refusal.code == "POSITION_NOT_FOUND":
            return Ack(intent.intent_id, "OK", "ALREADY_CLOSED", position_id)
        _log.warning("paper: %s refused: %s: %s", intent.intent_id, refusal.code, refusal.text)
        return Ack(intent.intent_id, "FAIL", refusal.code, position_id)

    def _note(self, symbol: str, error: OracleBatchError) -> None:
        _log.warning("paper: %s: %s", symbol, error)
        if self._engine is not None:
            self._engine.problems[symbol] = str(error)


def _released(book: Book, intent: OpenIntent, gone: Collection[int | None]) -> bool:
    """Whether an entry may follow the end of the position before it: our close, or another's for the other side."""
    if intent.after_close not in gone:
        return book.position(intent.after_close or 0) is None
    ends = [deal for deal in book.deals if deal.position_id == intent.after_close and deal.closing]
    return bool(ends) and ends[-1].direction == intent.direction


def _at(book: Book, now: float, path: Path) -> Book:
    """A book whose clock is not ahead of the present. Without positions nothing depends on it."""
    if book.clock <= now or (book.positions and book.clock <= now + CLOCK_TOLERANCE_S):
        return book
    if not book.positions:
        return replace(book, clock=now)
    raise StateError(
        f"the account was last traded at {book.clock:.0f}, later than now ({now:.0f}), and holds positions",
        file=path,
        field="clock",
        fix="correct the clock or --now, or use another --home",
    )
