"""Work fanned out over workers: the same answers as here, one failure stops nobody, a dead worker loses nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from oracle_batch.errors import BarError, OracleBatchError, UsageError
from oracle_batch.training.fleet import Fleet, fleet

pytest.importorskip("distributed")


class Counter:
    def __init__(self) -> None:
        self.steps = 0
        self.shown: list[tuple[str, int]] = []

    @contextmanager
    def __call__(self, title: str, total: int) -> Iterator[Counter]:
        self.shown.append((title, total))
        yield self

    def advance(self) -> None:
        self.steps += 1


def work(task: tuple[int, str]) -> float:
    """Arithmetic, or a failure, or the death of the worker that tries it first."""
    seed, kind = task
    if kind == "bad bars":
        raise BarError("is not finite", file="a.csv", field="close", fix="repair it")
    if kind == "defect":
        raise ZeroDivisionError("oops")
    if kind.startswith("killer:"):
        mark = Path(kind.removeprefix("killer:"))
        if not mark.exists():
            mark.write_text(str(os.getpid()))
            time.sleep(0.5)  # others are under way on this worker's sister
            os.kill(os.getpid(), signal.SIGKILL)
    rng = np.random.default_rng(seed)
    return float(np.linalg.eigvalsh(np.cov(rng.normal(size=(20, 200)))).sum())


TASKS = {f"M{number}": (number, "") for number in range(6)}


@pytest.fixture(scope="module")
def two() -> Iterator[Fleet]:
    with fleet(None, 2) as crew:
        yield crew


def test_a_cluster_gives_the_same_answers_in_the_tasks_order(two: Fleet) -> None:
    alone, shown = Fleet().fan_out(work, TASKS, Counter(), "work"), Counter()
    together = two.fan_out(work, TASKS, shown, "work")
    assert together == alone
    assert list(together) == list(TASKS)
    assert shown.shown == [("work", 6)]
    assert shown.steps == 6
    assert two.is_cluster


def test_the_same_names_may_come_again_with_other_tasks(two: Fleet) -> None:
    for shift in range(6):
        tasks = {name: (seed + shift, "") for name, (seed, _) in TASKS.items()}
        assert two.fan_out(work, tasks, Counter(), "work") == Fleet().fan_out(work, tasks, Counter(), "work")


@pytest.mark.parametrize("where", ["here", "cluster"])
def test_one_failure_stops_nobody_and_keeps_its_words(where: str, two: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    crew = two if where == "cluster" else Fleet()
    tasks = {"A": (1, ""), "B": (2, "bad bars"), "C": (3, "defect"), "D": (4, "")}
    heard: list[str] = []
    answers = crew.fan_out(work, tasks, Counter(), "work", lambda name, _: heard.append(name))
    assert sorted(heard) == ["A", "D"]
    assert isinstance(answers["A"], float)
    assert isinstance(answers["D"], float)
    assert isinstance(answers["B"], BarError)
    assert str(answers["B"]) == "a.csv: close: is not finite (repair it)"
    assert isinstance(answers["C"], OracleBatchError)
    assert "unexpected ZeroDivisionError: oops" in str(answers["C"])


def test_work_survives_the_death_of_a_worker(two: Fleet, tmp_path: Path) -> None:
    mark = tmp_path / "killed"
    tasks = {"first": (0, f"killer:{mark}")} | TASKS
    answers = two.fan_out(work, tasks, Counter(), "work")
    assert mark.read_text().isdigit(), "a worker was killed"
    assert answers == Fleet().fan_out(work, tasks, Counter(), "work")


def test_a_running_scheduler_is_used_by_its_address() -> None:
    from distributed import LocalCluster

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as other,
        fleet(other.scheduler_address) as crew,
    ):
        assert crew.fan_out(work, TASKS, Counter(), "work") == Fleet().fan_out(work, TASKS, Counter(), "work")


def test_local_servers_listen_on_the_loopback_interface_only(two: Fleet) -> None:
    import psutil

    me = psutil.Process()
    listening = [
        connection.laddr.ip
        for process in (me, *me.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert set(listening) == {"127.0.0.1"}


def test_one_worker_needs_no_cluster() -> None:
    with fleet(None, 1) as crew:
        assert not crew.is_cluster


def test_an_address_that_is_none_is_told() -> None:
    with pytest.raises(UsageError, match="is no address") as refused, fleet("localhost"):
        pass
    assert refused.value.field == "--cluster"


def test_a_scheduler_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oracle_batch.training.fleet.CONNECT_TIMEOUT_S", 1)
    with pytest.raises(UsageError, match="no scheduler answers at tcp"), fleet("tcp://127.0.0.1:9"):
        pass
