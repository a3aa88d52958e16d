"""What an audit says: findings with their numbers, and a verdict in plain words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

Severity = Literal["ok", "note", "warning", "critical"]
SEVERITIES: Final[tuple[Severity, ...]] = ("ok", "note", "warning", "critical")
EXIT_CODES: Final[dict[Severity, int]] = {"ok": 0, "note": 0, "warning": 2, "critical": 3}
"""By the worst finding. 1 and the codes from 64 on mean elsewhere that something failed."""


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at. ``code`` is stable, ``text`` says it to a person, ``numbers`` are what was seen."""

    code: str
    severity: Severity
    text: str
    numbers: dict[str, Any]


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was found about one bundle."""

    model: str
    sha256: str
    bars: int
    first_bar: int
    last_bar: int
    severity: Severity
    verdict: str
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.severity]


def worst(findings: Iterable[Finding]) -> Severity:
    """The severity that counts.

    >>> worst([Finding("a", "note", "", {}), Finding("b", "warning", "", {})])
    'warning'
    """
    return max((one.severity for one in findings), key=SEVERITIES.index, default="ok")


def verdict(findings: Iterable[Finding]) -> str:
    """One sentence for somebody who reads nothing else."""
    found = list(findings)
    by = {name: [one.code for one in found if one.severity == name] for name in SEVERITIES}
    if by["critical"]:
        return f"Do not trade this bundle as it is: {', '.join(by['critical'])}."
    if by["warning"]:
        return f"Can run, but look at this first: {', '.join(by['warning'])}."
    return "Nothing found that would bite in production. That is no evidence of an edge."
