"""Lives in a row, for a time or until something breaks: the state machine without its shrinking.

``python -m tests.stateful.storm --seconds 600``; the last line on stdout is one JSON object, the exit code is 1 if
anything was violated, and stderr has the life that did it, step by step.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from dataclasses import asdict

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.stateful import machine
from tests.stateful.truth import LostError, TwiceError

STEPS = 50
BATCH = 4


def one_batch(number: int, lives: int = BATCH, steps: int = STEPS) -> Exception | None:
    """Some lives; what broke in them. The same number gives the same lives."""
    lives_of = seed(number)(type("Life", (machine.Life,), {}))
    profile = settings(
        max_examples=lives,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(lives_of, settings=profile)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in a life is a finding
        return error
    return None


def run(seconds: float, number: int = 0) -> dict[str, int]:
    """Batches for so many seconds, at least one. ``number`` chooses the lives.

    Gives ``points`` (calls at which a run could have died), ``kills``, ``recoveries`` (clean runs after a death), and
    what broke: ``duplicates``, ``lost``, and ``violations`` of any kind.
    """
    until = time.monotonic() + seconds
    machine.COUNTS = counts = machine.Counts()
    while True:
        broken = one_batch(number)
        if broken is not None:
            counts.violations += 1
            counts.duplicates += isinstance(broken, TwiceError)
            counts.lost += isinstance(broken, LostError)
            traceback.print_exception(broken, file=sys.stderr)
        number += 1
        if time.monotonic() >= until:
            return asdict(counts)


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.stateful.storm")
    asked.add_argument("--seconds", type=float, default=600.0)
    asked.add_argument("--seed", type=int, default=0)
    given = asked.parse_args()
    found = run(given.seconds, given.seed)
    print(json.dumps(found))
    return 1 if found["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
