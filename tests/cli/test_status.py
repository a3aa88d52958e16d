"""``oracle-batch status``: the table and the JSON."""

from __future__ import annotations

import pytest

from oracle_batch.status import age
from tests.cli.conftest import LATER, MODEL, TICKS, Cli, snapshot

KEYS = {"now", "paused", "last_run", "resident", "accounts", "problems"}
ACCOUNT_KEYS = {"balance", "currency", "problem", "risk", "models"}
MODEL_KEYS = {
    "bar_time", "bars_behind", "enabled", "desired", "real", "in_sync", "waiting", "virtual_floating_pnl",
    "virtual_realized_pnl", "position_id", "entry_price", "pending_close", "consecutive_losses", "decisions_revised",
    "last", "problem",
}  # fmt: skip


def row(text: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(MODEL)).split()


def test_the_table_shows_wish_and_reality(traded: Cli) -> None:
    ran = traded("status", "--now", LATER)
    title, header, _, line, *rest = ran.out.splitlines()
    assert title.startswith("account paper  balance 9,9")
    assert header.split("  ")[0].strip() == "model"
    assert line.split()[:4] == [MODEL, "2", "s", "ago"]
    assert line.split()[4] == line.split()[5] != "FLAT"
    assert " yes " in line
    assert rest == ["no problems"]
    assert ran.code == 0


def test_status_changes_nothing(traded: Cli) -> None:
    before = snapshot(traded.home)
    traded("status")
    traded("status", "--json")
    assert snapshot(traded.home) == before


def test_json_is_stable(traded: Cli) -> None:
    found = traded("status", "--json", "--now", LATER).json
    account = found["accounts"]["paper"]
    model = account["models"][MODEL]
    assert (set(found), set(account), set(model)) == (KEYS, ACCOUNT_KEYS, MODEL_KEYS)
    assert set(model["last"]) == {"bar_time", "signal", "decision", "ack", "reason", "error", "numbers"}
    assert model["desired"] == model["real"]
    assert (model["in_sync"], model["enabled"], model["bars_behind"]) == (True, True, 0)
    assert model["position_id"] > 0
    assert found["problems"] == []
    assert found["last_run"] > 0


def test_an_empty_folder_says_how_to_begin(empty: Cli) -> None:
    ran = empty("status")
    assert (ran.code, ran.err) == (0, "")
    assert "oracle-batch models add" in ran.out
    assert empty("status", "--json").json["accounts"]["paper"]["models"] == {}
    assert list(empty.home.iterdir()) == []


def test_a_new_model_is_told(fresh: Cli) -> None:
    ran = fresh("status", "--now", LATER)
    assert " new " in ran.out
    assert "no twin yet: the next tick warms it up" in ran.out


def test_a_disabled_model_is_off(traded: Cli) -> None:
    path = traded.home / "config" / "executor_symbols.json"
    path.write_text(path.read_text().replace("true", "false"), encoding="utf-8")
    assert "off" in row(traded("status", "--now", LATER).out)
    assert traded("status", "--json").json["accounts"]["paper"]["models"][MODEL]["enabled"] is False


def test_a_missed_entry_is_waited_out(warm: Cli) -> None:
    warm("pause")
    warm("tick", "--now", TICKS[0])
    ran = warm("status", "--now", LATER)
    assert "PAUSED: no new entries" in ran.out
    assert "missed" in row(ran.out)
    assert "PAUSED" in row(ran.out)


@pytest.mark.parametrize(
    ("place", "text", "told"),
    [
        ("state/twin/EURUSD_M15.json", "{", "EURUSD_M15.json"),
        ("state/bars/EURUSD_M15.parquet", "", "EURUSD_M15.parquet"),
        ("state/executor/paper.json", "{", "executor/paper.json"),
        ("state/paper/paper.json", "{", "paper/paper.json"),
        ("config/executor_symbols.json", "{", "executor_symbols.json"),
        ("models/EURUSD_M15.zip", "x", "EURUSD_M15.zip"),
        ("models/GBPUSD_H1.zip", "x", "GBPUSD_H1.zip"),
    ],
)
def test_what_is_damaged_is_named(place: str, text: str, told: str, traded: Cli) -> None:
    (traded.home / place).write_text(text, encoding="utf-8")
    ran = traded("status", "--now", LATER)
    assert ran.code == 0
    assert any(line.startswith("! ") and told in line for line in ran.out.splitlines()), ran.out
    assert (traded.home / place).read_text(encoding="utf-8") == text
    assert traded("status", "--json").json["problems"]


def test_a_bundle_that_is_gone_is_told(traded: Cli) -> None:
    (traded.home / "models" / f"{MODEL}.zip").unlink()
    out = traded("status").out
    assert f"! {MODEL}: its bundle is no longer in models/" in out


def test_it_fits_a_narrow_terminal(traded: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("oracle_batch.cli.status", "oracle_batch.cli.tables"):
        monkeypatch.setattr(f"{module}.page_width", lambda: 80)
    out = traded("status", "--now", LATER).out
    assert max(map(len, out.splitlines())) <= 80
    assert row(out)[4] == row(out)[5]
    assert "yes" in row(out)


def test_a_problem_is_told_once(traded: Cli) -> None:
    path = traded.home / "config" / "executor_symbols.json"
    path.write_text('{"EURUSD": {"enabled": "yes"}}', encoding="utf-8")
    traded("tick", "--now", "2026-07-24T08:30:01Z")
    assert traded("status").out.count("EURUSD.enabled: expected `bool`") == 1
    assert traded("status", "--json").json["accounts"]["paper"]["models"][MODEL]["enabled"] is None


def test_a_problem_with_brackets_is_no_markup(traded: Cli) -> None:
    (traded.home / "models" / "[red]X_H1.zip").write_bytes(b"x")
    assert "[red]X_H1" in traded("status").out


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (172800, "2 d")]
)
def test_ages_are_short(seconds: float, text: str) -> None:
    assert age(seconds) == text
