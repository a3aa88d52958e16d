"""The paper account's file, ``state/paper/ACCOUNT.json``: everything the market engine knows, in one piece."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from oracle_batch.config.settings import PaperSettings
from oracle_batch.errors import StateError
from oracle_batch.market.book import SCHEMA, Book, new_book
from oracle_batch.store.documents import split_path
from oracle_batch.store.files import read_bytes, replace_atomically, state_error

_OLDEST: Final = 1
_FIX: Final = "restore the file, or remove it to start a new paper account"


class _Head(msgspec.Struct):
    schema: int


def load_book(path: Path, account: str, settings: PaperSettings, now: float) -> Book:
    """The account in the file, or a new one when there is no file.

    Balance and currency of the settings make a new account; the leverage is the one set now.

    Raises:
        StateError: unreadable, writable by everybody, damaged, of a newer schema, of another account or currency.
            The file stays as it is.
    """
    data = read_bytes(path)
    if data is None:
        return new_book(account, settings.currency, settings.balance, settings.leverage, clock=now)
    book = _decode(data, path)
    if book.account != account:
        raise StateError(f"is the account {book.account!r}, not {account!r}", file=path, field="account", fix=_FIX)
    if book.currency != settings.currency:
        raise StateError(
            f"is in {book.currency}, the configuration says {settings.currency}",
            file=path,
            field="currency",
            fix=f'set [broker.paper] currency = "{book.currency}", or name another account',
        )
    expected = book.initial_balance + book.forgotten.profit + book.forgotten.swap - book.forgotten.commission
    expected += book.forgotten.flows + sum(flow.amount for flow in book.flows)
    expected += sum(deal.profit + deal.swap - deal.commission for deal in book.deals)
    if book.balance != expected:
        raise StateError(
            f"is {book.balance}, but its deals and cash flows make {expected}", file=path, field="balance", fix=_FIX
        )
    return msgspec.structs.replace(book, leverage=settings.leverage)


def save_book(path: Path, book: Book) -> None:
    """Replace the file atomically, with fsync.

    Raises:
        StateError: the system refused; the old file is whole.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise state_error(error, path.parent, "make the folder") from error
    replace_atomically(path, msgspec.json.encode(book) + b"\n")


def _decode(data: bytes, path: Path) -> Book:
    try:
        found = msgspec.json.decode(data, type=_Head).schema
        if _OLDEST <= found <= SCHEMA:
            return msgspec.structs.replace(msgspec.json.decode(data, type=Book), schema=SCHEMA)
    except msgspec.ValidationError as error:
        what, field = split_path(error)
        raise StateError(what, file=path, field=field or None, fix=_FIX) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        what = "is empty" if not data.strip() else f"is not whole JSON: {error}"
        raise StateError(what, file=path, fix=_FIX) from error
    newer = f"written by a newer version (schema {found}, this version knows {SCHEMA})"
    what, fix = (newer, "update oracle-batch") if found > SCHEMA else (f"schema {found} is not known", _FIX)
    raise StateError(what, file=path, field="schema", fix=fix)
