"""A decision that was got ready before its last bar is the same, to the last bit, as one on the whole window."""

from __future__ import annotations

from dataclasses import replace

from oracle_batch.bars import FIELDS, Bars
from oracle_batch.brain.awaiting import Awaiting
from oracle_batch.brain.decide import Brain, Decision, stack_windows
from oracle_batch.brain.twin import FLAT
from oracle_batch.broker.base import Bar
from oracle_batch.types import WINDOW
from tests.brain.test_decide import bits, histories, models


def last(bars: Bars) -> Bar:
    return Bar(*(getattr(bars, name)[-1].item() for name in FIELDS))


def same(left: Decision, right: Decision) -> bool:
    return (left.action, left.hmm_state, bits(left.twin)) == (right.action, right.hmm_state, bits(right.twin))


def test_equal_to_the_whole_window_after_any_rehearsal() -> None:
    crowd, twins = models(), [FLAT] * len(models())
    series = histories(WINDOW + 30, seed=5)
    for end in range(WINDOW, WINDOW + 30):
        windows = [bars[: end + 1] for bars in series]
        whole = Brain(crowd).decide(stack_windows(windows), twins)
        awaiting = Awaiting(crowd, [bars[:end] for bars in series])
        newest = {row: last(bars) for row, bars in enumerate(windows)}
        awaiting.decide({row: replace(bar, close=bar.close * 1.01, volume=0.0) for row, bar in newest.items()}, twins)
        found = awaiting.decide(newest, twins)
        assert all(same(*pair) for pair in zip(found, whole, strict=True))
        twins = [decision.twin for decision in whole]


def test_a_model_without_its_bar_does_not_disturb_the_others() -> None:
    crowd, series = models(), histories(WINDOW + 1, seed=9)
    twins = [FLAT] * len(crowd)
    whole = Brain(crowd).decide(stack_windows(series), twins)
    awaiting = Awaiting(crowd, [bars[:-1] for bars in series])
    there = {row: last(bars) for row, bars in enumerate(series) if row % 3}
    found = awaiting.decide(there, twins)
    assert all(same(found[row], whole[row]) for row in there)
