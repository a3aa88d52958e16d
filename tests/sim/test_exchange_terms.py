"""Where the exchange's contracts and costs come from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from oracle_batch.market.spec_file import SymbolSettings
from oracle_batch.sim.exchange import Exchange
from oracle_batch.sim.symbols import OWN_COSTS
from tests.market.build import T0, bars
from tests.sim.folders import write

ROOT = Path(__file__).resolve().parents[2]


def test_settings_come_before_the_simulators_own_costs(tmp_path: Path) -> None:
    folder = write(tmp_path / "bars", {"EURUSD": bars([(1.1,)]), "USDJPY": bars([(150.0,)])})
    given = {"EURUSD": SymbolSettings(spread_points=30)}
    exchange = Exchange(folder, ["EURUSD", "USDJPY"], ["M15"], T0, settings=given)
    euro, yen = (exchange.symbols[symbol_id].contract for symbol_id in (1, 2))
    assert (euro.spread, euro.slippage) == (0.0003, pytest.approx(OWN_COSTS["slippage_points"] * 1e-5))
    assert (yen.spread, yen.commission_per_lot) == (pytest.approx(0.009), OWN_COSTS["commission_per_lot"])


def test_the_command_takes_contracts_and_costs_from_its_home(tmp_path: Path) -> None:
    folder = write(tmp_path / "bars", {"EURUSD": bars([(1.1,)] * 3)})
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "symbols.json").write_text(json.dumps({"EURUSD": {"spread_points": -1}}))
    asked = ["--data", str(folder), "--symbols", "EURUSD", "--start", str(T0)]
    command = [sys.executable, "-m", "oracle_batch", "--home", str(tmp_path), "sim", *asked]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert ended.returncode == 78
    assert "EURUSD.spread_points" in ended.stderr


def test_paper_loads_nothing_of_the_live_market() -> None:
    program = "import sys, oracle_batch.broker.paper; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    live = {f"oracle_batch.market.{name}" for name in ("live", "pending", "track", "ticks", "holidays")}
    assert not live & set(ended.stdout.split())
    assert "oracle_batch.market.engine" in ended.stdout.split()
