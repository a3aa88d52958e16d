"""What the brokers say right now, next to what the books say: for `status --live`. Reads only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oracle_batch.broker.base import Account, Position, Quote
from oracle_batch.brokers import make_broker
from oracle_batch.bundle.compiled import load_models
from oracle_batch.bundle.model import Model
from oracle_batch.clock import Clock
from oracle_batch.config import AccountSettings, Settings
from oracle_batch.errors import OracleBatchError
from oracle_batch.status import AccountStatus, Status
from oracle_batch.store.workspace import Workspace
from oracle_batch.types import model_of


@dataclass(frozen=True, slots=True)
class LiveAccount:
    """One account as its broker has it; ``differences`` are where the books say otherwise, one line each.

    Where the broker cannot be asked there is only ``problem``, with the exit code that it stands for.
    """

    account: Account | None
    positions: tuple[Position, ...] = ()
    quotes: Mapping[str, Quote] | None = None
    differences: tuple[str, ...] = ()
    problem: str | None = None
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        money = self.account
        return {
            "balance": None if money is None else money.balance,
            "equity": None if money is None else money.equity,
            "margin_used": None if money is None else money.margin_used,
            "free_margin": None if money is None else money.free_margin,
            "currency": None if money is None else money.currency,
            "hedged": None if money is None else money.hedged,
            "positions": [self._position(one) for one in self.positions],
            "differences": list(self.differences),
            "problem": self.problem,
        }

    def _position(self, one: Position) -> dict[str, Any]:
        quote = (self.quotes or {}).get(one.symbol)
        return {
            "position_id": one.position_id,
            "symbol": one.symbol,
            "side": "BUY" if one.direction > 0 else "SELL",
            "volume": one.volume_cents / 100,
            "entry_price": one.entry_price,
            "price": None if quote is None else quote.bid if one.direction > 0 else quote.ask,
            "stop_loss": one.stop_loss,
            "take_profit": one.take_profit,
            "opened_at": one.opened_at,
            "model": model_of(one.label),
            "label": one.label,
        }


def ask(workspace: Workspace, settings: Settings, clock: Clock, books: Status) -> dict[str, LiveAccount]:
    """Ask the broker of every account; one that does not answer is a problem of its own."""
    models, _ = load_models(workspace.models, workspace.compiled, write_cache=False)

    async def everybody() -> list[LiveAccount]:
        return await asyncio.gather(
            *(_one(workspace, one, clock, models, books.accounts[one.account]) for one in settings.accounts)
        )

    found = asyncio.run(everybody())
    return {one.account: live for one, live in zip(settings.accounts, found, strict=True)}


async def _one(
    workspace: Workspace, settings: AccountSettings, clock: Clock, models: Mapping[str, Model], books: AccountStatus
) -> LiveAccount:
    try:
        broker = make_broker(settings, workspace, models, clock, dry_run=True, lean=True)
        try:
            await broker.connect()
            positions = tuple(await broker.positions())
            quotes = await broker.quotes(sorted({one.symbol for one in positions}))
            money = await broker.account()
        finally:
            await broker.close()
    except OracleBatchError as error:
        return LiveAccount(None, problem=str(error), exit_code=error.exit_code)
    return LiveAccount(money, positions, quotes, tuple(_differences(positions, books)))


def _differences(positions: Sequence[Position], books: AccountStatus) -> list[str]:
    """Positions of the models that only one of the two sides knows."""
    held = {one.position_id for one in positions}
    booked = {one.books.position.position_id for one in books.models.values() if one.books.position is not None}
    lines = []
    for name, one in books.models.items():
        if one.books.position is not None and one.books.position.position_id not in held:
            lines.append(f"{name}: the books hold position {one.books.position.position_id}, the broker does not")
    for position in positions:
        if position.position_id in booked:
            continue
        owner = model_of(position.label)
        if owner is None:
            lines.append(f"position {position.position_id} in {position.symbol} is no model's")
        else:
            lines.append(f"{owner}: the broker holds position {position.position_id}, the books do not")
    return lines
