"""The operator's commands on a lab, at its own clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from oracle_batch.brokers import make_broker
from oracle_batch.operating import visits
from oracle_batch.operating.closing import Closings, close
from oracle_batch.operating.job import Job
from tests.tick.lab import Lab


def job(lab: Lab, now: float | None = None) -> Job:
    if now is not None:
        lab.clock.instant = now
    return Job(lab.workspace, lab.settings, lab.clock)


def closed(lab: Lab, target: str | None, now: float | None = None) -> list[tuple[str, int, str, str | None]]:
    """Close, and list what became of each position."""
    return words(close(job(lab, now), target))


def words(found: Closings) -> list[tuple[str, int, str, str | None]]:
    assert found.errors == {}
    return [(one.model, one.position_id, one.status, one.reason) for one in found.closed]


def spoil(monkeypatch: pytest.MonkeyPatch, wrapper: Callable[[Any], Any], account: str | None = None) -> None:
    """Let the operator's commands use ``wrapper(broker)`` from now on."""

    def make(settings: Any, *rest: Any, **options: Any) -> Any:
        broker: Any = make_broker(settings, *rest, **options)
        return wrapper(broker) if account in (None, settings.account) else broker

    monkeypatch.setattr(visits, "make_broker", make)


def mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits, "make_broker", make_broker)
