"""Two machines on one folder are refused; one machine is never in its own way."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

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


@pytest.mark.parametrize("age_s", [lease.LONGEST_RUN_S + 1, -lease.LONGEST_RUN_S - 1])
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


@pytest.mark.parametrize("torn", [b"", b'{"host":"vm-2"', b"\xff"])
def test_a_torn_lease_is_void(tmp_path: Path, torn: bytes) -> None:
    (tmp_path / "lease").write_bytes(torn)
    with lock.hold(tmp_path / "lock"):
        pass


def test_of_two_machines_that_start_at_once_one_comes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock holds for neither, as on a folder whose system does not pass locks on."""
    lease.take(tmp_path / "lease")
    monkeypatch.setattr(lease, "_boot", lambda: "another machine")
    with pytest.raises(LockHeld):
        lease.take(tmp_path / "lease")


def test_a_system_that_refuses_the_lease_is_told(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot take the lease"):
        lease.take(tmp_path / "absent" / "lease")
