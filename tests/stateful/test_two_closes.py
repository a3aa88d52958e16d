"""A position whose close is on its way and is asked for again: it ends once, on record and in every count."""

from __future__ import annotations

import pytest

from oracle_batch.broker.base import CloseIntent
from oracle_batch.operating import closing
from oracle_batch.store.records import Close
from oracle_batch.types import model_of
from tests.stateful import truth
from tests.stateful.lives import CALM, live
from tests.stateful.machine import Life


@pytest.mark.parametrize("again", [False, True], ids=["left alone", "sent again"])
def test_a_close_that_is_asked_for_while_the_first_is_on_its_way(again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing more is sent; and if it were, the end would still be told and counted once."""
    if again:
        monkeypatch.setattr(closing, "_unsure", lambda _: [])

    def trouble(life: Life) -> None:
        life.bar_closes(late=1.0, deaths=CALM, fault=None, lag=None)
        held = truth.ours(life.lab, "paper")
        life.weather.lag = "filled"
        life.operator_closes(which=None, deaths=CALM * 3, fault="answers lost")
        life.operator_closes(which=None, deaths=CALM, fault=None)
        for _ in range(3):
            life.same_bar_again(deaths=CALM, fault=None)
        journal = life.lab.journal()
        asked = [one.position_id for one in journal if isinstance(one, CloseIntent) and one.cause == "operator"]
        assert set(asked) == {one["position_id"] for one in held}
        ids = {one.intent_id for one in journal if isinstance(one, CloseIntent) and one.cause == "operator"}
        assert (len(ids) > len(held)) is again
        ended = [one.position_id for one in journal if isinstance(one, Close)]
        assert len(ended) == len(set(ended))
        for one in held:
            name = model_of(one["label"])
            assert name is not None
            mine = [end for end in journal if isinstance(end, Close) and end.model == name]
            assert life.lab.losses(name) == sum(end.profit + end.swap - end.commission < 0 for end in mine)

    live(trouble)


def test_a_guard_that_gives_lists_no_time_is_never_shown_one_that_lacks_an_order() -> None:
    """It would take a close that has been carried out for one that never arrived."""

    def trouble(life: Life) -> None:
        for _ in range(4):
            life.bar_closes(late=30.0, deaths=CALM, fault="answers lost", lag="unseen")
            life.guard(deaths=CALM, fault=None, wait=2.0)
            life.same_bar_again(deaths=CALM, fault=None)

    live(trouble)
