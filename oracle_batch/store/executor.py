"""One account's books, ``state/executor/ACCOUNT.json``, and how far its journal has been taken into them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from oracle_batch.errors import StateError
from oracle_batch.hands.account_risk import AccountRisk
from oracle_batch.hands.books import ModelBooks
from oracle_batch.store import documents
from oracle_batch.store.documents import Migration
from oracle_batch.store.files import read_bytes
from oracle_batch.store.journal import Mark

SCHEMA: Final = 2


def _with_risk(document: dict[str, Any]) -> dict[str, Any]:
    """Schema 2: the account's own memory, which has the streaks of losses, and a watch over each position."""
    streaks = {}
    for model, books in document["models"].items():
        if isinstance(books, dict):
            losses = books.pop("consecutive_losses", 0)
            books["watch"] = None
            if isinstance(books.get("last"), dict):
                books["last"]["numbers"] = {}
            if isinstance(losses, int) and losses > 0:
                streaks[model] = {"losses": losses, "last_loss": 0.0}
    risk = msgspec.to_builtins(AccountRisk())
    risk["trades"]["models"] = streaks
    return document | {"risk": risk}


MIGRATIONS: Final[Mapping[int, Migration]] = MappingProxyType({1: _with_risk})
_FIX: Final = "repair the field, or restore the file from a backup"


class DamagedBooks(msgspec.Struct, frozen=True):
    """Books of one model that cannot be used: the bytes, which are kept as they are, and the reason."""

    raw: bytes
    error: StateError


class Executor(msgspec.Struct, frozen=True, kw_only=True):
    """The books of an account, by model id, and what it remembers as a whole.

    ``journal`` is the place in the journal up to which everything is in these books (None: nothing yet). ``damaged``
    holds the models that must not trade; they are written back byte for byte.
    """

    account: str
    models: dict[str, ModelBooks] = {}
    journal: Mark | None = None
    damaged: dict[str, DamagedBooks] = {}
    risk: AccountRisk = AccountRisk()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    schema: int = SCHEMA
    account: str
    models: dict[str, msgspec.Raw]
    risk: msgspec.Raw
    journal: Mark | None


def load(
    path: Path,
    account: str,
    *,
    schema: int = SCHEMA,
    migrations: Mapping[int, Migration] = MIGRATIONS,
) -> Executor | None:
    """The books of an account, or None when there are none yet. One model's damage is its own (``damaged``).

    Raises:
        StateError: the file as a whole is damaged, of another account or of a newer schema.
    """
    data = read_bytes(path)
    if data is None:
        return None
    file = documents.decode(data, _File, schema=schema, migrations=migrations, file=path, fix=_FIX)
    if file.account != account:
        raise StateError(
            f"holds the books of account {file.account!r}, not of {account!r}",
            file=path,
            field="account",
            fix="put the right file back, or correct the account's name in config/oracle.toml",
        )
    if file.journal is not None and file.journal.offset < 0:
        raise StateError(f"{file.journal.offset} is negative", file=path, field="journal.offset", fix=_FIX)
    risk = documents.parse(bytes(file.risk), AccountRisk, file=path, fix=_FIX, within="risk")
    check_risk(risk, file=path)
    models: dict[str, ModelBooks] = {}
    damaged: dict[str, DamagedBooks] = {}
    for model, raw in file.models.items():
        try:
            books = documents.parse(bytes(raw), ModelBooks, file=path, fix=_FIX, within=f"models.{model}")
            check(books, model, file=path)
        except StateError as error:
            damaged[model] = DamagedBooks(bytes(raw), error)
        else:
            models[model] = books
    return Executor(account=account, models=models, journal=file.journal, damaged=damaged, risk=risk)


def encode(executor: Executor) -> bytes:
    """The file's bytes, models in the order of their ids.

    Raises:
        StateError: a value that no books can have; nothing impossible is ever written.
    """
    raws: dict[str, msgspec.Raw] = {model: msgspec.Raw(bad.raw) for model, bad in executor.damaged.items()}
    for model, books in executor.models.items():
        check(books, model, file=f"books of {executor.account}")
        raws[model] = msgspec.Raw(msgspec.json.encode(books))
    check_risk(executor.risk, file=f"books of {executor.account}")
    return documents.encode(
        _File(
            account=executor.account,
            models=dict(sorted(raws.items())),
            risk=msgspec.Raw(msgspec.json.encode(executor.risk)),
            journal=executor.journal,
        )
    )


def check(books: ModelBooks, model: str, *, file: object) -> None:
    """Refuse what cannot be.

    Raises:
        StateError: naming the field.
    """
    for name, why in _impossible(books):
        raise StateError(why, file=file, field=f"models.{model}.{name}", fix=_FIX)


def _impossible(books: ModelBooks) -> list[tuple[str, str]]:
    counts = ("last_bar", "decisions_revised")
    wrong = [(name, f"{getattr(books, name)} is negative") for name in counts if getattr(books, name) < 0]
    if books.waiting is not None and books.waiting.direction not in (-1, 0, 1):
        wrong.append(("waiting.direction", f"{books.waiting.direction} is none of -1, 0, 1"))
    held = books.position
    if held is not None:
        if held.direction not in (-1, 1):
            wrong.append(("position.direction", f"{held.direction} is neither -1 nor 1"))
        if not 1 <= held.intensity <= 3:
            wrong.append(("position.intensity", f"{held.intensity} is none of 1, 2, 3"))
        if held.volume_cents <= 0:
            wrong.append(("position.volume_cents", f"{held.volume_cents} is not above 0"))
        if not _is_price(held.entry_price):
            wrong.append(("position.entry_price", f"{held.entry_price} is no price"))
        if not (math.isfinite(held.opened_at) and held.opened_at >= 0):
            wrong.append(("position.opened_at", f"{held.opened_at} is no time"))
    watch = books.watch
    if watch is not None:
        prices = {"stop_loss": watch.stop_loss, "take_profit": watch.take_profit, "best_price": watch.best_price}
        bad = {name: price for name, price in prices.items() if price is not None and not _is_price(price)}
        wrong += [(f"watch.{name}", f"{price} is no price") for name, price in bad.items()]
    pending = books.pending_close
    if pending is not None and not (math.isfinite(pending.since) and pending.since >= 0):
        wrong.append(("pending_close.since", f"{pending.since} is no time"))
    return wrong


def _is_price(price: float) -> bool:
    return math.isfinite(price) and price > 0


def check_risk(risk: AccountRisk, *, file: object) -> None:
    """Refuse what no account can remember.

    Raises:
        StateError: naming the field.
    """
    wrong = [(f"risk.{name}", "is not finite") for name in _not_finite(msgspec.to_builtins(risk))]
    anchors, log = risk.anchors, risk.trades
    streaks = {"account": log.account, **{f"models.{name}": streak for name, streak in log.models.items()}}
    counts = {f"trades.{name}.losses": streak.losses for name, streak in streaks.items()}
    counts |= {"trades.day.trades": log.day.trades, "trades.day.requests": log.day.requests}
    if anchors is not None:
        counts |= {"anchors.money_digits": anchors.money_digits, "anchors.initial_balance": anchors.initial_balance}
    wrong += [(f"risk.{name}", f"{count} is negative") for name, count in counts.items() if count < 0]
    for field, why in wrong:
        raise StateError(why, file=file, field=field, fix=_FIX)


def _not_finite(value: object, field: str = "") -> list[str]:
    """Every number in plain values that JSON has no word for."""
    if isinstance(value, float):
        return [] if math.isfinite(value) else [field]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [name for key, item in inner for name in _not_finite(item, f"{field}.{key}".lstrip("."))]
