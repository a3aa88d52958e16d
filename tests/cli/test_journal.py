"""``oracle-batch journal``: the journal for people and for other programs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from oracle_batch.hands.texts import parse_wire
from oracle_batch.readback import COLUMNS
from tests.cli.conftest import MODEL, TICKS, Cli, snapshot

EXPECTED = [
    "time", "t", "account", "kind", "model", "symbol", "bar_time", "id", "position_id", "side", "volume_cents", "price",
    "slippage", "profit", "swap", "commission", "status", "reason", "text",
]  # fmt: skip


def lines(cli: Cli, *arguments: object) -> list[dict[str, Any]]:
    ran = cli("journal", "--format", "json", *arguments)
    assert ran.code == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()]


def month(cli: Cli) -> Path:
    (path,) = (cli.home / "state" / "journal" / "paper").iterdir()
    return path


def test_every_line_is_an_object_with_the_columns_and_the_record(traded: Cli) -> None:
    before = snapshot(traded.home)
    found = lines(traded)
    assert len(found) == len(month(traded).read_text().splitlines())
    assert all(list(one) == [*EXPECTED, "record"] for one in found)
    assert {one["kind"] for one in found} == {"signal", "event", "intent", "ack", "fill", "close"}
    assert {one["account"] for one in found} == {"paper"}
    assert snapshot(traded.home) == before


def test_csv_has_the_same_columns_and_rows(traded: Cli) -> None:
    ran = traded("journal", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert list(COLUMNS) == EXPECTED
    assert list(rows[0]) == EXPECTED
    for row, one in zip(rows, lines(traded), strict=True):
        assert row == {name: "" if one[name] is None else str(one[name]) for name in EXPECTED}


def test_an_empty_journal_is_a_header_and_no_rows(fresh: Cli) -> None:
    assert fresh("journal", "--format", "csv").out == ",".join(EXPECTED) + "\n"
    assert fresh("journal", "--format", "json").out == ""
    assert fresh("journal").out == "nothing in the journal\n"


def test_what_was_traded_is_in_its_columns(traded: Cli) -> None:
    opening, closing = lines(traded, "--kind", "fill")[:2]
    assert (opening["model"], opening["symbol"], opening["side"], opening["text"]) == (MODEL, "EURUSD", "buy", "OPENED")
    assert opening["volume_cents"] > 0
    assert opening["price"] > 1
    assert (opening["reason"], opening["profit"]) == (None, 0.0)
    assert (closing["side"], closing["text"], closing["reason"]) == ("sell", "CLOSED", "order")
    assert closing["position_id"] == opening["position_id"]
    leg = lines(traded, "--kind", "intent")[0]
    assert (leg["id"], leg["side"], leg["text"].split()[0]) == (opening["id"], "buy", "OPEN")
    (end,) = lines(traded, "--kind", "close")
    assert end["profit"] == closing["profit"]


def test_every_wire_form_in_the_journal_is_read_back(traded: Cli) -> None:
    wires = [one["text"] for one in lines(traded) if one["kind"] in ("signal", "ack", "close")]
    assert len(wires) >= 5
    for text in wires:
        assert parse_wire(text).symbol == "EURUSD"


@pytest.mark.parametrize("kind", ["signal", "intent", "ack", "fill", "close", "event"])
def test_a_kind(traded: Cli, kind: str) -> None:
    found = lines(traded, "--kind", kind)
    assert found
    assert {one["kind"] for one in found} == {kind}


@pytest.mark.parametrize(("name", "some"), [(MODEL, True), ("EURUSD", True), ("GBPUSD", False), ("EUR", False)])
def test_a_model_or_a_symbol(traded: Cli, name: str, some: bool) -> None:
    found = lines(traded, "--model", name)
    assert bool(found) is some
    assert {one["model"] for one in found} <= {MODEL}


def test_since_an_instant_or_a_day(traded: Cli) -> None:
    everything = lines(traded)
    late = lines(traded, "--since", TICKS[1])
    assert 0 < len(late) < len(everything)
    assert late == [one for one in everything if one["time"] >= "2026-07-24T08:15:01"]
    assert lines(traded, "--since", late[0]["t"]) == late
    assert lines(traded, "--since", "2026-07-24") == everything
    assert lines(traded, "--since", "2026-07-25") == []


def test_the_table_is_for_people(traded: Cli) -> None:
    ran = traded("journal")
    header, rule, *rows = ran.out.splitlines()
    assert header.split() == ["time", "account", "kind", "model", "text", "position", "net", "reason"]
    assert set(rule.strip()) == {"─"}
    assert any("ACK|EURUSD|LONG" in row and "|OK|T:1|" in row for row in rows)
    assert "2026-07-24 08:00:01" in rows[0]


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_damaged_lines_are_told_by_number_the_others_shown(traded: Cli, form: str) -> None:
    path = month(traded)
    whole = traded("journal", "--format", form).out
    data = path.read_bytes().splitlines(keepends=True)
    data.insert(1, b"not a line\n")
    path.write_bytes(b"".join(data))
    ran = traded("journal", "--format", form)
    assert ran.code == 65
    assert f"{path}: line 2: its checksum does not fit" in ran.err
    assert ran.out == whole


def test_accounts_are_merged_by_time_and_one_may_be_asked_for(traded: Cli) -> None:
    config = traded.home / "config" / "oracle.toml"
    config.write_text('[[accounts]]\naccount = "paper"\n[[accounts]]\naccount = "second"\n')
    (traded.home / "state" / "journal" / "paper").rename(traded.home / "state" / "journal" / "third")
    for account in ("paper", "second"):
        folder = traded.home / "state" / "journal" / account
        folder.mkdir(mode=0o700)
        (folder / "2026-07.jsonl").write_bytes((folder.parent / "third" / "2026-07.jsonl").read_bytes())
        (folder / "2026-07.jsonl").chmod(0o600)
    found = lines(traded)
    assert [one["t"] for one in found] == sorted(one["t"] for one in found)
    assert {one["account"] for one in found} == {"paper", "second"}
    assert {one["account"] for one in lines(traded, "--account", "second")} == {"second"}
    assert {one["account"] for one in lines(traded, "--account", "third")} == {"third"}, "given up, and still readable"


@pytest.mark.parametrize(
    ("code", "arguments", "message"),
    [
        (64, ["--since", "yesterday"], "--since: 'yesterday' is no instant"),
        (64, ["--since", "2026-07-24T08:00:00"], "--since: '2026-07-24T08:00:00' has no UTC offset"),
        (64, ["--since", "inf"], "no instant between 1970 and 9999"),
        (64, ["--kind", "order"], "'order' is not one of"),
        (64, ["--format", "xml"], "'xml' is not one of"),
        (78, ["--account", "other"], "there is no account 'other' (known: paper)"),
    ],
)
def test_a_wrong_call(code: int, arguments: list[str], message: str, fresh: Cli) -> None:
    ran = fresh("journal", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err
