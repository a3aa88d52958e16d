"""The reasons why a bundle is refused, collected: loading needs the first, checking shows them all."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

from oracle_batch.errors import BundleError

EXPORT_AGAIN: Final = "export the bundle again from training"


class Problems:
    """A list of refusals for one file, in the order found."""

    def __init__(self, file: object) -> None:
        self.file = str(file)
        self.found: list[BundleError] = []

    def __bool__(self) -> bool:
        return bool(self.found)

    def add(self, field: str | None, message: str, fix: str | None = None) -> None:
        """Note one reason. ``field`` is a dotted metadata key or a member of the archive."""
        self.found.append(BundleError(message, file=self.file, field=field, fix=fix or EXPORT_AGAIN))

    def collecting(self, member: str | None = None) -> Collecting:
        """Note a BundleError raised inside and go on after the block; ``member`` is put before its field."""
        return Collecting(self, member)

    def raise_first(self) -> None:
        """Raise the first reason, saying how many follow.

        Raises:
            BundleError: when anything was noted.
        """
        if not self.found:
            return
        first, more = self.found[0], len(self.found) - 1
        if not more:
            raise first
        fix = f"{first.fix}; {more} more: oracle-batch models check {self.file}"
        raise BundleError(first.message, file=first.file, field=first.field, fix=fix)


class Collecting:
    """The context of :meth:`Problems.collecting`."""

    def __init__(self, problems: Problems, member: str | None) -> None:
        self._problems = problems
        self._member = member

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, BundleError):
            return False
        field = ": ".join(part for part in (self._member, error.field) if part) or None
        self._problems.add(field, error.message, error.fix)
        return True


def shorten(value: object, limit: int = 60) -> str:
    """A value for an error message: printable ASCII, cut to ``limit`` characters.

    >>> shorten("a\\x1bb"), shorten("x" * 100, 8)
    ("'a\\\\x1bb'", "'xxxx...")
    """
    if isinstance(value, (dict, list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    text = ascii(value[: limit + 1] if isinstance(value, (str, bytes)) else value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def strict_json(data: bytes, *, constants: bool = False) -> dict[str, Any]:
    """A JSON object in UTF-8 without duplicate keys and, unless ``constants``, without NaN and Infinity.

    Raises:
        BundleError: anything else.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, item in pairs:
            if key in result:
                raise BundleError(f"has the key {shorten(key)} twice")
            result[key] = item
        return result

    def refuse(name: str) -> None:
        raise BundleError(f"holds {name}, which is no number")

    keep: Callable[[str], Any] = float
    try:
        value = json.loads(data.decode(), object_pairs_hook=unique, parse_constant=keep if constants else refuse)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else shorten(str(error), 100)
        raise BundleError(f"is not valid JSON: {reason}") from None
    if not isinstance(value, dict):
        raise BundleError("is not a JSON object")
    return value
