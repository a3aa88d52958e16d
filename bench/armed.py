"""Armed and cold ticks against the simulator, each in its own process, over TLS on loopback.

Twenty crafted bundles open when they are flat and close when they hold, so that every close sends twenty orders; twenty
others turn around at every close.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import socket
import statistics
import subprocess
import sys
import time
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from dataclasses import replace as with_
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.cold import NOT_AN_OPERATORS
from bench.fleet import ROOT, SOURCES, STEP, bundle_of, counts, shipped_bars
from oracle_batch.bars import FIELDS

SYMBOLS = (
    *("EURUSD", "GBPUSD", "AUDUSD", "NZDUSD", "USDJPY", "USDCHF", "USDCAD", "EURGBP", "EURJPY", "EURCHF"),
    *("EURAUD", "EURCAD", "GBPJPY", "GBPCHF", "AUDJPY", "AUDNZD", "CADJPY", "CHFJPY", "NZDJPY", "AUDCAD"),
)
WORTH = {"EUR": 1.1, "GBP": 1.3, "AUD": 0.7, "NZD": 0.6, "USD": 1.0, "JPY": 0.0067, "CHF": 1.12, "CAD": 0.73}
MONDAY = 1_768_176_000
"""2026-01-12 00:00 UTC: the open of the first bar that is traded."""
HISTORY = 1010
MILLI, NANO = 1e3, 1e-9
LANES = 2
"""Workspaces whose closes are taken in turn."""
REST_S = 1.1
"""So long the limiters of both sides take to forget what came before."""
Habit = Literal["in and out", "turn"]
CONFIG = """
[broker]
kind = "ctrader"
account = "bench"
[broker.ctrader]
host = "{host}"
port = {port}
cafile = "{cafile}"
[tick]
first_signal = "enter"
[risk]
max_daily_loss_pct = 0
max_drawdown_pct = 0
max_open_positions = 0
max_consecutive_losses = 0
max_consecutive_losses_account = 0
"""


def craft(symbol: str, habit: Habit, folder: Path) -> None:
    """A bundle of a source's shape whose action hangs on the twin's direction alone."""
    source = SOURCES[0]
    with zipfile.ZipFile(bundle_of(source)) as archive:
        metadata = json.loads(archive.comment)
        hmm = pickle.loads(archive.read(f"{source}_hmm.pkl"))
        ppo = archive.read(f"{source}_ppo.zip")
    digits = 3 if symbol.endswith("JPY") else 5
    metadata["symbol"] = {"name": symbol, "clean": symbol, "timeframe": "M15"}
    metadata["training_config"] |= {"digits": digits, "point": 10.0**-digits}
    with zipfile.ZipFile(folder / f"{symbol}_M15.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{symbol}_M15_hmm.pkl", pickle.dumps(hmm, protocol=4))
        archive.writestr(f"{symbol}_M15_ppo.zip", _crafted_policy(ppo, habit))
        archive.comment = json.dumps(metadata).encode()


def _crafted_policy(ppo: bytes, habit: Habit) -> bytes:
    """An SB3 save whose first unit carries the twin's direction from layer to layer."""
    import torch

    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(ppo)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "policy.pth":
                state = OrderedDict(
                    (key, torch.zeros_like(value) if "policy_net" in key or "action_net" in key else value)
                    for key, value in torch.load(io.BytesIO(data), weights_only=True).items()
                )
                state["mlp_extractor.policy_net.0.weight"][0, -3] = 3.0
                state["mlp_extractor.policy_net.2.weight"][0, 0] = 3.0
                state["action_net.bias"][1] = 1.0
                state["action_net.weight"][0 if habit == "in and out" else 4, 0] = 20.0
                buffer = io.BytesIO()
                torch.save(state, buffer)
                data = buffer.getvalue()
            new.writestr(name, data)
    return out.getvalue()


