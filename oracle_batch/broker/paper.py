"""The paper broker: the market engine in process, its account in a file between runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from oracle_batch.bars import Bars
from oracle_batch.broker.base import (
    Account,
    Ack,
    CloseIntent,
    Deal,
    Gate,
    Intent,
    OpenIntent,
    Position,
    Quote,
    SymbolSpec,
)
from oracle_batch.broker.paper_account import load_book, save_book
from oracle_batch.bundle.model import Model
from oracle_batch.clock import Clock
from oracle_batch.config.settings import PaperSettings
from oracle_batch.errors import BrokerError, OracleBatchError, StateError
from oracle_batch.market.book import Book, BookedDeal, OpenPosition, to_money
from oracle_batch.market.engine import Engine
from oracle_batch.market.feed import Feed
from oracle_batch.market.fills import Fill, Refusal
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
    ) -> None:
        self._account = account
        self._settings = settings
        self._feed = feed
        self._contracts = Contracts(specs, models.values(), settings.currency, specs_file)
        self._path = state_path
        self._clock = clock
        self._dry_run = dry_run
        self._engine: Engine | None = None

    @property
    def problems(self) -> dict[str, str]:
        """Symbols that could not be priced lately, with the reason; their last known price stands in the equity."""
        return dict(self._engine.problems) if self._engine else {}

    async def connect(self) -> None:
        """Load the account, or create it, and play the market up to now.

        Raises:
            StateError: the account file cannot be used, or it is ahead of the clock with positions open.
        """
        now = self._clock.now()
        book = load_book(self._path, self._account, self._settings, now)
        self._engine = Engine(_at(book, now, self._path), Tape(self._feed), self._contracts)
        self._now()

    async def close(self) -> None:
        self._engine = None

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
        return [_position(position) for position in self._now().book.positions]

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

    async def deals(self, since: float) -> list[Deal]:
        book = self._now().book
        return [_deal(deal, book.money_digits) for deal in book.deals if deal.time >= since]

    async def execute(self, intents: Sequence[Intent], gate: Gate) -> list[Ack]:
        """Closes first, then openings in the order given; the account is on disk before the acks are returned.

        Raises:
            StateError: the account could not be written; then nothing of the burst has happened.
        """
        engine = self._now()
        before = engine.book
        acks: dict[int, Ack] = {}
        for place, intent in enumerate(intents):
            if isinstance(intent, CloseIntent):
                acks[place] = self._close(engine, intent)
        for place, intent in enumerate(intents):
            if isinstance(intent, OpenIntent):
                acks[place] = self._open(engine, intent, gate)
        if engine.book != before:
            self._save(engine, before)
        return [acks[place] for place in range(len(intents))]

    async def amend(self, position_id: int, stop_loss: float | None, take_profit: float | None) -> str | None:
        """Set or clear both absolute protection prices; the reason code when the market refuses.

        Raises:
            StateError: the account could not be written; then nothing has changed.
        """
        engine = self._now()
        before = engine.book
        refusal = engine.amend(position_id, stop_loss, take_profit)
        if engine.book != before:
            self._save(engine, before)
        return refusal.code if refusal else None

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
        if isinstance(found, Refusal) and found.code == "POSITION_NOT_FOUND":
            return Ack(intent.intent_id, "OK", "ALREADY_CLOSED", intent.position_id)
        return self._ack(engine, intent, found)

    def _open(self, engine: Engine, intent: OpenIntent, gate: Gate) -> Ack:
        if intent.after_close is not None and engine.book.position(intent.after_close) is not None:
            return Ack(intent.intent_id, "FAIL", "CLOSE_NOT_CONFIRMED")
        reason = gate(intent)
        if reason is not None:
            return Ack(intent.intent_id, "SKIP", reason)
        found = engine.open(
            intent.symbol,
            intent.direction,
            intent.volume_cents,
            decided_at=intent.decided_at,
            client_order_id=intent.intent_id,
            label=intent.label,
            comment=intent.comment,
        )
        return self._ack(engine, intent, found)

    def _ack(self, engine: Engine, intent: Intent, found: Fill | Refusal) -> Ack:
        if isinstance(found, Refusal):
            _log.warning("paper: %s refused: %s: %s", intent.intent_id, found.code, found.text)
            return Ack(intent.intent_id, "FAIL", found.code)
        deals = tuple(_deal(deal, engine.book.money_digits) for deal in found.deals)
        return Ack(intent.intent_id, "OK", None, found.position_id, found.price, found.slippage, deals)

    def _note(self, symbol: str, error: OracleBatchError) -> None:
        _log.warning("paper: %s: %s", symbol, error)
        if self._engine is not None:
            self._engine.problems[symbol] = str(error)


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


def _position(position: OpenPosition) -> Position:
    return Position(
        position_id=position.position_id,
        symbol=position.symbol,
        direction=position.direction,
        volume_cents=position.volume_cents,
        entry_price=position.entry_price,
        opened_at=position.opened_at,
        label=position.label,
        comment=position.comment,
    )


def _deal(deal: BookedDeal, money_digits: int) -> Deal:
    return Deal(
        deal_id=deal.deal_id,
        order_id=deal.order_id,
        client_order_id=deal.client_order_id,
        position_id=deal.position_id,
        label=deal.label,
        symbol=deal.symbol,
        direction=deal.direction,
        volume_cents=deal.volume_cents,
        price=deal.price,
        time=deal.time,
        closing=deal.closing,
        reason=deal.reason,
        profit=to_money(deal.profit, money_digits),
        commission=to_money(deal.commission, money_digits),
        conversion=deal.rate_source,
    )
