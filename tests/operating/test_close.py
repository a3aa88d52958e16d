"""``close``: our positions end now, on record, once; and nobody else's."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from oracle_batch.broker.base import Ack, CloseIntent, Gate, Intent
from oracle_batch.errors import BrokerError, ConfigError, LockHeld
from oracle_batch.hands.texts import ClosedText, parse_wire
from oracle_batch.operating.closing import close
from oracle_batch.operating.visits import visit
from oracle_batch.store.lock import hold
from oracle_batch.store.records import Close, Fill
from tests.operating.acts import closed, job, mend, spoil
from tests.tick.fakes import RefusesCloses, Wrapped, install
from tests.tick.lab import Lab, came_to, outcome, tree
from tests.tick.test_sync_scenarios import CLOSED, EURUSD, LABEL, NOOP, OPENED, held, opened, waiting
from tests.tick.test_tick_crash import KilledError

GBPUSD = "GBPUSD_M15"
WAITS = ("WAIT_SYNC", "WAIT_SYNC", "OPERATOR")


def two(lab: Lab, rest: str = "L1 L1 L2 S1") -> float:
    """EURUSD long and GBPUSD short; gives an instant between two bars."""
    lab.add("GBPUSD", "M15", "W S1 S1 S1 S1")
    opened(lab, rest)
    return lab.close_of(1) + 300


# what is closed


def test_a_model_is_closed_and_the_others_stay(lab: Lab) -> None:
    now = two(lab)
    assert closed(lab, EURUSD, now) == [(EURUSD, 1, "OK", None)]
    assert lab.positions() == [("oracle:GBPUSD_M15", -1, 100_000)]
    assert waiting(lab) == ("operator", 1)
    books = lab.books().models
    assert books[EURUSD].position is None
    assert books[GBPUSD].position is not None


@pytest.mark.parametrize("target", ["EURUSD", EURUSD, None])
def test_a_symbol_names_all_its_models_and_all_means_all(lab: Lab, target: str | None) -> None:
    now = two(lab)
    lab.add("EURUSD", "M30", "L3")
    lab.tick(1, late=2)
    expected = {"EURUSD": [EURUSD, "EURUSD_M30"], EURUSD: [EURUSD], None: [EURUSD, GBPUSD, "EURUSD_M30"]}[target]
    assert sorted(one[0] for one in closed(lab, target, now)) == sorted(expected)
    assert len(lab.positions()) == 3 - len(expected)


def test_what_is_journalled_is_the_intent_the_answer_the_fill_and_the_end(lab: Lab) -> None:
    now = two(lab)
    before = len(lab.journal())
    closed(lab, EURUSD, now)
    leg, ack, fill, end, *rest = lab.journal()[before:]
    assert isinstance(leg, CloseIntent)
    assert (leg.intent_id, leg.cause, leg.decided_at) == (f"ob-{EURUSD}-{int(now)}-c1", "operator", now)
    assert (ack.intent_id, ack.status, ack.wire.split("|")[0]) == (leg.intent_id, "OK", "ACK")
    assert isinstance(fill, Fill)
    assert fill.deal.closing
    assert isinstance(end, Close)
    word = parse_wire(end.wire)
    assert isinstance(word, ClosedText)
    assert (word.symbol, word.position_id, word.reason, word.cause) == ("EURUSD", 1, "order", "operator")
    assert [(one.name, one.detail) for one in rest] == [("position_ended", {"time": now})]


def test_closing_again_finds_nothing_and_writes_nothing(lab: Lab) -> None:
    now = two(lab)
    closed(lab, None, now)
    before = tree(lab.workspace.state / "journal"), tree(lab.workspace.state / "executor"), lab.deals()
    for later in (0, 1, 600):
        assert closed(lab, None, now + later) == []
        assert closed(lab, EURUSD, now + later) == []
    assert (tree(lab.workspace.state / "journal"), tree(lab.workspace.state / "executor"), lab.deals()) == before


def test_nothing_is_open_before_the_first_tick(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W")
    assert closed(lab, EURUSD) == closed(lab, None) == []
    assert not lab.workspace.journal_folder("paper").exists()


def test_a_name_that_nobody_knows_is_told_and_closes_nothing(lab: Lab) -> None:
    now = two(lab)
    with pytest.raises(ConfigError, match="no model is or trades 'EURUSD_H1'"):
        close(job(lab, now), "EURUSD_H1")
    assert len(lab.positions()) == 2


def test_positions_of_others_are_never_touched(lab: Lab) -> None:
    now = two(lab)
    for label in ("", "somebody else", "oracle:by hand"):
        lab.open_by_hand("EURUSD", -1, label)
    assert sorted(one[0] for one in closed(lab, None, now)) == [EURUSD, GBPUSD]
    assert [label for label, _, _ in lab.positions()] == ["", "somebody else", "oracle:by hand"]


def test_a_model_whose_bundle_is_gone_is_still_closed(lab: Lab) -> None:
    now = two(lab)
    lab.workspace.bundle_path(EURUSD).unlink()
    assert closed(lab, "EURUSD", now) == [(EURUSD, 1, "OK", None)]
    assert waiting(lab) == ("operator", 1)


def test_a_damaged_bundle_does_not_stop_the_closes(lab: Lab) -> None:
    now = two(lab)
    lab.workspace.bundle_path(EURUSD).write_bytes(b"broken")
    assert len(closed(lab, None, now)) == 2


def test_several_positions_of_one_model_are_all_closed(lab: Lab) -> None:
    now = two(lab)
    second = lab.open_by_hand("EURUSD", label=LABEL, comment="O|2.0|1|1|1|1000|0.0|0.00")
    assert closed(lab, EURUSD, now) == [(EURUSD, 1, "OK", None), (EURUSD, second, "OK", None)]
    assert waiting(lab) == ("operator", 1)


def test_a_position_of_unknown_intensity_is_closed_and_waited_for(lab: Lab) -> None:
    """Its books hold nothing, so the direction to wait in comes from the closing deal."""
    lab.add("EURUSD", "M15", "W S1 S2")
    lab.tick(0)
    lab.open_by_hand("EURUSD", -1, LABEL, "moved by hand")
    assert [one[2] for one in closed(lab, EURUSD, lab.close_of(0) + 300)] == ["OK"]
    assert waiting(lab) == ("operator", -1)
    assert lab.play(EURUSD, 3, first=1) == [WAITS, WAITS]


def test_damaged_books_stay_as_they_are_and_the_position_is_closed(lab: Lab) -> None:
    now = two(lab)
    path = lab.workspace.executor_path("paper")
    path.write_bytes(path.read_bytes().replace(b'"direction": 1,', b'"direction": 7,'))
    assert EURUSD in lab.books().damaged
    assert closed(lab, EURUSD, now) == [(EURUSD, 1, "OK", None)]
    assert EURUSD in lab.books().damaged
    assert [label for label, _, _ in lab.positions()] == ["oracle:GBPUSD_M15"]


# what happens then


def test_the_model_waits_until_the_opposite_direction(lab: Lab) -> None:
    opened(lab, "L1 L2 L3 S1")
    closed(lab, EURUSD, lab.close_of(1) + 300)
    assert lab.play(EURUSD, 6, first=2) == [WAITS, WAITS, WAITS, OPENED]


def test_the_model_waits_until_wait(lab: Lab) -> None:
    opened(lab, "L1 W L1 W")
    closed(lab, EURUSD, lab.close_of(1) + 300)
    assert lab.play(EURUSD, 6, first=2) == [WAITS, NOOP, OPENED, CLOSED]


def test_a_wait_before_the_close_does_not_end_the_waiting(lab: Lab) -> None:
    """No tick ran on bars 2 to 4, so the next one consumes a WAIT that was over before the operator closed."""
    opened(lab, "W L1 L1 L2 L3")
    closed(lab, EURUSD, lab.close_of(4) + 300)
    assert lab.play(EURUSD, 7, first=5) == [WAITS, WAITS]


def test_a_wait_after_the_close_ends_the_waiting_though_no_tick_saw_it(lab: Lab) -> None:
    opened(lab, "L1 L1 W L1 L2")
    closed(lab, EURUSD, lab.close_of(2) + 300)
    assert came_to(lab.tick(5), EURUSD) == OPENED


# refused, unknown, interrupted


def test_a_refused_close_is_pending_and_carried_out_by_the_next_tick(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(lab, "L1 L2")
    spoil(monkeypatch, RefusesCloses)
    found = close(job(lab, lab.close_of(1) + 300), EURUSD)
    assert [(one.status, one.reason) for one in found.closed] == [("FAIL", "MARKET_CLOSED")]
    assert found.exit_code == 1
    pending = lab.books().models[EURUSD].pending_close
    assert pending is not None
    assert (pending.position_id, pending.cause) == (1, "operator")
    assert came_to(lab.tick(2), EURUSD) == ("CLOSE", "OK", None)
    assert lab.positions() == []
    assert came_to(lab.tick(3), EURUSD) == WAITS


def test_an_unknown_outcome_exits_1_and_the_next_command_asks(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Wrapped):
        async def execute(self, intents: Sequence[Intent], gate: Gate) -> list[Ack]:
            await super().execute(intents, gate)
            raise BrokerError("connection lost")

    opened(lab, "L1 L2")
    now = lab.close_of(1) + 300
    spoil(monkeypatch, Silent)
    found = close(job(lab, now), None)
    assert [(one.status, one.reason) for one in found.closed] == [("UNKNOWN", "NO_ANSWER")]
    assert found.exit_code == 1
    assert held(lab) == 1, "the books wait for the answer"
    mend(monkeypatch)
    assert closed(lab, None, now + 60) == [(EURUSD, 1, "OK", "RECOVERED")]
    assert waiting(lab) == ("operator", 1)
    assert len(lab.deals()) == 2


def test_a_stop_that_was_quicker_is_told_as_what_it_was(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Wrapped):
        async def execute(self, intents: Sequence[Intent], gate: Gate) -> list[Ack]:
            by_hand = CloseIntent("by hand", "", "", 1, 100_000, lab.clock.now())
            await self.inner.execute([by_hand], gate)
            return await super().execute(intents, gate)

    opened(lab, "L1")
    spoil(monkeypatch, Stopped)
    assert closed(lab, EURUSD, lab.close_of(1) + 300) == [(EURUSD, 1, "OK", "ALREADY_CLOSED")]


def test_an_interrupted_tick_is_settled_first(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its entry was filled but never booked; the operator's command adopts it, and closes it."""

    class Gone(Wrapped):
        async def execute(self, intents: Sequence[Intent], gate: Gate) -> list[Ack]:
            await super().execute(intents, gate)
            raise KilledError

    lab.add("EURUSD", "M15", "W L1 L1 L2")
    lab.tick(0)
    install(monkeypatch, Gone)
    with pytest.raises(KilledError):
        lab.tick(1)
    monkeypatch.undo()
    assert closed(lab, EURUSD, lab.close_of(1) + 30) == [(EURUSD, 1, "OK", None)]
    assert waiting(lab) == ("operator", 1)
    assert lab.play(EURUSD, 4, first=1) == [(None, None, None), WAITS, WAITS]
    assert len(lab.deals()) == 2


