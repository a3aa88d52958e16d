"""A batch of journal lines that a crash has cut short: whole lines stay, and are no batch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from oracle_batch import verifying
from tests.stateful import truth
from tests.stateful.killing import DeadError
from tests.tick.lab import Lab
from tests.tick.test_tick_crash import result, scene

pytestmark = pytest.mark.no_cover


@pytest.fixture(scope="module", autouse=True)
def quick_disk() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


class Shears:
    """Cuts the n-th append to the journal off after so many of its lines, and a bit of the next one."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.batches: list[int] = []
        self.append, self.lines, self.dead = 0, 0, False
        real = os.write

        def write(descriptor: int, data: Any) -> int:
            if self.dead:
                raise DeadError
            whole = bytes(data)
            if not whole.startswith(b'{"v":1,"t":'):
                return real(descriptor, data)
            self.batches.append(whole.count(b"\n"))
            if len(self.batches) != self.append:
                return real(descriptor, data)
            self.dead = True
            kept = whole.splitlines(keepends=True)
            real(descriptor, b"".join(kept[: self.lines]) + kept[self.lines][:40])
            raise DeadError

        patch.setattr(os, "write", write)

    def tick(self, lab: Lab, append: int, lines: int) -> bool:
        """Tick bar 2, cut off; whether it came so far."""
        self.batches, self.append, self.lines, self.dead = [], append, lines, False
        try:
            lab.tick(2)
        except DeadError:
            return True
        finally:
            self.append, self.dead = 0, False
        return False


def test_a_tick_whose_appends_are_cut_off_after_any_line_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = scene(tmp_path / "home")
    calm = lab.copy(tmp_path / "calm")
    shears = Shears(monkeypatch)
    shears.tick(calm, 0, 0)
    batches, expected = list(shears.batches), result(calm)
    assert len(batches) == 3, "intents, a stop, answers"
    cuts = [(number, line) for number, lines in enumerate(batches, 1) for line in range(lines)]
    for append, line in cuts:
        mine = lab.copy(tmp_path / f"{append}-{line}")
        assert shears.tick(mine, append, line)
        mine.tick(2)
        assert result(mine) == expected, (append, line)
        assert verifying.verify(mine.workspace, "paper").problems == []
        truth.legs_are_accounted_for(mine, "paper")
