"""``orphans``: seen, and touched only by their ticket."""

from __future__ import annotations

import pytest

from oracle_batch.broker.base import OpenIntent
from oracle_batch.errors import StateError, UsageError
from oracle_batch.operating.orphans import adopt, close_orphan, orphans
from tests.operating.acts import closed, job, spoil, words
from tests.tick.fakes import RefusesCloses
from tests.tick.lab import Lab, came_to, run, tree
from tests.tick.test_sync_scenarios import CLOSED, EURUSD, LABEL, NOOP, OPENED, TURNED, held, opened, waiting

GBPUSD = "GBPUSD_M15"
COMMENT = "O|2.0|1|5|2|1000|0.0|0.00"


def flat(lab: Lab, script: str = "W S2 S2 S3 W") -> None:
    """A model that is flat after bar 0; what follows is ``script``."""
    lab.add("EURUSD", "M15", f"W {script}")
    lab.tick(0)


def mine(lab: Lab, direction: int = -1, lots: int = 3, label: str = "", comment: str = "") -> int:
    """A position that somebody else opens, of some hundredths of a lot."""
    now = lab.clock.now()
    leg = OpenIntent("by hand", "", "EURUSD", direction, 1, lots * 100_000, label, comment, now, now + 60)
    (ack,) = run(lab.paper().execute([leg], lambda _: {}))
    assert ack.position_id is not None
    return int(ack.position_id)


# the list


def test_the_list_is_of_positions_that_are_no_models_and_writes_nothing(lab: Lab) -> None:
    opened(lab, "L1")
    tickets = [mine(lab, label=label) for label in ("", "somebody", "oracle:by hand")]
    before = tree(lab.workspace.home)
    found = orphans(job(lab))
    assert [one.position.position_id for one in found.found] == tickets
    assert {one.account for one in found.found} == {"paper"}
    assert tree(lab.workspace.home) == before


def test_the_list_needs_no_lock_and_tells_which_account_failed(lab: Lab) -> None:
    lab.accounts("one", "two")
    lab.add("EURUSD", "M15", "W")
    lab.tick(0)
    lab.workspace.paper_path("two").write_bytes(b"{")
    found = orphans(job(lab))
    assert found.found == []
    assert list(found.errors) == ["two"]


# close


def test_exactly_the_named_position_is_closed(lab: Lab) -> None:
    opened(lab, "L1 W")
    first, second = mine(lab), mine(lab, label="somebody")
    found = close_orphan(job(lab), first)
    assert words(found) == [("", first, "OK", None)]
    assert found.exit_code == 0
    assert [label for label, _, _ in lab.positions()] == [LABEL, "somebody"]
    assert set(lab.books().models) == {EURUSD}
    assert words(close_orphan(job(lab), first)) == []
    assert second in [one.position.position_id for one in orphans(job(lab)).found]
    ends = [one for one in lab.journal() if type(one).__name__ == "Close"]
    assert [(one.model, one.wire.split("|")[1]) for one in ends] == [("", "EURUSD")]
    assert lab.play(EURUSD, 4, first=2) == [NOOP, CLOSED]


def test_a_models_own_position_is_not_closed_as_an_orphan(lab: Lab) -> None:
    opened(lab, "L1")
    with pytest.raises(UsageError, match=f"held by {EURUSD}") as refusal:
        close_orphan(job(lab), held(lab))
    assert refusal.value.fix == f"oracle-batch close {EURUSD}"
    assert len(lab.positions()) == 1


