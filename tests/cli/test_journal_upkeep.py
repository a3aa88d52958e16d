"""``journal verify`` finds what is wrong with a journal, ``journal compact`` packs old months."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from oracle_batch.broker.base import Deal
from oracle_batch.clock import FrozenClock
from oracle_batch.store import lines
from oracle_batch.store.journal import Journal
from oracle_batch.store.records import AckRecord, Event, Fill
from tests.cli.conftest import Cli, snapshot


def folder(cli: Cli) -> Path:
    return cli.home / "state" / "journal" / "paper"


def month(cli: Cli) -> Path:
    (path,) = folder(cli).glob("*.jsonl")
    return path


def test_a_whole_journal_is_said_to_be_whole(traded: Cli) -> None:
    before = snapshot(traded.home)
    ran = traded("journal", "verify")
    assert ran.code == 0
    assert ran.out.startswith("paper: whole; ")
    found = traded("journal", "verify", "--json").json["accounts"]["paper"]
    assert found["lines"] == len(month(traded).read_text().splitlines())
    assert found["intents"] == found["answered"] > 0
    assert (found["open"], found["problems"]) == ([], [])
    assert snapshot(traded.home) == before


def test_without_a_journal_nothing_is_wrong(fresh: Cli) -> None:
    ran = fresh("journal", "verify")
    assert (ran.code, ran.out) == (0, "paper: whole; 0 lines, 0 order legs, 0 answered, none open\n")


def test_a_changed_byte_is_found_with_its_line(traded: Cli) -> None:
    path = month(traded)
    kept = path.read_bytes().split(b"\n")
    kept[2] = kept[2].replace(b"1", b"2", 1)
    path.write_bytes(b"\n".join(kept))
    ran = traded("journal", "verify")
    assert ran.code == 65
    assert "line 3: its checksum does not fit" in ran.err
    assert ran.out.startswith("paper: damaged; ")


def test_a_line_that_was_taken_away_leaves_the_books_pointing_nowhere(traded: Cli) -> None:
    path = month(traded)
    kept = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(kept[:-2]) + b"\n")
    ran = traded("journal", "verify")
    assert ran.code == 65
    assert "where no line starts or ends" in ran.err


def entries(cli: Cli) -> list[lines.Entry]:
    return [lines.decode(line) for line in month(cli).read_bytes().splitlines()]


def first_fill(cli: Cli) -> Deal:
    return next(one.record.deal for one in entries(cli) if isinstance(one.record, Fill))


def test_a_leg_that_was_filled_twice_is_found(traded: Cli) -> None:
    deal = first_fill(traded)
    again = dataclasses.replace(deal, deal_id=999)
    Journal(folder(traded), FrozenClock(entries(traded)[-1].t)).append([Fill("EURUSD_M15", again)])
    ran = traded("journal", "verify")
    assert ran.code == 65
    assert f"{2 * deal.volume_cents} of {deal.volume_cents} hundredths of a unit were filled" in ran.err


def test_a_deal_that_was_booked_twice_is_found(traded: Cli) -> None:
    deal = first_fill(traded)
    Journal(folder(traded), FrozenClock(entries(traded)[-1].t)).append([Fill("EURUSD_M15", deal)])
    ran = traded("journal", "verify")
    assert ran.code == 65
    assert f"deal {deal.deal_id} is also in" in ran.err


def test_a_leg_without_an_answer_is_open_after_the_mark_and_lost_before_it(traded: Cli) -> None:
    path = month(traded)
    answers = [one for one in entries(traded) if isinstance(one.record, AckRecord)]
    leg = answers[-1].record
    assert isinstance(leg, AckRecord)
    kept = b"".join(lines.encode(Event("gap") if one.record == leg else one.record, one.t) for one in entries(traded))
    path.write_bytes(kept)
    books = traded.home / "state" / "executor" / "paper.json"
    document = json.loads(books.read_text())
    document["journal"]["offset"] = len(kept)
    books.write_text(json.dumps(document))
    ran = traded("journal", "verify")
    assert ran.code == 65
    assert f"{leg.intent_id} has no answer" in ran.err
    document["journal"]["offset"] = 0
    books.write_text(json.dumps(document))
    ran = traded("journal", "verify")
    assert ran.code == 0
    assert f"1 open: {leg.intent_id}" in ran.out


def test_old_months_are_packed_and_still_read(traded: Cli) -> None:
    late = entries(traded)[-1].t
    for days in (31, 62):
        Journal(folder(traded), FrozenClock(late + days * 86400)).append([Event(f"after {days}")])
    before = traded("journal", "--format", "json").out
    assert "nothing to compact" in traded("journal", "compact").out  # the books have not come further
    books = traded.home / "state" / "executor" / "paper.json"
    document = json.loads(books.read_text())
    newest = max(folder(traded).iterdir())
    document["journal"] = {"file": newest.name, "offset": newest.stat().st_size}
    books.write_text(json.dumps(document))
    ran = traded("journal", "compact")
    assert ran.code == 0
    assert ran.out.startswith("paper: 2026-07.jsonl: ")
    assert [path.suffix for path in sorted(folder(traded).iterdir())] == [".parquet", ".jsonl", ".jsonl"]
    assert traded("journal", "--format", "json").out == before
    assert traded("journal", "verify").code == 0


@pytest.mark.parametrize("command", ["verify", "compact"])
def test_an_unknown_account_is_refused(traded: Cli, command: str) -> None:
    ran = traded("journal", command, "--account", "nobody")
    assert ran.code == 78
    assert "no account 'nobody'" in ran.err
