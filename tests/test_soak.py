"""The soak test in small, and its judge: what is flat passes, and a leak does not."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the crafted bundles are written by it")

from bench import soak
from bench.soak import Sample, judge, summary

FLAT = Sample(
    resident_mb=26.0, resident_handles=7, resident_threads=2, child_mb=106.0, child_handles=11, child_threads=4,
    journal_bytes=0, state_bytes=160_000, state_files=13, latency_ms=2.0, after_ms=300.0,
)  # fmt: skip


def lived(closes: int, **growth: float) -> list[Sample]:
    """A life with the usual noise, in which some numbers grow with each close."""
    noise = random.Random(closes)
    samples, journal = [], 0.0
    for number in range(closes):
        journal += (3350 if number % 2 else 3240) + growth.get("journal_bytes", 0.0) * number
        one = replace(
            FLAT,
            resident_mb=26.0 + 0.05 * noise.random(), child_mb=106.0 + noise.random(), journal_bytes=int(journal),
            state_bytes=160_000 + noise.randrange(4000), latency_ms=2.0 + noise.expovariate(0.5),
            after_ms=300.0 + noise.expovariate(0.01),
        )  # fmt: skip
        more: dict[str, Any] = {
            name: getattr(one, name) + type(getattr(one, name))(by * number)
            for name, by in growth.items()
            if name != "journal_bytes"
        }
        samples.append(replace(one, **more))
    return samples


@pytest.mark.parametrize("closes", [8, 40, 300])
def test_a_flat_life_passes(closes: int) -> None:
    assert [one for one in judge(lived(closes)) if closes > 8 or not one.startswith(("latency", "after"))] == []


@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("resident_mb", 0.01), ("resident_handles", 0.02), ("resident_threads", 0.02), ("child_mb", 0.03),
        ("child_handles", 0.02), ("child_threads", 0.02), ("state_bytes", 200.0), ("state_files", 0.02),
        ("journal_bytes", 3.0), ("latency_ms", 0.05), ("after_ms", 4.0),
    ],
)  # fmt: skip
def test_a_slow_leak_is_found_in_300_closes(name: str, by: float) -> None:
    (told,) = judge(lived(300, **{name: by}))
    assert told.startswith(name)
    assert "at first" in told


@pytest.mark.parametrize(("name", "by"), [("resident_mb", 1.0), ("resident_handles", 1), ("state_files", 1)])
def test_a_fast_leak_is_found_in_8_closes(name: str, by: float) -> None:
    assert any(told.startswith(name) for told in judge(lived(8, **{name: by})))


def test_what_the_books_remember_of_a_day_may_grow_for_a_day() -> None:
    life = lived(300)
    life = [replace(one, state_bytes=one.state_bytes + 2000 * min(number, 96)) for number, one in enumerate(life)]
    assert judge(life) == []
    assert judge([replace(one, state_bytes=160_000 + 2000 * number) for number, one in enumerate(life)]) != []


def test_the_summary_tells_first_last_and_slope() -> None:
    found = summary(lived(100, resident_mb=0.5), models=20, seconds=1.0)
    assert (found["closes"], found["models"]) == (100, 20)
    assert found["resident_mb"]["slope"] == pytest.approx(0.5, abs=0.01)
    assert found["resident_mb"]["last"] - found["resident_mb"]["first"] == pytest.approx(0.5 * 72, abs=1)
    assert found["journal_bytes_per_close"] == [3295, 3295]
    assert [told.split()[0] for told in found["grows"]] == ["resident_mb"]


@pytest.mark.usefixtures("unwatched")
def test_a_short_life_of_the_real_resident_is_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "REST_S", 0.0)
    samples = soak.soak(tmp_path / "soak", closes=7, models=2)
    assert [one for one in judge(samples) if not one.startswith(("latency", "after"))] == [], "times are noise here"
    assert all(one.latency_ms > 0 for one in samples[soak.SETTLE :])
    assert max(one.resident_mb for one in samples) < 30


LEAKY = """
import os, sys
from oracle_batch import scheduler
from oracle_batch.cli import main
run, kept = scheduler.Resident._run, []
def leaking(self, *arguments):
    kept.append((os.open(os.devnull, os.O_RDONLY), bytearray(os.urandom(500_000))))
    run(self, *arguments)
scheduler.Resident._run = leaking
main()
"""


def test_a_leak_in_the_real_resident_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "REST_S", 0.0)
    samples = soak.soak(tmp_path / "soak", closes=6, models=1, program=("-c", LEAKY))
    grown = {told.split()[0] for told in judge(samples)}
    assert {"resident_mb", "resident_handles"} <= grown
    assert not {"child_mb", "child_handles", "resident_threads"} & grown


@pytest.mark.parametrize(("grows", "code"), [(0.0, 0), (0.5, 1)])
def test_the_command_fails_where_something_grows(
    grows: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shortly(folder: Path, closes: int, models: int, program: Sequence[str] = ()) -> list[Sample]:
        assert models == 3
        return lived(closes, resident_mb=grows)

    monkeypatch.setattr(soak, "soak", shortly)
    series = tmp_path / "series.jsonl"
    assert soak.main(["--closes", "40", "--models", "3", "--series", str(series)]) == code
    assert len(json.loads(capsys.readouterr().out)["grows"]) == code
    assert len(series.read_text().splitlines()) == 40


@pytest.mark.parametrize("arguments", [["--closes", "3"], ["--closes", "5000"], ["--models", "21"]])
def test_what_cannot_be_soaked_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        soak.main(arguments)
    assert arguments[0] in capsys.readouterr().err