def test_a_revision_that_an_interrupted_tick_saw_is_not_lost_by_a_command_in_between(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when the official bar was written and the twin was not, only the journal knows that the twin is behind."""
    from oracle_batch import committing

    opened(lab, "L1 S1 S1 W")
    lab.add("GBPUSD", "M15", "W S1 S1 S1 S1")
    lab.tick(2)
    calm = lab.copy(lab.workspace.home.parent / "calm")
    for one in (lab, calm):
        one.say(EURUSD, 2, "S1")
    calm.tick(3)
    real, calls = committing.replace_all, []

    def dies(items: object) -> None:
        calls.append(items)
        if len(calls) == 2:
            raise KilledError
        real(items)  # type: ignore[arg-type]

    monkeypatch.setattr(committing, "replace_all", dies)
    with pytest.raises(KilledError):
        lab.tick(3)
    monkeypatch.undo()
    closed(lab, GBPUSD, lab.close_of(3) + 20)
    closed(lab, GBPUSD, lab.close_of(3) + 21)
    lab.tick(3, late=30)
    assert lab.twin(EURUSD) == calm.twin(EURUSD)
    counted = [one.books().models[EURUSD].decisions_revised for one in (lab, calm)]
    assert counted == [1, 1]


# the lock, and several accounts


def test_a_command_that_cannot_have_the_lock_does_nothing(lab: Lab) -> None:
    now = two(lab)
    before = tree(lab.workspace.state)
    with hold(lab.workspace.lock), pytest.raises(LockHeld):
        visit(job(lab, now), lambda desk: pytest.fail(f"worked on {desk.name}"), timeout_s=0.1)
    assert {**tree(lab.workspace.state), "lock": 0} == {**before, "lock": 0}


def test_every_account_is_closed_and_one_failing_does_not_stop_the_other(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Down(Wrapped):
        async def connect(self) -> None:
            raise BrokerError("no route")

    lab.accounts("one", "two")
    lab.add("EURUSD", "M15", "W L1 L1")
    lab.play(EURUSD, 2)
    spoil(monkeypatch, Down, "one")
    found = close(job(lab, lab.close_of(1) + 300), None)
    assert [(one.account, one.status) for one in found.closed] == [("two", "OK")]
    assert list(found.errors) == ["one"]
    assert found.exit_code == 1
    mend(monkeypatch)
    found = close(job(lab), None)
    assert [(one.account, one.status) for one in found.closed] == [("one", "OK")]
    assert found.exit_code == 0
    report = lab.tick(2)
    assert [came_to(report, EURUSD, name) for name in ("one", "two")] == [WAITS, WAITS]


def test_an_only_account_that_fails_has_its_own_exit_code(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    class Down(Wrapped):
        async def connect(self) -> None:
            raise BrokerError("no route")

    opened(lab, "L1")
    spoil(monkeypatch, Down)
    assert close(job(lab), None).exit_code == 69
    assert close(job(lab), "NOPE").exit_code == 69, "what cannot be asked is not called unknown"


def test_paused_or_disabled_makes_no_difference(lab: Lab) -> None:
    now = two(lab)
    lab.workspace.paused.touch()
    lab.trade("EURUSD", enabled=False)
    assert len(closed(lab, None, now)) == 2


def test_a_tick_after_a_close_says_what_it_waits_for(lab: Lab) -> None:
    opened(lab, "L1")
    closed(lab, EURUSD, lab.close_of(1) + 300)
    assert outcome(lab.tick(2), EURUSD).reason == "OPERATOR"