def write_bars(folder: Path, closes: int, symbols: Sequence[str] = SYMBOLS) -> None:
    """Bars of real shape at each symbol's usual price."""
    real = shipped_bars(SOURCES[0])
    length = HISTORY + closes + 4
    times = MONDAY - HISTORY * STEP + STEP * np.arange(length, dtype=np.int64)
    for number, symbol in enumerate(symbols):
        piece = real[number * 449 % (len(real) - length) :][:length]
        price, digits = WORTH[symbol[:3]] / WORTH[symbol[3:]], 3 if symbol.endswith("JPY") else 5
        scaled = {
            name: np.round(getattr(piece, name) / piece.close[0] * price, digits)
            for name in ("open", "high", "low", "close")
        }
        bars = with_(piece, time=times, **scaled)
        table = pa.table({name: pa.array(getattr(bars, name)) for name in FIELDS})
        pq.write_table(table, folder / f"{symbol}_M15.parquet")


def close_of(bar: int) -> int:
    """The close of a traded bar."""
    return MONDAY + STEP * (bar + 1)


class Control:
    """A simulator's control port."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self._line = socket.create_connection((ready["host"], ready["control_port"]))
        self._answers = self._line.makefile()

    def __call__(self, command: str, **options: Any) -> dict[str, Any]:
        self._line.sendall(json.dumps({"cmd": command, **options}).encode() + b"\n")
        found: dict[str, Any] = json.loads(self._answers.readline())
        return found

    def advance(self, to: float) -> None:
        self("advance", to=to)

    def close(self) -> None:
        self._answers.close()
        self._line.close()

    def orders(self, after_ns: int) -> list[dict[str, Any]]:
        """Orders and closes that were received after an instant."""
        return _orders(self("state"), after_ns)

    def orders_since_told(self) -> tuple[int, list[dict[str, Any]]]:
        """When the clock was told last (the trigger instant, DESIGN §8), and the orders and closes received since."""
        state = self("state")
        return state["told_ns"], _orders(state, state["told_ns"])


def _orders(state: dict[str, Any], after_ns: int) -> list[dict[str, Any]]:
    kinds = ("NewOrderReq", "ClosePositionReq")
    return [one for one in state["received"] if one["type"] in kinds and one["monotonic_ns"] > after_ns]


@dataclass(frozen=True)
class Arena:
    """A workspace and the simulator that it trades on."""

    home: Path
    control: Control
    environment: dict[str, str]

    def command(self, *arguments: object) -> list[str]:
        where = self.control._line.getpeername()
        clock = ("--clock", f"{where[0]}:{where[1]}")
        return [sys.executable, "-m", "oracle_batch", "--home", str(self.home), *map(str, arguments), *clock]


@contextmanager
def arena(folder: Path, habit: Habit, closes: int, symbols: Sequence[str] = SYMBOLS) -> Iterator[Arena]:
    """Crafted models, twenty of them, and a simulator of their symbols."""
    home, data = folder / "home", folder / "data"
    for path in (home / "config", home / "models", data):
        path.mkdir(parents=True)
    write_bars(data, closes, symbols)
    for symbol in symbols:
        craft(symbol, habit, home / "models")
    execution = {symbol: {"enabled": True, "sl_usd": 500, "max_spread_pips": 0} for symbol in symbols}
    (home / "config" / "executor_symbols.json").write_text(json.dumps(execution))
    options = {
        "--home": home, "--data": data, "--symbols": ",".join(symbols), "--start": close_of(-1) + 1, "--balance": 1e7,
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "oracle_batch",
        "--log-level",
        "warning",
        "sim",
        *(str(part) for pair in options.items() for part in pair),
    ]
    clean = {name: value for name, value in os.environ.items() if name not in NOT_AN_OPERATORS}
    with subprocess.Popen(
        command, cwd=ROOT, env=clean, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            ready = json.loads(child.stdout.readline())
            (home / "config" / "oracle.toml").write_text(CONFIG.format(**ready))
            names = ("client_id", "client_secret", "access_token", "refresh_token")
            secrets = {f"ORACLE_CTRADER_{name.upper()}": ready[name] for name in names}
            with closing(Control(ready)) as control:
                yield Arena(home, control, clean | secrets)
        finally:
            child.stdin.close()
            child.wait(timeout=20)
    shutil.rmtree(folder)


@dataclass(frozen=True)
class Close:
    """One close: milliseconds from the trigger to the last first-wave order's receipt, second legs, and the child's
    own numbers."""

    last_order_ms: float
    second_legs_ms: list[float]
    report: dict[str, Any]
    cpu_s: float


class ArmedTick:
    """A tick that waits, armed, for a bar's close. ``fire`` brings the trigger, ``finish`` sees the tick through."""

    def __init__(self, where: Arena, bar: int, *options: object) -> None:
        self._where, self._close = where, close_of(bar)
        self.triggered_ns = 0
        self.orders: list[dict[str, Any]] = []
        where.control.advance(self._close - 15)
        self._child = subprocess.Popen(
            where.command("tick", "--arm", 20, "--json", *options),
            cwd=ROOT, env=where.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._child.stderr is not None
        self._told = []
        for line in self._child.stderr:
            self._told.append(line)
            if " armed for " in line:
                break
        time.sleep(REST_S)

    def fire(self) -> None:
        self._where.control.advance(self._close + 0.5)
        time.sleep(0.05)
        self._where.control.advance(self._close + 1)

    def finish(self, legs: int | None) -> Close:
        """``legs`` is how many orders the close has to send; None: any number, it brings the twins in."""
        report, cpu = _finished(self._child, self._told)
        self.triggered_ns, self.orders = self._where.control.orders_since_told()
        if legs is not None and len(self.orders) != legs:
            told = "".join(self._told)
            raise SystemExit(f"{len(self.orders)} orders, not {legs}:\n{told}\n{json.dumps(report)[:3000]}")
        turning = len(self.orders) > len(SYMBOLS)
        first = [one for one in self.orders if not turning or one["type"] == "ClosePositionReq"]
        last = max((one["monotonic_ns"] for one in first), default=self.triggered_ns)
        return Close((last - self.triggered_ns) * NANO * MILLI, [], report, cpu)


def in_turn(arenas: Sequence[Arena], closes: int) -> list[Close]:
    """Closes that send an order for each model. While one tick looks at its official bars, which is a wait of seconds,
    the next one is armed in another workspace; it is triggered when the one before has ended and nothing else runs."""
    done, before = list[Close](), None
    for number in range(closes):
        tick = ArmedTick(arenas[number % len(arenas)], 1 + number // len(arenas))
        if before is not None:
            done.append(before.finish(len(SYMBOLS)))
        tick.fire()
        before = tick
    return done if before is None else [*done, before.finish(len(SYMBOLS))]


def turn(where: Arena, bar: int) -> Close:
    """A close at which every model turns around."""
    trace = where.home / "trace.json"
    tick = ArmedTick(where, bar, "--trace", trace)
    tick.fire()
    close = tick.finish(2 * len(SYMBOLS))
    return with_(close, second_legs_ms=_second_legs(json.loads(trace.read_text()), tick.orders))


def _second_legs(trace: dict[str, Any], orders: list[dict[str, Any]]) -> list[float]:
    """Milliseconds from each confirmed close to the receipt of the entry that it released."""
    began = trace["otherData"]["monotonic_s"]
    confirmed = {
        event["name"].split()[0].rsplit("-", 1)[0]: began + (event["ts"] + event["dur"]) / 1e6
        for event in trace["traceEvents"]
        if event["name"].endswith(" filled") and "-1 " not in event["name"]
    }
    return [
        (one["monotonic_ns"] * NANO - confirmed[one["client_order_id"].rsplit("-", 1)[0]]) * MILLI
        for one in orders
        if one["client_order_id"]
    ]


def cold(where: Arena, bar: int) -> tuple[float, float, Close]:
    """One tick that is started after the close: milliseconds from its start to the last order, the same without the
    wait for its turn in the rate of history, and its own numbers."""
    where.control.advance(close_of(bar) + 1)
    time.sleep(REST_S)
    trace = where.home / "trace.json"
    began = time.monotonic_ns()
    child = subprocess.Popen(
        where.command("tick", "--json", "--trace", trace),
        cwd=ROOT, env=where.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    report, cpu = _finished(child, [])
    orders = where.control.orders(began)
    assert len(orders) == len(SYMBOLS), report
    taken = (max(one["monotonic_ns"] for one in orders) - began) * NANO * MILLI
    look_after(where, close_of(bar) + 60)
    return taken, taken - _waited(json.loads(trace.read_text())), Close(taken, [], report, cpu)


def _waited(trace: dict[str, Any]) -> float:
    """Milliseconds in which something waited for its turn in the rate."""
    waits = sorted((one["ts"], one["ts"] + one["dur"]) for one in trace["traceEvents"] if one["name"] == "limiter")
    total = until = 0.0
    for began, ended in waits:
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total / MILLI


def look_after(where: Arena, now: int) -> None:
    """A guard between two ticks, as each minute: it asks what the orders before have cost."""
    where.control.advance(now)
    subprocess.run(where.command("guard"), cwd=ROOT, env=where.environment, check=True, capture_output=True)


def _finished(child: subprocess.Popen[str], told: list[str]) -> tuple[dict[str, Any], float]:
    """The child's report and its seconds of user and system time."""
    assert child.stdout is not None
    assert child.stderr is not None
    text = child.stdout.read()
    told += child.stderr.readlines()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    child.stdout.close()
    child.stderr.close()
    if child.returncode:
        raise SystemExit(f"the tick ended with {child.returncode}:\n{''.join(told)}")
    return json.loads(text), usage.ru_utime + usage.ru_stime


@contextmanager
def begun(folder: Path, habit: Habit, closes: int) -> Iterator[Arena]:
    """An arena whose models are warmed up and have seen their first live bar."""
    with arena(folder, habit, closes) as where:
        warm = where.command("warmup", "--all")
        subprocess.run(warm, cwd=ROOT, env=where.environment, check=True, capture_output=True)
        first = ArmedTick(where, 0)
        first.fire()
        first.finish(None)
        yield where


def measure(folder: Path, *, closes: int, turns: int, colds: int) -> dict[str, float]:
    """Every key that has to do with armed and cold ticks."""
    with ExitStack() as stack:
        count = min(LANES, closes)
        done = 1 + -(-closes // count)
        bars = done + colds + 2
        lanes = [stack.enter_context(begun(folder / f"lane-{number}", "in and out", bars)) for number in range(count)]
        each = in_turn(lanes, closes)
        unarmed = [cold(lanes[0], done + number) for number in range(colds)]
    with begun(folder / "turn", "turn", turns + 2) as where:
        turned = [turn(where, 1 + number) for number in range(turns)]
    times = [one.last_order_ms for one in each]
    return {
        "trigger_to_last_order_ms": statistics.median(times),
        "trigger_to_last_order_ms_p99": float(np.quantile(times, 0.99)),
        "trigger_to_last_order_ms_min": min(times),
        "reversal_second_leg_ms": statistics.median(one for close in turned for one in close.second_legs_ms),
        "trigger_cold_ms": statistics.median(one[0] for one in unarmed),
        "trigger_cold_own_ms": statistics.median(one[1] for one in unarmed),
        "armed_peak_rss_mb": max(one.report["peak_rss_mb"] for one in (*each, *turned)),
        "cold_peak_rss_mb": max(one[2].report["peak_rss_mb"] for one in unarmed),
        "cold_cpu_s": statistics.median(one[2].cpu_s for one in unarmed),
    }


def typical_trace(folder: Path, closes: int) -> str:
    """What ``--trace`` wrote of the armed close that was in the middle of so many."""
    found = []
    with begun(folder, "in and out", closes + 2) as where:
        for number in range(closes):
            file = where.home / "trace.json"
            tick = ArmedTick(where, 1 + number, "--trace", file)
            tick.fire()
            found.append((tick.finish(len(SYMBOLS)).last_order_ms, file.read_text()))
    return sorted(found)[len(found) // 2][1]


def main() -> None:
    """Print the keys of so many closes, reversals and cold ticks; with ``trace``, write what one close's trace says."""
    import tempfile

    usage = "python -m bench.armed CLOSES TURNS COLDS, or python -m bench.armed trace FILE"
    wanted = sys.argv[1:]
    if len(wanted) != 3 and wanted[:-1] != ["trace"]:
        raise SystemExit(f"usage: {usage}")
    with tempfile.TemporaryDirectory() as folder:
        if len(wanted) == 3:
            closes, turns, colds = counts(wanted, usage)
            print(json.dumps(measure(Path(folder), closes=closes, turns=turns, colds=colds), indent=2))
        else:
            file = Path(wanted[1])
            try:
                file.touch()
            except OSError as error:
                raise SystemExit(f"{file}: cannot be written: {error.strerror}") from error
            file.write_text(typical_trace(Path(folder) / "traced", 9))


if __name__ == "__main__":
    main()
