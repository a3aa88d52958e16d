"""The ways without a resident process wake what `run` wakes, when it does: the cron lines and the systemd units."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

from oracle_batch.bounded import FINISH_S, WATCHDOG_S
from oracle_batch.children import END_S
from oracle_batch.config import Settings
from oracle_batch.scheduler import GUARD_CLEARANCE_S
from oracle_batch.store.workspace import Workspace
from oracle_batch.types import GUARD_PATIENCE_S
from oracle_batch.waking import GUARD_SECOND, Waking

ROOT = Path(__file__).parents[1]
UNITS = ROOT / "config" / "systemd"
SERVICES = ("tick", "guard", "run")
LEAD_S = 20.0
DAY = 1784851200  # 2026-07-24 00:00Z
CRON = (ROOT / "crontab.example").read_text(encoding="utf-8").splitlines()
PACES = {"*": "M1", "4-59/5": "M5", "14-59/15": "M15", "59": "H1"}
"""The minutes of each cron line, and the timeframe that it is for."""


def unit(name: str) -> ConfigParser:
    found = ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string((UNITS / f"oracle-batch-{name}").read_text(encoding="utf-8"))
    return found


def minutes_of(field: str) -> list[int]:
    """What a minute field of cron means."""
    span, _, step = field.partition("/")
    first, _, last = span.partition("-")
    if span == "*":
        return list(range(0, 60, int(step or 1)))
    return list(range(int(first), int(last or first) + 1, int(step or 1)))


def wakes(timeframe: str, arm_s: float = LEAD_S) -> list[float]:
    """The seconds of a day at which `run` starts a tick for models of one timeframe."""
    waking, found = Waking(Workspace(Path("nowhere")), arm_s), [float(DAY - 1)]
    while found[-1] < DAY + 86400:
        found.append(waking.next_tick({timeframe}, found[-1]))
    return [instant - DAY for instant in found[1:-1]]


def instants(minutes: list[int], second: int) -> list[float]:
    return [float(3600 * hour + 60 * minute + second) for hour in range(24) for minute in minutes]


# cron


def cron_lines(what: str) -> Iterator[tuple[str, str]]:
    """Minute field and command of each line, commented out or not, that starts a tick or a guard at some minute."""
    for line in CRON:
        found = re.match(r"(?:# )?([\d*/-]+) \* \* \* \*\s+(sleep .*)$", line)
        if found is not None and re.search(rf"\$ORACLE_HOME {what}\b", found[2]):
            yield found[1], found[2]


def test_there_is_a_line_for_each_pace_and_one_of_them_is_active() -> None:
    assert [minutes for minutes, _ in cron_lines("tick")] == list(PACES)
    active = [line for line in CRON if "sleep" in line and " tick " in line and not line.startswith("#")]
    assert len(active) == 1


@pytest.mark.parametrize(("minutes", "command"), list(cron_lines("tick")))
def test_cron_starts_a_tick_when_the_resident_does(minutes: str, command: str) -> None:
    slept, lead = re.match(r"sleep (\d+); .* tick --arm (\d+) ", command).groups()  # type: ignore[union-attr]
    assert float(lead) == LEAD_S == Settings().tick.arm_s
    assert instants(minutes_of(minutes), int(slept)) == wakes(PACES[minutes])


def test_what_the_text_says_of_cold_ticks_holds() -> None:
    assert "*/15 and\n# `sleep 1; … tick`" in "\n".join(CRON)
    assert instants(minutes_of("*/15"), 1)[1:] == wakes("M15", 0.0)[1:]


def test_crons_guard_is_over_before_a_tick_is_started() -> None:
    ((minutes, command),) = cron_lines("guard")
    slept, allowed = re.match(r"sleep (\d+); timeout (\d+) ", command).groups()  # type: ignore[union-attr]
    assert (minutes, int(slept)) == ("*", GUARD_SECOND)
    assert int(slept) + int(allowed) + GUARD_CLEARANCE_S <= 60 - LEAD_S
    assert int(slept) + int(allowed) + FINISH_S < 60 - LEAD_S + GUARD_PATIENCE_S, "else the tick waits for it"


@pytest.mark.parametrize(("code", "mailed"), [(0, False), (75, False), (1, True), (78, True)])
@pytest.mark.parametrize("command", [command for what in ("tick", "guard") for _, command in cron_lines(what)])
def test_cron_mails_a_line_for_a_run_that_failed_and_for_no_other(
    command: str, code: int, mailed: bool, tmp_path: Path
) -> None:
    assert "%" not in command, "cron turns it into a line feed"
    program = tmp_path / "oracle-batch"
    program.write_text(f'#!/bin/sh\necho "$@"\nexit {code}\n', encoding="utf-8")
    program.chmod(0o755)
    child = subprocess.run(
        ["/bin/sh", "-c", re.sub(r"sleep \d+", "sleep 0", command)],
        env={"PATH": "/usr/bin:/bin", "ORACLE": str(program), "ORACLE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert bool(child.stdout) is mailed
    assert child.stderr == ""
    what = "guard" if "guard" in command else "tick --arm 20"
    assert (tmp_path / "tick.log").read_text(encoding="utf-8") == f"--home {tmp_path} {what}\n"


# systemd


def calendar(expression: str) -> list[float]:
    """The seconds of a day that a calendar expression of the form that is used here names."""
    minutes, second = re.fullmatch(r"\*-\*-\* \*:([\d*/]+):(\d\d) UTC", expression).groups()  # type: ignore[union-attr]
    first, _, step = minutes.partition("/")
    found = range(60) if first == "*" else range(int(first), 60, int(step)) if step else [int(first)]
    return instants(list(found), int(second))


def test_the_timer_starts_a_tick_when_the_resident_does() -> None:
    text = (UNITS / "oracle-batch-tick.timer").read_text(encoding="utf-8")
    offered = dict(re.findall(r"^#     (M1|M5|M15|H1) .*OnCalendar=(.*)$", text, re.MULTILINE))
    assert list(offered) == ["M1", "M5", "M15", "H1"]
    for timeframe, expression in offered.items():
        assert calendar(expression) == wakes(timeframe)
    timer = unit("tick.timer")["Timer"]
    assert timer["OnCalendar"] == offered["M15"]
    assert timer["AccuracySec"] == "100ms"
    assert unit("tick.service")["Service"]["ExecStart"].endswith(f" tick --arm {LEAD_S:g}")


def test_the_timers_guard_is_over_before_a_tick_is_started() -> None:
    assert {one % 60 for one in calendar(unit("guard.timer")["Timer"]["OnCalendar"])} == {GUARD_SECOND}
    service = unit("guard.service")["Service"]
    allowed, more = float(service["TimeoutStartSec"]), float(service["TimeoutStopSec"])
    assert GUARD_SECOND + allowed + GUARD_CLEARANCE_S <= 60 - LEAD_S
    assert more > FINISH_S
    assert GUARD_SECOND + allowed + more < 60 - LEAD_S + GUARD_PATIENCE_S, "else the tick waits for it"


def test_a_tick_ends_itself_before_systemd_ends_it() -> None:
    service, rules = unit("tick.service")["Service"], Settings().tick
    own = GUARD_PATIENCE_S + rules.tick_deadline_s + LEAD_S + WATCHDOG_S
    assert float(service["TimeoutStartSec"]) > own
    assert float(service["TimeoutStopSec"]) > FINISH_S + WATCHDOG_S
    assert float(unit("run.service")["Service"]["TimeoutStopSec"]) > END_S + 10


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_may_and_what_counts_as_its_failure(name: str) -> None:
    service = unit(f"{name}.service")["Service"]
    assert service["ExecStart"].split()[:3] == ["/opt/oracle/.venv/bin/oracle-batch", "--home", "/opt/oracle"]
    assert service["ReadWritePaths"].split() == ["/opt/oracle/state", "/opt/oracle/config"]
    for option in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "RestrictSUIDSGID"):
        assert service[option] == "yes"
    assert (service["ProtectSystem"], service["UMask"], service["CapabilityBoundingSet"]) == ("strict", "0077", "")
    assert (service["User"], service["SystemCallFilter"]) == ("oracle", "@system-service")
    if name == "run":
        assert (service["Type"], service["KillMode"], service["Restart"]) == ("exec", "mixed", "on-failure")
        assert service["RestartPreventExitStatus"].split() == ["64", "75", "78"]
    else:
        assert (service["Type"], service["SuccessExitStatus"].split()) == ("oneshot", ["75", "143"])


def test_what_the_units_need_is_what_setting_the_machine_up_makes() -> None:
    text = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    made = re.findall(r"^install -d -o (\S+) -g \S+ -m \d+ (.+)$", text, re.MULTILINE)
    folders = {folder for _, line in made for folder in line.split()}
    assert {owner for owner, _ in made} == {"oracle"} == set(re.findall(r"^useradd .* (\S+)$", text, re.MULTILINE))
    for name in SERVICES:
        service = unit(f"{name}.service")["Service"]
        assert service["User"] == "oracle"
        assert {*service["ReadWritePaths"].split(), service["ExecStart"].split()[2]} <= folders
        assert f"python3 -m venv {service['ExecStart'].partition('/bin/')[0]}\n" in text
    assert "crontab -u oracle crontab.example" in text
    assert "\nORACLE_HOME=/opt/oracle\n" in "\n".join(CRON)


def test_the_resident_and_the_timers_exclude_each_other() -> None:
    timers = sorted(path.name for path in UNITS.glob("*.timer"))
    assert sorted(unit("run.service")["Unit"]["Conflicts"].split()) == timers
    for name in ("tick", "guard"):
        assert unit(f"{name}.timer")["Install"]["WantedBy"] == "timers.target"
    assert unit("run.service")["Install"]["WantedBy"] == "multi-user.target"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    for path in UNITS.iterdir():
        text = path.read_text(encoding="utf-8").replace("/opt/oracle/.venv/bin/oracle-batch", sys.executable)
        (tmp_path / path.name).write_text(text.replace("User=oracle", "User=root"), encoding="utf-8")
    units = sorted(str(path) for path in tmp_path.iterdir())
    assert len(units) == 5
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False, timeout=60
    )
    ours = [line for line in found.stderr.splitlines() if "oracle-batch" in line]
    assert (found.returncode, ours) == (0, [])
