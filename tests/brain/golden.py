"""The golden outputs that travel with the repository: bundles over shipped bars, by the reference alone.

``python -m tests.brain.golden`` computes them anew into ``tests/data/golden``.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from oracle_batch.bars import Bars
from tests.brain.markets import ROOT, SHIPPED, bundle, read
from tests.brain.reference import WINDOW, Reference, run

FOLDER = ROOT / "tests" / "data" / "golden"
TYPES = {
    "time": pa.int64(),
    **dict.fromkeys(("hmm_state", "action", "direction", "intensity"), pa.int8()),
    **dict.fromkeys(("entry_price", "floating_pnl", "realized_pnl"), pa.float64()),
}


@dataclass(frozen=True)
class Case:
    """A bundle with some metadata replaced, over the last bars of its file."""

    model: str
    decoding: str
    decided: int
    top: dict[str, Any] = field(default_factory=dict)
    observations: bool = False

    @property
    def file(self) -> Path:
        return FOLDER / f"signals_{self.model}_{self.decoding}.parquet"

    def bars(self) -> Bars:
        return read(SHIPPED / f"{self.model}.parquet")[-(self.decided + WINDOW - 1) :]

    def bundle(self, folder: Path) -> Path:
        """The bundle, written into a folder."""
        path = Path(shutil.copy(bundle(self.model), folder))
        with zipfile.ZipFile(path, "a") as archive:
            metadata = {**json.loads(archive.comment), **self.top}
            metadata["hmm_config"]["decoding"] = self.decoding
            archive.comment = json.dumps(metadata).encode()
        return path


CASES = (
    Case("EURUSD_M15", "single", 700, observations=True),
    Case("GBPUSD_H1", "filter", 700),
    Case("USDJPY_H1", "viterbi", 700, {"observation_pnl": "current"}),
)


def compute(case: Case, bars: Bars) -> dict[str, list[Any]]:
    """The reference over some bars."""
    with tempfile.TemporaryDirectory() as folder:
        return run(Reference.load(case.bundle(Path(folder))), bars)


def main() -> None:
    """Write every golden file."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        result = compute(case, case.bars())
        columns = {name: pa.array(result[name], kind) for name, kind in TYPES.items()}
        if case.observations:
            rows = np.array(result["obs"], np.float32)
            columns["obs"] = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
        pq.write_table(pa.table(columns), case.file, compression="zstd", version="2.6")
        print(case.file.name, case.decided, case.file.stat().st_size)


if __name__ == "__main__":
    main()
