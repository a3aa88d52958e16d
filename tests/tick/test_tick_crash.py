"""Killed anywhere, a tick run again comes to the same deals, twins and books; no leg is filled twice (§5)."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oracle_batch import committing
from oracle_batch.broker import paper
from oracle_batch.desk import books
from oracle_batch.store.journal import Journal
from tests.tick.lab import Lab, came_to
from tests.tick.test_sync_scenarios import EURUSD

GBPUSD, USDCHF, AUDUSD = "GBPUSD_M15", "USDCHF_M15", "AUDUSD_M15"
MODELS = (EURUSD, GBPUSD, USDCHF, AUDUSD)
ROOT = Path(__file__).parents[2]


class KilledError(BaseException):
    """Stands for a process that is gone: nothing catches it, nothing after it runs."""


class Killer:
    """Counts the moments at which a tick writes something, and kills the run at one of them.

    Moment 2k is right before the k-th write, 2k + 1 right after it.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moment: int | None = None
        self.passed: list[str] = []
        places: list[tuple[Any, str]] = [
            (Journal, "append"),
            (paper, "save_book"),
            (committing, "replace_all"),
            (books, "replace_all"),
        ]
        for owner, name in places:
            monkeypatch.setattr(owner, name, self._wrap(name, getattr(owner, name)))

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if (name == "append" and not arguments[1]) or (name == "replace_all" and not arguments[0]):
                return real(*arguments)
            self._pass(f"before {name}")
            result = real(*arguments)
            self._pass(f"after {name}")
            return result

        return call

    def _pass(self, what: str) -> None:
        self.passed.append(what)
        if self.moment is not None and len(self.passed) == self.moment + 1:
            raise KilledError(what)

    def run(self, lab: Lab, bar: int, moment: int | None, late: float = 1.0) -> str | None:
        """One tick, killed at a moment; gives the moment's name, or None when the run came through."""
        self.moment, self.passed = moment, []
        try:
            lab.tick(bar, late=late)
        except KilledError as killed:
            return str(killed)
        finally:
            self.moment = None
        return None


def scene(folder: Path) -> Lab:
    """Bar 2: EURUSD reverses, GBPUSD opens, USDCHF closes, AUDUSD closes without an edge because bar 1 is revised."""
    lab = Lab(folder)
    lab.add("EURUSD", "M15", "W L1 S2 S2 W", sl_usd=10.0, tp_usd=30.0)
    lab.add("GBPUSD", "M15", "W W L3 L3 L3", sl_usd=10.0, trailing_usd=8.0)
    lab.add("USDCHF", "M15", "W S1 W L1 L1")
    lab.add("AUDUSD", "M15", "W L1 S1 S1 S1")
    lab.tick(0)
    lab.tick(1)
    lab.say(AUDUSD, 1, "S1")
    return lab


def result(lab: Lab) -> dict[str, Any]:
    """All that a crash must not change. How an answer came to be known is no part of it."""
    deals = [
        {
            key: deal[key]
            for key in ("client_order_id", "label", "direction", "volume_cents", "price", "closing", "profit")
        }
        for deal in lab.account()["deals"]
    ]
    books = json.loads(lab.workspace.executor_path("paper").read_bytes())["models"]
    for one in books.values():
        if one["last"]["reason"] == "RECOVERED":
            one["last"]["reason"] = None
    return {
        "deals": sorted(deals, key=lambda deal: str(deal["client_order_id"])),
        "twins": {name: lab.workspace.twin_path(name).read_bytes() for name in MODELS},
        "windows": {name: lab.workspace.bars_path(name).read_bytes() for name in MODELS},
        "positions": sorted(lab.positions()),
        "protection": sorted(
            (one["label"], one["stop_loss"], one["take_profit"]) for one in lab.account()["positions"]
        ),
        "books": {
            name: {**one, "position": plain(one["position"]), "watch": plain(one["watch"])}
            for name, one in books.items()
        },
    }


def plain(position: dict[str, Any] | None) -> dict[str, Any] | None:
    """A position in the books without its number, which depends on the order of the fills."""
    return position and {key: value for key, value in position.items() if key != "position_id"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, list[dict[str, Any]], list[str]]:
    """The scene, what bars 2 to 4 come to when nothing happens, and the moments of bar 2."""
    lab = scene(tmp_path_factory.mktemp("stage") / "home")
    calm = lab.copy(tmp_path_factory.mktemp("calm") / "home")
    with pytest.MonkeyPatch.context() as patch:
        killer = Killer(patch)
        killer.run(calm, 2, None)
        moments = list(killer.passed)
    expected = [result(calm)]
    for bar in (3, 4):
        calm.tick(bar)
        expected.append(result(calm))
    return lab, expected, moments


def test_the_scene_has_every_kind_of_leg_and_every_kind_of_write(
    stage: tuple[Lab, list[dict[str, Any]], list[str]],
) -> None:
    _, expected, moments = stage
    last = {name: books["last"]["decision"] for name, books in expected[0]["books"].items()}
    assert last == {EURUSD: "CLOSE_OPEN", GBPUSD: "OPEN", USDCHF: "CLOSE", AUDUSD: "CLOSE"}
    assert expected[0]["books"][AUDUSD]["decisions_revised"] == 1
    assert expected[0]["books"][AUDUSD]["waiting"] == {"cause": "missed", "direction": -1}
    burst, stop = ["append", "save_book"], ["append", "save_book"]  # GBPUSD's first stop is 10 USD away, its trailing 8
    writes = [*burst, *stop, "append", "replace_all", "replace_all", "replace_all"]
    assert moments == [f"{when} {name}" for name in writes for when in ("before", "after")]


