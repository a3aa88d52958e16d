"""Short lives that are known beforehand: each goes through one kind of trouble, and ends at rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from tests.stateful.machine import Life
from tests.tick.test_tick_safety import MODELS

CALM: Final[list[object]] = [None]
Trouble = Callable[[Life], None]


def live(trouble: Trouble, seed: int = 11) -> None:
    """A whole life: a first bar, the trouble, and the rest, with everything checked that a random life is held to."""
    life = Life()
    try:
        life.begin(seed=seed, accounts=1, cold=False)
        trouble(life)
    except BaseException:
        life.patch.undo()
        raise
    life.teardown()


def _next(life: Life, *deaths: tuple[int, float], fault: str | None = None, lag: str | None = None) -> None:
    """A bar whose run dies, or meets a fault, and the same bar once more in fair weather."""
    life.bar_closes(late=1.0, deaths=list(deaths) or CALM, fault=fault, lag=lag)
    life.same_bar_again(deaths=CALM, fault=None)


def nothing_answers(lag: str, life: Life) -> None:
    """Everything arrives, nothing answers, and the lists are behind for a while in one way."""
    for _ in range(4):
        _next(life, fault="answers lost", lag=lag)
        for _ in range(2):
            life.same_bar_again(deaths=CALM, fault=None)


def runs_die(places: Iterable[int], life: Life) -> None:
    """Each run dies before another one of its calls that change a file."""
    for place in places:
        _next(life, (place, 0.0))


def writes_are_torn(life: Life) -> None:
    """Runs die within the write of their intents, and within that of their answers."""
    for share in (0.2, 0.5, 0.8, 0.95):
        _next(life, (3, share))
        _next(life, (0, share))


def bars_are_revised(life: Life) -> None:
    """A run dies when its intents are written; until the next one each bar says something else."""
    for word in ("L3", "S3", "L1"):
        life.bar_closes(late=1.0, deaths=[(1, 0.0)], fault=None, lag=None)
        for name in MODELS:
            life.bar_is_revised(name=name, back=0, word=word)
        life.same_bar_again(deaths=CALM, fault=None)


def parts_are_closed(life: Life) -> None:
    """Somebody closes a part of what is held; our close then ends the rest."""
    _next(life)
    for number in range(4):
        life.somebody_closes_by_hand(number=number, part=True)
    _next(life)


LIVES: Final[dict[str, Trouble]] = {
    "nothing answers, orders unseen at first": partial(nothing_answers, "unseen"),
    "nothing answers, orders listed as working": partial(nothing_answers, "working"),
    "runs die": partial(runs_die, range(8)),
    "writes are torn": writes_are_torn,
    "bars are revised": bars_are_revised,
    "parts are closed": parts_are_closed,
}
