"""``oracle-batch sim`` as a process of its own, its control port, and commands that trade against it."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from oracle_batch.cli import run
from oracle_batch.errors import BrokerError, UsageError
from oracle_batch.told_clock import ToldClock
from tests.sim.acceptance.world import LongLab
from tests.tick.lab import T0

ROOT = Path(__file__).parents[2]


class Control:
    """A connection to the control port."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 20)
        self._file = self._socket.makefile("rw", encoding="utf-8")

    def send(self, line: str) -> Any:
        self._file.write(line + "\n")
        self._file.flush()
        return self.hear()

    def hear(self) -> Any:
        return json.loads(self._file.readline())

    def ask(self, **command: Any) -> Any:
        return self.send(json.dumps(command))

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def program(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "oracle_batch", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **options,
    )


@contextmanager
def simulator(data: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any], Control]]:
    child = program("sim", "--data", str(data), "--symbols", "EURUSD", "--start", str(T0), *options)
    assert child.stdout is not None
    ready = json.loads(child.stdout.readline())
    control = Control(ready["control_port"])
    try:
        yield child, ready, control
    finally:
        control.close()
        child.kill()
        child.communicate()


@pytest.fixture
def lab(tmp_path: Path) -> LongLab:
    lab = LongLab(tmp_path / "home")
    lab.add("EURUSD", "M15", "W L1 S2 W", sl_usd=10)
    return lab


def test_the_main_path_with_processes_on_both_sides(lab: LongLab) -> None:
    with simulator(lab.data) as (child, ready, control):
        secrets = {f"ORACLE_CTRADER_{name}": ready[name.lower()] for name in SECRETS}
        configure(lab, ready)
        seen = []
        for bar in range(4):
            control.ask(cmd="advance", to=lab.close_of(bar) + 1)
            out = command(lab, secrets, "tick", "--json", "--clock", f"127.0.0.1:{ready['control_port']}")
            seen.append(json.loads(out)["models"]["EURUSD_M15"]["decision"])
            control.ask(cmd="advance", to=lab.close_of(bar) + 30)
            command(lab, secrets, "guard", "--clock", f"127.0.0.1:{ready['control_port']}")
        assert seen == ["NOOP", "OPEN", "CLOSE_OPEN", "CLOSE"]
        state = control.ask(cmd="state")
        assert state["positions"] == []
        assert [one["closing"] for one in state["deals"]] == [False, True, False, True]
        assert set(state["deals"][0]) >= {
            "deal_id", "order_id", "client_order_id", "position_id", "label", "symbol", "side", "volume", "price",
            "time", "closing",
        }  # fmt: skip
        assert state["requests"]["max_per_second"] <= 50
        assert state["requests"]["max_historical_per_second"] <= 5
        assert control.ask(cmd="stop") == {"now": state["now"]}
        assert child.wait(60) == 0


SECRETS = ("CLIENT_ID", "CLIENT_SECRET", "ACCESS_TOKEN", "REFRESH_TOKEN")


def configure(lab: LongLab, ready: Mapping[str, Any]) -> None:
    lab.workspace.config_file.parent.mkdir(exist_ok=True)
    lab.workspace.config_file.write_text(
        '[broker]\nkind = "ctrader"\naccount = "demo"\n[broker.ctrader]\n'
        f'host = "{ready["host"]}"\nport = {ready["port"]}\ncafile = "{ready["cafile"]}"\n'
    )


def command(lab: LongLab, secrets: Mapping[str, str], *arguments: str) -> str:
    child = program("--home", str(lab.workspace.home), *arguments, env={**os.environ, **secrets})
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert not any(secret in out + err for secret in secrets.values())
    return out


def test_the_ready_line_tells_everything_and_the_certificate_is_good(lab: LongLab) -> None:
    with simulator(lab.data, "--accounts", "2", "--netted", "--balance", "500") as (child, ready, control):
        assert list(ready) == [
            "host", "port", "control_port", "cafile", "client_id", "client_secret", "access_token", "refresh_token",
            "accounts", "symbols", "now",
        ]  # fmt: skip
        assert (len(ready["accounts"]), ready["symbols"], ready["now"]) == (2, {"EURUSD": 1}, T0)
        assert control.ask(cmd="state", account=ready["accounts"][1])["balance"] == 500
        context = ssl.create_default_context(cafile=ready["cafile"])
        for name in ("127.0.0.1", "localhost"):
            with socket.create_connection((name, ready["port"])) as plain:
                context.wrap_socket(plain, server_hostname=name).close()
        cafile = Path(ready["cafile"])
        child.stdin.close()
        child.stdin = None
        assert child.wait(60) == 0, "the end of its input ends it"
        assert not cafile.parent.exists()


def test_sigterm_ends_it_and_a_running_clock_runs(lab: LongLab) -> None:
    with simulator(lab.data, "--speed", "600") as (child, ready, control):
        assert control.ask(cmd="clock")["now"] >= ready["now"]
        assert control.hear()["now"] > T0, "told after every step"
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0