@pytest.mark.parametrize("moment", range(16))
def test_a_run_that_was_killed_is_finished_by_the_next(
    stage: tuple[Lab, list[dict[str, Any]], list[str]], moment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, expected, moments = stage
    mine = lab.copy(tmp_path / "home")
    killer = Killer(monkeypatch)
    assert killer.run(mine, 2, moment) == moments[moment]
    assert mine.tick(2).exit_code == 0
    assert result(mine) == expected[0]
    assert mine.tick(2, late=2).accounts["paper"].models == {}
    for bar, then in zip((3, 4), expected[1:], strict=True):
        mine.tick(bar)
        assert result(mine) == then


@pytest.mark.parametrize("moment", range(16))
def test_a_run_that_was_killed_and_is_followed_by_the_next_bar_fills_no_leg_twice(
    stage: tuple[Lab, list[dict[str, Any]], list[str]], moment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rerun comes a bar too late: what was filled is adopted, what was not is missed; the twins do not care."""
    lab, expected, _ = stage
    mine = lab.copy(tmp_path / "home")
    Killer(monkeypatch).run(mine, 2, moment)
    filled = set(mine.deals())
    mine.tick(3)
    mine.tick(4)
    deals = mine.deals()
    assert len(deals) == len(set(deals))
    assert filled <= set(deals)
    assert result(mine)["twins"] == expected[2]["twins"]
    labels = [label for label, _, _ in mine.positions()]
    assert len(labels) == len(set(labels))
    assert ("oracle:GBPUSD_M15" in labels) == any(
        (f"ob-{GBPUSD}-{mine.time(GBPUSD, 2)}-1", False) == deal for deal in filled
    ), "an entry whose bar has passed is not sent any more"
    assert "oracle:EURUSD_M15" not in labels


@pytest.mark.parametrize("moment", [1, 3, 5, 7, 9, 11, 13])
def test_a_recovery_that_is_killed_is_recovered_as_well(
    stage: tuple[Lab, list[dict[str, Any]], list[str]], moment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, expected, _ = stage
    killer = Killer(monkeypatch)
    for again in itertools.count():
        mine = lab.copy(tmp_path / str(again))
        killer.run(mine, 2, moment)
        if killer.run(mine, 2, again) is None:
            break
        killer.run(mine, 2, again)
        mine.tick(2)
        assert result(mine) == expected[0], f"killed at {moment}, then twice at {again}"
    assert again >= 2


def test_an_emergency_close_that_was_interrupted_does_not_cost_the_next_bar(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.add("EURUSD", "M15", "W L1 L1 L1 L1 L1 S1 S1")
    lab.play(EURUSD, 2)
    path = lab.workspace.twin_path(EURUSD)
    twin = path.read_bytes()
    path.write_bytes(b"{")
    killer = Killer(monkeypatch)
    assert killer.run(lab, 5, 3) == "after save_book"
    lab.tick(5, late=2)
    assert len(lab.deals()) == 2
    assert lab.books().models[EURUSD].waiting is not None
    path.write_bytes(twin)
    assert came_to(lab.tick(6), EURUSD) == ("OPEN", "OK", None)


CHILD = """
import os, sys
from pathlib import Path
from oracle_batch import committing
from oracle_batch.broker.paper import PaperBroker
from oracle_batch.store.journal import Journal

def dying(owner, name, number):
    real, calls = getattr(owner, name), []
    def call(*arguments, **options):
        result = real(*arguments, **options)
        calls.append(name)
        if len(calls) == number:
            os._exit(9)
        return result
    async def acall(*arguments, **options):
        await real(*arguments, **options)
        os._exit(9)
    setattr(owner, name, acall if name == "execute" else call)

where, number = sys.argv[1], int(sys.argv[2])
owners = {"append": Journal, "execute": PaperBroker, "replace_all": committing}
dying(owners[where], where, number)
sys.argv = ["oracle-batch", *sys.argv[3:]]
from oracle_batch.cli import main
main()
"""


@pytest.mark.parametrize(
    ("where", "number"),
    [
        ("append", 1),
        ("execute", 1),
        ("append", 2),
        ("append", 3),
        ("replace_all", 1),
        ("replace_all", 2),
        ("replace_all", 3),
    ],
)
def test_a_process_that_is_gone_leaves_no_lock_and_is_finished_by_the_command_line(
    stage: tuple[Lab, list[dict[str, Any]], list[str]], where: str, number: int, tmp_path: Path
) -> None:
    lab, expected, _ = stage
    mine = lab.copy(tmp_path / "home")
    command = ["--home", str(mine.workspace.home), "tick", "--now", str(mine.close_of(2) + 1), "--json"]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        whole = [sys.executable, *arguments, *command]
        return subprocess.run(whole, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert start("-c", CHILD, where, str(number)).returncode == 9
    again = start("-m", "oracle_batch")
    assert again.returncode == 0, again.stderr
    assert result(mine) == expected[0]
    models = json.loads(again.stdout)["models"]
    if (where, number) != ("replace_all", 3):
        assert {name: one["ack"] for name, one in models.items()} == dict.fromkeys(MODELS, "OK")
