"""The benchmarks: ``make bench``. Progress for people on stderr, one JSON object on the last line of stdout."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Measure under the thread settings that the program gives itself, which NumPy reads when it is imported."""
    sys.path.insert(0, str(ROOT))
    from oracle_batch.lean import be_lean

    be_lean()
    from bench import measure

    measure.main()


if __name__ == "__main__":
    main()