def test_the_control_port_answers_bad_lines_with_an_error_and_lives_on(lab: LongLab) -> None:
    with simulator(lab.data) as (_, ready, control):
        for line, told in (
            ("{", "not one JSON object"),
            ("[1]", "expected `object`"),
            ("\xff", "not one JSON object"),
            ('{"to": 1}', "cmd"),
            ('{"cmd": "advnce"}', "'advnce'"),
            ('{"cmd": "advance"}', "`to`"),
            ('{"cmd": "advance", "to": "later"}', "to: expected `float`"),
            ('{"cmd": "advance", "to": 1e400}', "to: number out of range"),
            ('{"cmd": "advance", "to": 1e300}', "to: is more than ten years ahead"),
            ('{"cmd": "advance", "to": 1704672000000}', "to: is more than ten years ahead"),
            ('{"cmd": "state", "acount": 1}', "unknown field `acount`"),
            ('{"cmd": "state", "account": 1}', "there is no 1"),
            ('{"cmd": "faults", "script": {}}', "script: expected `array`"),
            ('{"cmd": "faults", "script": [{"fault": "dely"}]}', "did you mean delay?"),
            ('{"cmd": "faults", "script": [{"fault": "gap_prices", "symbol": "X", "distance": 1}]}', "'X'"),
        ):
            assert told in control.send(line)["error"], line
        assert control.ask(cmd="advance", to=1) == {"now": T0}, "the past changes nothing"
        assert control.ask(cmd="faults", script=[{"fault": "drop", "on": "NewOrderReq"}]) == {"faults": 1}
        long = Control(ready["control_port"])
        assert "longer than" in long.send("x" * 5_000_000)["error"]
        long.close()
        assert control.ask(cmd="state")["now"] == T0


def test_the_clock_of_the_control_port_is_followed(lab: LongLab) -> None:
    with simulator(lab.data) as (child, ready, control):
        clock = ToldClock(f"127.0.0.1:{ready['control_port']}")
        assert clock.now() == T0
        before_ns = time.monotonic_ns()
        control.ask(cmd="advance", to=T0 + 60)
        assert before_ns < control.ask(cmd="state")["told_ns"] < time.monotonic_ns()
        until = time.monotonic() + 60
        while clock.now() != T0 + 60 and time.monotonic() < until:
            time.sleep(0.01)
        assert clock.now() == T0 + 60
        child.terminate()
        child.wait(60)
        assert clock.now() == T0 + 60, "the last instant stands when nobody tells another"
        clock.close()


@pytest.mark.parametrize("address", ["", "12", ":12", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000"])
def test_an_address_that_is_none_is_a_usage_error(address: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        ToldClock(address)


@pytest.mark.parametrize("said", [b"hello\n", b'{"now":"x"}\n', b'{"now":NaN}\n', b'{"error":"no"}\n', b""])
def test_somebody_who_tells_no_time_is_no_clock(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(said)

        other = threading.Thread(target=answer)
        other.start()
        with pytest.raises(BrokerError, match="no simulator's clock"):
            ToldClock(f"127.0.0.1:{listener.getsockname()[1]}")
        other.join()


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--data", "absent"], 78, "absent: --data: no such folder of bars (correct --data)"),
        (["--symbols", "EURUSD,EURUSD"], 64, "--symbols"),
        (["--symbols", "GBPUSD"], 65, "no bars of GBPUSD"),
        (["--timeframes", "M16"], 78, "M16 is no timeframe"),
        (["--start", "soon"], 64, "--start: 'soon' is no instant"),
        (["--start", "2026-02-10T12:00"], 64, "--start: '2026-02-10T12:00' has no UTC offset"),
        (["--start", "-1"], 64, "--start: '-1' is no instant"),
        (["--balance", "nan"], 64, "--balance: nan is no number"),
        (["--balance", "1e300"], 64, "--balance: 1e+300 is no number"),
        (["--speed", "nan"], 64, "--speed: nan is no number"),
        (["--speed", "inf"], 64, "--speed: inf is no number"),
        (["--faults", "missing.json"], 78, "missing.json"),
    ],
)
def test_a_wrong_option_is_told_before_anything_listens(
    lab: LongLab, capsys: pytest.CaptureFixture[str], options: list[str], code: int, told: str
) -> None:
    given = {"--data": str(lab.data), "--symbols": "EURUSD", "--start": str(T0)}
    given |= dict(zip(options[::2], options[1::2], strict=True))
    assert run(["sim", *(word for pair in given.items() for word in pair)]) == code
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.out == ""


def test_now_and_clock_exclude_each_other(lab: LongLab, capsys: pytest.CaptureFixture[str]) -> None:
    home = str(lab.workspace.home)
    assert run(["--home", home, "tick", "--now", "1", "--clock", "127.0.0.1:1"]) == 64
    assert "exclude each other" in capsys.readouterr().err
    assert run(["--home", home, "tick", "--clock", "127.0.0.1:1"]) == 69
    assert "is no simulator's clock" in capsys.readouterr().err
