"""Two machines on one folder are refused; one machine is never in its own way."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from oracle_batch import bounded
from oracle_batch.clock import SystemClock
from oracle_batch.errors import LockHeld, StateError
from oracle_batch.store import lease, lock


def signed(path: Path, *, boot: str = "another machine", age_s: float = 1.0) -> lease.Lease:
    one = lease.Lease("vm-2", boot, 4711, SystemClock().now() - age_s)
    path.write_bytes(msgspec.json.encode(one))
    return one


def test_a_run_leaves_a_lease_for_its_life_only(tmp_path: Path) -> None:
    with lock.hold(tmp_path / "lock"):
        found = msgspec.json.decode((tmp_path / "lease").read_bytes(), type=lease.Lease)
        assert abs(found.time - SystemClock().now()) < 60
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock"]


def test_another_machine_at_work_is_refused_by_name_and_keeps_its_lease(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    other = signed(path)
    with pytest.raises(LockHeld) as caught, lock.hold(tmp_path / "lock"):
        pass
    assert caught.value.exit_code == 75
    assert "a run on vm-2 (process 4711, since 20" in str(caught.value)
    assert "run one machine only on a folder" in str(caught.value)
    assert msgspec.json.decode(path.read_bytes(), type=lease.Lease) == other
    path.unlink()
    with lock.hold(tmp_path / "lock"):  # the lock itself was given back
        pass


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SETTLE_S", 0.01)


def test_a_lease_outlasts_every_run() -> None:
    assert lease.LAPSES_S > lease.LONGEST_RUN_S + bounded.WATCHDOG_S


@pytest.mark.parametrize("age_s", [lease.LAPSES_S + 1, -lease.LAPSES_S - 1])
def test_a_lease_that_no_bounded_run_can_still_have_is_void(tmp_path: Path, age_s: float) -> None:
    signed(tmp_path / "lease", age_s=age_s)
    with lock.hold(tmp_path / "lock"):
        pass


def test_what_a_killed_run_of_this_machine_left_is_void_at_once(tmp_path: Path) -> None:
    with lock.hold(tmp_path / "lock"):
        left = (tmp_path / "lease").read_bytes()
    (tmp_path / "lease").write_bytes(left)
    with lock.hold(tmp_path / "lock"):
        pass


def test_what_this_machine_left_before_it_was_started_anew_is_void_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = tmp_path / "machine-id"
    machine.write_text("8f0c\n")
    monkeypatch.setattr(lease, "_MACHINE_ID", machine)
    lease.take(tmp_path / "lease")
    monkeypatch.setattr(lease, "_boot", lambda: "its next start")
    lease.take(tmp_path / "lease")
    machine.write_text("another installation")
    monkeypatch.setattr(lease, "_boot", lambda: "another machine of the same name")
    with pytest.raises(LockHeld):
        lease.take(tmp_path / "lease")


def test_a_machine_that_has_no_word_for_itself_waits_after_it_was_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_MACHINE_ID", tmp_path / "absent")
    lease.take(tmp_path / "lease")
    monkeypatch.setattr(lease, "_boot", lambda: "its next start")
    with pytest.raises(LockHeld):
        lease.take(tmp_path / "lease")


@pytest.mark.parametrize("torn", [b"", b'{"host":"vm-2"', b"\xff"])
def test_a_torn_lease_is_void(tmp_path: Path, torn: bytes) -> None:
    (tmp_path / "lease").write_bytes(torn)
    with lock.hold(tmp_path / "lock"):
        pass


def test_of_two_machines_that_start_at_once_one_comes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock holds for neither, as on a folder whose system does not pass locks on."""
    lease.take(tmp_path / "lease")
    monkeypatch.setattr(lease, "_boot", lambda: "another machine")
    monkeypatch.setattr(lease, "_machine", lambda: "another")
    with pytest.raises(LockHeld):
        lease.take(tmp_path / "lease")


def test_of_two_machines_that_find_the_same_lapsed_lease_one_comes_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one saw the lapsed lease, too, and removes what it believes to be that one: it is ours."""
    path = tmp_path / "lease"
    signed(path, age_s=lease.LAPSES_S + 1)
    monkeypatch.setattr(time, "sleep", lambda _: signed(path))
    with pytest.raises(LockHeld, match="just now"), lock.hold(tmp_path / "lock"):
        pass
    assert msgspec.json.decode(path.read_bytes(), type=lease.Lease).host == "vm-2", "its lease is left alone"


def test_a_run_that_has_lost_its_lease_leaves_that_of_the_other_machine(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with lock.hold(tmp_path / "lock"):
        other = signed(path)
    assert msgspec.json.decode(path.read_bytes(), type=lease.Lease) == other


def test_whatever_holds_the_lock_is_ended_before_its_lease_lapses(tmp_path: Path) -> None:
    """An operator's command, too: nothing else bounds one that hangs."""
    hangs = (
        "import time, pathlib; from oracle_batch import bounded; from oracle_batch.store import lock\n"
        "bounded.WATCHDOG_S, lock.LONGEST_RUN_S = 0.1, 0.1\n"
        f"with lock.hold(pathlib.Path({str(tmp_path / 'lock')!r})): time.sleep(60)"
    )
    child = subprocess.run([sys.executable, "-c", hangs], capture_output=True, text=True, check=False, timeout=60)
    assert child.returncode == 1
    assert "Timeout" in child.stderr


def test_a_system_that_refuses_the_lease_is_told(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot take the lease"):
        lease.take(tmp_path / "absent" / "lease")
