"""Turning a failed conversion into a message that says which key, what is wrong, and which key was probably meant."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from oracle_batch.errors import ConfigError
from oracle_batch.store.documents import split_path

T = TypeVar("T")
_UNKNOWN = re.compile(r"object contains unknown field `(.*)`")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_INDEX = re.compile(r"\[(\d+|\.\.\.)\]")


def typed(document: object, kind: type[T], *, file: Path, known: Mapping[str, Any], within: str = "") -> T:
    """Typed settings from plain values. ``known`` has the type of every dotted key of the file, without list indices.

    A check of the type's own (``__post_init__``) names its key in the ValueError: ``key: what is wrong; what to do``.

    Raises:
        ConfigError: naming file and dotted key; for an unknown key the nearest known one, for a word that is none of
            the choices all of them.
    """
    refuse_infinite(document, file=file, within=within)
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        what, path = split_path(error)
        path = _with_its_key(path, document, kind)
        field = ".".join(part for part in (within, path) if part)
        key, named, why = what.partition(": ")
        if named and _INDEX.sub("", f"{field}.{key}".lstrip(".")) in known:
            why, _, fix = why.partition("; ")
            raise ConfigError(why, file=file, field=f"{field}.{key}".lstrip("."), fix=fix or None) from error
        unknown = _UNKNOWN.fullmatch(what)
        if unknown is None:
            choices = choices_of(known.get(_INDEX.sub("", field)))
            choice = "one of: " + ", ".join(choices) if choices else None
            raise ConfigError(what, file=file, field=field or None, fix=choice) from error
        field = ".".join(part for part in (field, unknown[1]) if part)
        raise ConfigError("unknown key", file=file, field=field, fix=nearest(field, known)) from error


def _with_its_key(path: str, document: object, kind: type[Any]) -> str:
    """A path that leads through a table of free keys, where msgspec writes ``[...]``, with the key that is wrong."""
    before, through, _ = path.partition("[...]")
    if not through:
        return path
    steps = [int(index) if index else name for name, index in _STEP.findall(before)]
    table: Any = document
    for step in steps:
        table = table[step]
    for key, value in table.items():
        try:
            msgspec.convert(_replaced(document, steps, {key: value}), kind)
        except msgspec.ValidationError as error:
            if split_path(error)[1] == path:
                return path.replace(through, f".{key}", 1)
    return path


def _replaced(document: Any, steps: Sequence[str | int], table: object) -> Any:
    """A document with another table where the steps lead to."""
    if not steps:
        return table
    copy = document.copy()
    copy[steps[0]] = _replaced(document[steps[0]], steps[1:], table)
    return copy


def choices_of(kind: object) -> tuple[str, ...]:
    """The words that a ``Literal`` allows; none for any other type."""
    return get_args(kind) if get_origin(kind) is Literal else ()


def refuse_infinite(document: object, *, file: Path, within: str) -> None:
    """Refuse ``nan`` and ``inf`` anywhere: no setting means anything with them.

    Raises:
        ConfigError: naming the key.
    """
    if isinstance(document, dict):
        for key, value in document.items():
            refuse_infinite(value, file=file, within=f"{within}.{key}".lstrip("."))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            refuse_infinite(value, file=file, within=f"{within}[{index}]")
    elif isinstance(document, float) and not math.isfinite(document):
        raise ConfigError(f"{document} is not a finite number", file=file, field=within)


def nearest(field: str, known: Iterable[str]) -> str:
    """What to do about an unknown dotted key.

    >>> nearest("tick.entry_dedline_s", ["tick.entry_deadline_s", "tick.arm_s"])
    'did you mean tick.entry_deadline_s?'
    >>> nearest("entry_deadline_s", ["tick.entry_deadline_s", "tick.arm_s"])
    'did you mean tick.entry_deadline_s?'
    >>> nearest("tick.colour", ["tick.entry_deadline_s", "tick.arm_s"])
    'known keys: tick.entry_deadline_s, tick.arm_s'
    """
    known = list(known)
    section, _, key = _INDEX.sub("", field).rpartition(".")
    if re.search(r"secret|token|password|client_id", key):
        return "secrets come from the environment, never from a file: ORACLE_CTRADER_…"
    neighbours = [name for name in known if name.rpartition(".")[0] == section]
    own = get_close_matches(key, [name.rpartition(".")[2] for name in neighbours], n=1)
    if own:
        return f"did you mean {section + '.' if section else ''}{own[0]}?"
    elsewhere = [name for name in known if name.rpartition(".")[2] == key]
    if elsewhere:
        return f"did you mean {elsewhere[0]}?"
    return "known keys: " + ", ".join(neighbours or known)