def test_a_refused_close_of_an_orphan_is_told_and_never_tried_again_unasked(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat(lab)
    ticket = mine(lab)
    spoil(monkeypatch, RefusesCloses)
    found = close_orphan(job(lab), ticket)
    assert words(found) == [("", ticket, "FAIL", "MARKET_CLOSED")]
    assert found.exit_code == 1
    lab.tick(1)
    assert "" in [label for label, _, _ in lab.positions()]


def test_a_ticket_is_one_accounts(lab: Lab) -> None:
    lab.accounts("one", "two")
    flat(lab)
    for command in (lambda: close_orphan(job(lab), 1), lambda: adopt(job(lab), 1, EURUSD, 1)):
        with pytest.raises(UsageError, match="a ticket is one account's"):
            command()


# adopt


def test_an_adopted_position_is_the_models_from_then_on(lab: Lab) -> None:
    flat(lab, "S2 S2 S3 W")
    lab.trade("EURUSD", enabled=False)
    lab.tick(1)
    lab.trade("EURUSD", lot_moderate=0.03, lot_strong=0.05)
    ticket = mine(lab)
    adopted = adopt(job(lab), ticket, EURUSD, 2)
    assert adopted is not None
    assert (adopted.position_id, adopted.direction, adopted.intensity, adopted.volume_cents) == (ticket, -1, 2, 300_000)
    assert waiting(lab) is None
    assert orphans(job(lab)).found == []
    report = lab.tick(2)
    assert came_to(report, EURUSD) == NOOP, "it holds what its signal wants"
    assert report.accounts["paper"].orphans == 0
    assert came_to(lab.tick(3), EURUSD) == TURNED
    assert lab.positions() == [(LABEL, -1, 500_000)]
    assert came_to(lab.tick(4), EURUSD) == CLOSED


def test_what_the_signal_does_not_want_is_closed_at_the_next_bar(lab: Lab) -> None:
    flat(lab, "W S2")
    ticket = mine(lab, direction=1)
    adopt(job(lab), ticket, EURUSD, 1)
    assert lab.play(EURUSD, 3, first=1) == [CLOSED, OPENED]


def test_adopting_again_changes_nothing(lab: Lab) -> None:
    flat(lab)
    ticket = mine(lab)
    adopt(job(lab), ticket, EURUSD, 2)
    before = tree(lab.workspace.state / "executor"), tree(lab.workspace.state / "journal")
    assert adopt(job(lab), ticket, EURUSD, 2) is None
    assert (tree(lab.workspace.state / "executor"), tree(lab.workspace.state / "journal")) == before


def test_an_adopted_position_is_closed_by_its_model_and_no_orphan_any_more(lab: Lab) -> None:
    flat(lab)
    ticket = mine(lab)
    adopt(job(lab), ticket, EURUSD, 2)
    with pytest.raises(UsageError, match=f"held by {EURUSD}"):
        close_orphan(job(lab), ticket)
    assert closed(lab, EURUSD) == [(EURUSD, ticket, "OK", None)]
    assert waiting(lab) == ("operator", -1)


def test_an_adopted_position_that_ends_otherwise_is_noticed(lab: Lab) -> None:
    flat(lab, "S2 S2 S2")
    adopt(job(lab), mine(lab), EURUSD, 2)
    lab.close_by_hand(1)
    assert came_to(lab.tick(1), EURUSD) == ("WAIT_SYNC", "WAIT_SYNC", "MANUAL")


def test_the_intensity_is_the_comments_or_the_one_given_and_never_the_volumes(lab: Lab) -> None:
    flat(lab, "S2 S2")
    ticket = mine(lab, comment=COMMENT)
    adopted = adopt(job(lab), ticket, EURUSD, None)
    assert adopted is not None
    assert (adopted.intensity, adopted.relabelled) == (2, False)


def test_an_intensity_that_is_given_wins_over_the_comments(lab: Lab) -> None:
    flat(lab, "S3 S3")
    adopted = adopt(job(lab), mine(lab, comment=COMMENT), EURUSD, 3)
    assert adopted is not None
    assert (adopted.intensity, adopted.relabelled) == (3, True)
    assert came_to(lab.tick(1), EURUSD) == NOOP


def test_a_comment_of_the_other_direction_says_nothing(lab: Lab) -> None:
    flat(lab)
    with pytest.raises(UsageError, match="does not say what intensity"):
        adopt(job(lab), mine(lab, direction=1, comment=COMMENT), EURUSD, None)


@pytest.mark.parametrize(
    ("model", "intensity", "why"),
    [
        ("EURUSD", 1, "there is no model 'EURUSD'"),
        (GBPUSD, 1, "trades GBPUSD, position 1 is in EURUSD"),
        (EURUSD, None, "does not say what intensity"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(
    lab: Lab, model: str, intensity: int | None, why: str
) -> None:
    lab.add("GBPUSD", "M15", "W")
    flat(lab)
    ticket = mine(lab)
    before = tree(lab.workspace.state / "executor"), tree(lab.workspace.state / "journal")
    with pytest.raises(UsageError, match=why):
        adopt(job(lab), ticket, model, intensity)
    assert (tree(lab.workspace.state / "executor"), tree(lab.workspace.state / "journal")) == before


def test_a_model_takes_one_position_and_a_position_one_model(lab: Lab) -> None:
    lab.add("EURUSD", "M30", "W")
    opened(lab, "L1")
    ticket = mine(lab)
    with pytest.raises(UsageError, match="already holds a position"):
        adopt(job(lab), ticket, EURUSD, 1)
    adopt(job(lab), ticket, "EURUSD_M30", 1)
    with pytest.raises(UsageError, match="is held by EURUSD_M30"):
        adopt(job(lab), ticket, EURUSD, 1)
    with pytest.raises(UsageError, match="holds no position 99"):
        adopt(job(lab), 99, "EURUSD_M30", 1)


def test_damaged_books_take_no_position(lab: Lab) -> None:
    opened(lab, "W")
    closed(lab, EURUSD, lab.close_of(1) + 300)
    path = lab.workspace.executor_path("paper")
    path.write_bytes(path.read_bytes().replace(b'"decisions_revised": 0', b'"decisions_revised": -1'))
    assert EURUSD in lab.books().damaged
    with pytest.raises(StateError, match="decisions_revised"):
        adopt(job(lab), mine(lab), EURUSD, 1)


def test_books_that_were_lost_with_the_journal_leave_the_position_an_orphan_again(lab: Lab) -> None:
    """The books alone hold an adoption; without them nobody claims the position, and nobody touches it."""
    flat(lab, "S2 S2 S2")
    ticket = mine(lab)
    adopt(job(lab), ticket, EURUSD, 2)
    lab.workspace.executor_path("paper").unlink()
    assert came_to(lab.tick(1), EURUSD) == NOOP, "the journal still tells"
    lab.workspace.executor_path("paper").unlink()
    for path in lab.workspace.journal_folder("paper").iterdir():
        path.unlink()
    assert [one.position.position_id for one in orphans(job(lab)).found] == [ticket]
    assert came_to(lab.tick(2), EURUSD) == ("WAIT_SYNC", "WAIT_SYNC", "MISSED_ENTRY")
    assert lab.positions() == [("", -1, 300_000)]
