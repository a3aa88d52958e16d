"""The resident process, ``oracle-batch run``, with all models of a workspace: what it keeps of the machine's memory."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.cold import NOT_AN_OPERATORS
from bench.fleet import ROOT
from oracle_batch import heartbeat
from oracle_batch.heartbeat import Heartbeat
from oracle_batch.scheduler import CATCH_UP_S
from oracle_batch.store.workspace import Workspace

PATIENCE_S = 120.0


def peak_mb(home: Path, scratch: Path) -> float:
    """VmHWM of a resident that has run its first tick, for the bundles of ``home`` in a workspace of its own.

    Moments before a close there is no first tick; then before it.
    """
    shutil.copytree(home / "models", scratch / "models")
    shutil.copytree(home / "config", scratch / "config")
    (scratch / "data").mkdir()
    line = [sys.executable, "-m", "oracle_batch", "--home", str(scratch), "run"]
    clean = {name: value for name, value in os.environ.items() if name not in NOT_AN_OPERATORS}
    with subprocess.Popen(line, cwd=ROOT, env=clean, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for_a_tick(process, Workspace(scratch).heartbeat)
            status = Path(f"/proc/{process.pid}/status").read_text()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    return next(int(row.split()[1]) for row in status.splitlines() if row.startswith("VmHWM")) / 1024


def _wait_for_a_tick(process: subprocess.Popen[bytes], beats: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (beat := heartbeat.read(beats)) is None or not (beat.ticks or _is_near(beat)):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("the resident runs no tick")
        time.sleep(0.05)


def _is_near(beat: Heartbeat) -> bool:
    return beat.next_tick is not None and beat.next_tick - beat.started_at <= CATCH_UP_S
