"""Progress bars on a terminal, and their silence elsewhere."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from oracle_batch.cli.progress import Progress
from tests.cli.conftest import BEFORE, ROOT, Cli


def on_a_terminal(*arguments: object, columns: int = 80) -> tuple[int, str]:
    """Exit code and screen output of a command whose stdout and stderr are a terminal."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "oracle_batch", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": str(columns)},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    seen = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # Linux says so when the last writer is gone
            break
        if not part:
            break
        seen += part
    os.close(leader)
    return process.wait(timeout=60), seen.decode()


def test_a_warmup_shows_a_bar_and_its_log_above_it(fresh: Cli) -> None:
    code, screen = on_a_terminal("--home", fresh.home, "warmup", "--all", "--now", BEFORE)
    assert code == 0
    assert "warming up" in screen
    assert "1/1" in screen
    assert screen.index("1000 bars, the last of") < screen.rindex("1/1")
    assert "\x1b[?25h" in screen, "the cursor is back"


def test_the_status_table_is_coloured_and_fits(traded: Cli) -> None:
    code, screen = on_a_terminal("--home", traded.home, "status", columns=80)
    assert code == 0
    assert "\x1b[32myes" in screen
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen)
    assert max(len(line.rstrip("\r")) for line in plain.split("\n")) <= 80


def test_no_color_means_none(traded: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    _, screen = on_a_terminal("--home", traded.home, "status", columns=120)
    assert not re.search(r"\x1b\[3\dm", screen)
    assert " yes " in screen


def test_without_a_terminal_there_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("counting", 2) as bar:
        bar.advance()
    assert capsys.readouterr() == ("", "")
