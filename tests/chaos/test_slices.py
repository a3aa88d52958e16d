"""A campaign that takes long is played slice by slice, in several runs with one seed."""

from __future__ import annotations

from typing import Any, cast

from tests.chaos import campaigns
from tests.chaos.points import Aim, Expected, Seen

KINDS = ("write journal", "rename twin", "read socket")


def tried(calls: int, first: int = 1, last: int | None = None) -> list[str]:
    """The kills of a slice, where the undisturbed tick made so many calls of each kind."""
    seen = [Seen(Aim(nth, kind), kind, "socket" not in kind, ()) for nth in range(calls) for kind in KINDS]
    expected = Expected(cast(Any, None), cast(Any, None), {}, tuple(seen))
    stage = cast(Any, type("Cold", (), {"armed": False}))
    (kill,) = campaigns.prepare(stage, expected, 7, ["kill"], first=first, last=last)
    assert kill.of == calls * len(KINDS)
    assert kill.whole == ((first, last) == (1, None))
    return [name for name, _ in kill.plays]


def test_slices_make_up_the_whole() -> None:
    whole = tried(20)
    assert [*tried(20, 1, 25), *tried(20, 26, 40), *tried(20, 41)] == whole
    assert len(set(whole)) == 60


def test_a_run_with_a_call_more_has_every_other_call_in_the_same_order() -> None:
    whole = tried(20)
    assert [one for one in tried(21) if one in whole] == whole
