"""``make chaos``: ticks that are killed, failed and cut off at every call, for so many seconds; counts as JSON.

``--per N`` tries N points of each campaign instead, those of different sorts first. ``--points A-B`` tries a slice of
each, counted from 1; with the same seed, slices make up the whole. ``--planted`` plants bugs and sees whether they are
caught. The last line on stdout is one JSON object; the exit code is 1 if anything was violated, or if a planted bug was
not caught.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
LIVES: Final = 0.25
"""The share of the time that random lives (`tests/stateful`) get."""


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    asked.add_argument("--seconds", type=float, default=600.0)
    asked.add_argument("--per", type=int, default=0)
    asked.add_argument("--points", type=_slice, default=(1, None), metavar="A-B", help="or A-: from A to the end")
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument(
        "--only",
        default="",
        metavar="NAME,…",
        help="campaigns: kill late next nested errors full power armed armed_errors armed_power",
    )
    asked.add_argument("--lives", action="store_true", help="a quarter of the time for random lives")
    asked.add_argument("--planted", action="store_true")
    given = asked.parse_args()
    share = given.seconds * (LIVES if given.lives else 0.0)
    result = _played(given, time.monotonic() + given.seconds - share)
    if given.lives:
        _add_lives(result, share, given.seed)
    print(json.dumps(result))
    return 1 if result["violations"] else 0


def _played(given: argparse.Namespace, until: float) -> dict[str, Any]:
    from oracle_batch.lean import be_lean

    be_lean()
    import pytest

    from tests.chaos import campaigns, planted, ptrace, stage
    from tests.chaos.points import undisturbed

    why = ptrace.refused()
    if why is not None:
        sys.exit(f"chaos needs to stop system calls, and cannot: {why}")
    folder = stage.scratch()
    with pytest.MonkeyPatch.context() as patch:
        try:
            stage.hasten(patch)
            scene = stage.prepared(patch, folder)
            if given.planted:
                return planted.caught(scene, undisturbed(scene))
            only, found = _words(given.only), list[campaigns.Campaign]()
            for one, names in ((scene, campaigns.COLD), (scene.before_the_close(), campaigns.ARMED)):
                if not only or set(only) & set(names):
                    first, last = given.points
                    found += campaigns.prepare(one, undisturbed(one), given.seed, only, first=first, last=last)
            return campaigns.run(found, until - time.monotonic(), given.per)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _add_lives(result: dict[str, Any], seconds: float, seed: int) -> None:
    """Run whole random lives; their counts stand by themselves, and what broke in them is added."""
    command = [sys.executable, "-m", "tests.stateful.storm", "--seconds", str(seconds), "--seed", str(seed)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    result["lives"] = lives = json.loads(done.stdout.splitlines()[-1])
    for key in ("kills", "recoveries", "duplicates", "lost", "violations"):
        result[key] += lives[key]


def _slice(text: str) -> tuple[int, int | None]:
    first, _, last = text.partition("-")
    asked = int(first), int(last) if last else None
    if asked[0] < 1 or (asked[1] is not None and asked[1] < asked[0]):
        raise argparse.ArgumentTypeError("not A-B or A-, from 1 on")
    return asked


def _words(text: str) -> Sequence[str]:
    return [one for one in text.split(",") if one]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
