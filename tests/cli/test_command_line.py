"""Wrong input of all kinds: the right exit code, one clear message on stderr in the log's form, nothing on stdout."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from oracle_batch import __version__
from oracle_batch.cli import hoist
from oracle_batch.lean import LEAN
from tests.cli.conftest import LATER, MODEL, Cli, child

WRONG = [
    (64, ["nope"], "No such command 'nope'"),
    (64, ["tick", "--nope"], "No such option: --nope"),
    (64, ["tick", "extra"], "unexpected extra argument"),
    (64, ["tick", "--now", "yesterday"], "'yesterday' is no instant"),
    (64, ["tick", "--now", "2026-07-24T08:00:01"], "has no UTC offset"),
    (64, ["tick", "--now", "nan"], "no instant between 1970 and 9999"),
    (64, ["tick", "--now", "1e300"], "no instant between 1970 and 9999"),
    (64, ["tick", "--now", "-1"], "no instant between 1970 and 9999"),
    (64, ["status", "--now", "inf"], "no instant between 1970 and 9999"),
    (64, ["tick", "--arm", "20", "--now", "2026-07-24T08:00:01Z"], "freezes the clock"),
    (64, ["tick", "--arm", "301"], "not between 0 and 300 seconds"),
    (64, ["tick", "--arm", "nan"], "not between 0 and 300 seconds"),
    (64, ["--log-format", "xml", "tick"], "'xml' is not one of"),
    (64, ["--log-level", "loud", "tick"], "'loud' is not one of"),
    (64, ["tick", "--home"], "requires an argument"),
    (64, ["warmup"], "name a symbol or a model id, or say --all"),
    (64, ["warmup", "EURUSD", "--all"], "name a symbol or a model id, or say --all"),
    (64, ["replay"], "Missing argument"),
    (64, ["demo", "--closes", "0"], "0 is not in the range"),
    (65, ["models", "check", "absent.zip"], "absent.zip: cannot be read"),
    (65, ["models", "add", "absent.zip"], "absent.zip: cannot be read"),
    (65, ["replay", "absent.zip", "--bars", "b.parquet", "--out", "o.parquet"], "absent.zip: cannot be read"),
    (78, ["tick", "--config", "absent.toml"], "absent.toml: no such file"),
    (78, ["status", "--config", "absent.toml"], "absent.toml: no such file"),
    (78, ["run", "--config", "absent.toml"], "absent.toml: no such file"),
    (78, ["tick"], "no model bundle here (oracle-batch models add FILE.zip)"),
    (78, ["run"], "no model bundle here (oracle-batch models add FILE.zip)"),
    (78, ["warmup", "NOPE"], "no model is or trades 'NOPE'"),
    (78, ["tick", "--account", "other"], "there is no account 'other' (known: paper)"),
]


@pytest.mark.parametrize(("code", "arguments", "message"), WRONG, ids=[" ".join(one[1]) for one in WRONG])
def test_a_wrong_call_says_what_is_wrong(code: int, arguments: list[str], message: str, empty: Cli) -> None:
    ran = empty(*arguments)
    assert ran.code == code
    assert message in ran.err
    assert " ERROR " in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(("code", "arguments", "message"), WRONG, ids=[" ".join(one[1]) for one in WRONG])
def test_with_json_every_line_is_json(code: int, arguments: list[str], message: str, empty: Cli) -> None:
    if "--log-format" in arguments:
        return
    ran = empty("--log-format", "json", *arguments)
    lines = [json.loads(line) for line in ran.err.splitlines()]
    assert ran.code == code
    assert message in lines[-1]["message"]
    assert lines[-1]["level"] == "error"
    assert all(set(line) == {"time", "level", "logger", "message"} for line in lines)


@pytest.mark.parametrize("command", [["tick"], ["status"], ["warmup", "--all"], ["run"], ["pause"], ["resume"]])
def test_a_mistyped_home_is_told_not_created(command: list[str], empty: Cli) -> None:
    for home, why in ((empty.home / "absent", "no such folder"), (empty.home / "file", "not a folder")):
        (empty.home / "file").write_text("")
        ran = empty.bare("--home", home, *command)
        assert ran.code == 78
        assert f"{home}: --home: " in ran.err
        assert why in ran.err
    assert not (empty.home / "absent").exists()


def test_a_home_without_models_is_told_before_anything_is_made(empty: Cli) -> None:
    (empty.home / "elsewhere").mkdir()
    ran = empty.bare("--home", empty.home / "elsewhere", "tick")
    assert ran.code == 78
    assert "no model bundle here" in ran.err
    assert list((empty.home / "elsewhere").iterdir()) == []


def test_a_home_that_takes_no_files_is_a_file_problem(empty: Cli) -> None:
    ran = empty.bare("--home", "/proc", "warmup", "--all")
    assert ran.code == 65
    assert "cannot create the folder" in ran.err


def test_global_options_stand_before_or_after_the_command(traded: Cli) -> None:
    calls = (
        ("--home", traded.home, "status", "--json", "--now", LATER),
        ("status", "--json", "--home", traded.home, "--now", LATER),
        ("status", f"--home={traded.home}", "--json", "--log-level=debug", "--now", LATER),
    )
    found = [traded.bare(*call) for call in calls]
    assert [ran.code for ran in found] == [0, 0, 0]
    assert found[0].json == found[1].json == found[2].json


def test_what_follows_two_dashes_is_no_option() -> None:
    assert hoist(["replay", "--", "--home", "x"]) == ["replay", "--", "--home", "x"]


def test_the_home_comes_from_the_environment(traded: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORACLE_HOME", str(traded.home))
    assert MODEL in traded.bare("status").out


def test_help_and_version_are_no_errors(empty: Cli) -> None:
    assert empty.bare("--version").out == f"oracle-batch {__version__}\n"
    ran = empty.bare("tick", "--help")
    assert (ran.code, ran.err) == (0, "")
    assert "--dry-run" in ran.out


@pytest.mark.parametrize("arguments", [[], ["models"]])
def test_no_command_is_answered_by_the_help(arguments: list[str], empty: Cli) -> None:
    ran = empty.bare(*arguments)
    assert (ran.code, ran.out) == (64, "")
    assert "Commands:" in ran.err


def test_a_defect_is_told_in_the_logs_form(empty: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("oracle_batch.surveying.read_status", broken)
    ran = empty("status", "--log-format", "json")
    line = json.loads(ran.err)
    assert ran.code == 1
    assert "unexpected ZeroDivisionError: oops" in line["message"]
    assert "Traceback" in line["traceback"]


@pytest.mark.parametrize("command", ["status", "pause"])
def test_a_state_folder_of_another_user_is_told_with_the_remedy(
    command: str, traded: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = os.stat

    def refused(path: Any, **options: Any) -> os.stat_result:
        if str(path).startswith(str(traded.home / "state") + "/"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refused)
    ran = traded(command)
    assert ran.code == 65
    assert f"{traded.home / 'state'}/" in ran.err
    assert "Permission denied (give this user access" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["pause"], ["--help"]])
def test_a_reader_who_stops_reading_is_no_error(command: list[str], traded: Cli) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = child("--home", traded.home, *command, stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demo_leaves_nothing_behind(number: int, code: int, tmp_path: Path) -> None:
    process = child("demo", "--closes", "3000", environment={"TMPDIR": str(tmp_path)})
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("oracle-batch-demo-*/state/journal/paper/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    assert ("interrupted" in err) is (number == signal.SIGINT)
    assert list(tmp_path.iterdir()) == []


def test_every_command_starts_lean() -> None:
    """NumPy and Arrow read these when they are imported, which commands do later."""
    program = "import os; from oracle_batch.cli import run; run(['--version']); print(dict(os.environ))"
    bare = {name: value for name, value in os.environ.items() if name not in LEAN}
    ran = subprocess.run([sys.executable, "-c", program], env=bare, capture_output=True, text=True, check=True)
    assert all(f"'{name}': '{value}'" in ran.stdout for name, value in LEAN.items())


def test_a_command_ends_without_taking_the_interpreter_apart() -> None:
    program = (
        "import atexit, sys; from oracle_batch.cli import main\n"
        "atexit.register(lambda: print('taken apart', file=sys.stderr))\n"
        "print('out', end=''); main(['status', '--home', '/nowhere'])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (78, "out")
    assert "no such folder" in ran.stderr
    assert "taken apart" not in ran.stderr
