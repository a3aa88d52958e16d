"""Typed, versioned JSON documents: one way in, one way out, and a field name in every refusal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from oracle_batch.errors import StateError

T = TypeVar("T")
Migration = Callable[[dict[str, Any]], dict[str, Any]]
"""Turns a whole document of schema n into one of schema n + 1 (the ``schema`` field is set for it)."""


class _Head(msgspec.Struct):
    schema: int


def decode(
    data: bytes,
    kind: type[T],
    *,
    schema: int,
    migrations: Mapping[int, Migration],
    file: Path,
    fix: str,
) -> T:
    """The document in ``data``, brought to ``schema`` by ``migrations`` (keyed by the schema they start from).

    Raises:
        StateError: no JSON, a schema that is newer or cannot be migrated, an unknown, missing or mistyped field.
            ``fix`` says what the operator can do about a damaged file.
    """
    found = _parse(data, _Head, file, fix).schema
    if found == schema:
        return parse(data, kind, file=file, fix=fix)
    if found > schema:
        raise StateError(
            f"written by a newer version (schema {found}, this version knows {schema})",
            file=file,
            field="schema",
            fix="update oracle-batch",
        )
    document = _parse(data, dict[str, Any], file, fix)
    for version in range(found, schema):
        if version not in migrations:
            raise StateError(f"schema {found} is not known", file=file, field="schema", fix=fix)
        try:
            document = migrations[version](document) | {"schema": version + 1}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StateError(f"cannot be migrated from schema {found}: {error!r}", file=file, fix=fix) from error
    return parse(msgspec.json.encode(document), kind, file=file, fix=fix)


def parse(data: bytes, kind: type[T], *, file: Path, fix: str, within: str = "") -> T:
    """Typed values from JSON; ``within`` is the field they stand in.

    Raises:
        StateError: no JSON, or an unknown, missing or mistyped field.
    """
    value = _parse(data, kind, file, fix, within)
    _require_whole(_parse(data, object, file, fix, within), value, within, file, fix)
    return value


def _require_whole(given: Any, value: object, field: str, file: Path, fix: str) -> None:
    """Documents are written whole, so a field that is missing is damage, whatever default the type has."""
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            inner = f"{field}.{name}".lstrip(".")
            if name not in given:
                raise StateError("is missing", file=file, field=inner, fix=fix)
            _require_whole(given[name], getattr(value, name), inner, file, fix)
    elif isinstance(value, dict):
        for key, item in value.items():
            _require_whole(given[key], item, f"{field}.{key}", file, fix)
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            _require_whole(given[index], item, f"{field}[{index}]", file, fix)


def _parse(data: bytes, kind: type[T], file: Path, fix: str, within: str = "") -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise _refusal(error, file, fix, within) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what = "is empty" if not data.strip() else f"is not whole JSON: {error}"
        raise StateError(what, file=file, field=within or None, fix=fix) from error
    except RecursionError as error:
        raise StateError("is not JSON: nested too deep", file=file, field=within or None, fix=fix) from error


def _refusal(error: msgspec.ValidationError, file: Path, fix: str, within: str) -> StateError:
    what, field = split_path(error)
    whole = ".".join(part for part in (within, field) if part)
    return StateError(what, file=file, field=whole or None, fix=fix)


def split_path(error: msgspec.ValidationError) -> tuple[str, str]:
    """What is wrong and the dotted field, from msgspec's ``what - at `$.field.path` ``.

    >>> split_path(msgspec.ValidationError("Expected `int`, got `str` - at `$.state.direction`"))
    ('expected `int`, got `str`', 'state.direction')
    """
    what, _, path = str(error).partition(" - at `")
    field = path.rstrip("`").removeprefix("key in ").lstrip("$").lstrip(".")
    return what[:1].lower() + what[1:], field


def encode(document: object) -> bytes:
    """Readable JSON (two-space indent, final newline); floats keep every bit.

    The caller has checked that no float is NaN or infinite: JSON has no word for them.
    """
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
