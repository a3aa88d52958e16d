"""Changing one value of ``config/executor_symbols.json`` and leaving every other byte as the operator wrote it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

_BLANK: Final = re.compile(r"[ \t\r\n]*")
_decoder: Final = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class _Member:
    """Where a member of an object stands in the text: its name, and its value from ``start`` to ``end``."""

    name: str
    start: int
    end: int


def switched(data: bytes, key: str, enabled: bool, *, like: str | None = None) -> bytes | None:
    """The file's bytes with ``enabled`` of an entry set; None when it stands so already.

    ``data`` is a file that ``load_executor_symbols`` takes. An entry that is not there is added at the end, as a copy
    of the entry ``like``.

    Raises:
        KeyError: neither entry is there.
    """
    text = data.decode("utf-8")
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    body = text.removeprefix(mark)
    if like is not None and _find(body, _start(body), key) is None:
        body = _with_copy(body, key, like)
    after = _set_enabled(body, key, enabled)
    return None if mark + after == text else (mark + after).encode()


def _set_enabled(text: str, key: str, enabled: bool) -> str:
    entry = _find(text, _start(text), key)
    if entry is None:
        raise KeyError(key)
    word = "true" if enabled else "false"
    value = _find(text, entry.start, "enabled")
    if value is not None:
        return text[: value.start] + word + text[value.end :]
    members = _members(text, entry.start)
    blank = _skip(text, entry.start + 1)
    rest = f",{text[entry.start + 1 : blank] or ' '}" if members else ""
    return f'{text[:blank]}"enabled": {word}{rest}{text[blank:]}'


def _with_copy(text: str, key: str, like: str) -> str:
    entry = _find(text, _start(text), like)
    if entry is None:
        raise KeyError(like)
    members = _members(text, _start(text))
    first, last = _skip(text, _start(text) + 1), members[-1].end
    gap = text[_start(text) + 1 : first] or " "
    copy = f"{json.dumps(key, ensure_ascii=False)}: {text[entry.start : entry.end]}"
    return f"{text[:last]},{gap}{copy}{text[last:]}"


def _start(text: str) -> int:
    return _skip(text, 0)


def _find(text: str, start: int, name: str) -> _Member | None:
    """The member of the object at ``start`` that counts: the last of its name."""
    return next((member for member in reversed(_members(text, start)) if member.name == name), None)


def _members(text: str, start: int) -> list[_Member]:
    """The members of the object whose brace stands at ``start``."""
    members = []
    place = _skip(text, start + 1)
    while text[place] != "}":
        name, place = _decoder.raw_decode(text, place)
        value = _skip(text, _skip(text, place) + 1)
        _, end = _decoder.raw_decode(text, value)
        members.append(_Member(name, value, end))
        place = _skip(text, end)
        if text[place] == ",":
            place = _skip(text, place + 1)
    return members


def _skip(text: str, place: int) -> int:
    """The first place from here on that is no white space."""
    found = _BLANK.match(text, place)
    return found.end() if found else place
