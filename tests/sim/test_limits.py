"""Requests per sliding second."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.sim.limits import HISTORICAL_PER_SECOND, REQUESTS_PER_SECOND, Allowance, Rates, Traffic

SECOND = 1_000_000_000

arrivals = st.lists(st.tuples(st.integers(0, 50_000_000), st.booleans()), max_size=300).map(
    lambda steps: [(sum(gap for gap, _ in steps[: i + 1]), slow) for i, (_, slow) in enumerate(steps)]
)


def most(times: list[int]) -> int:
    """The most instants within any second, counted the slow way."""
    return max((sum(1 for one in times if last - SECOND < one <= last) for last in times), default=0)


@given(arrivals)
def test_no_second_ever_holds_more_than_is_allowed(steps: list[tuple[int, bool]]) -> None:
    allowance = Allowance()
    admitted = [(at, slow) for at, slow in steps if allowance.admits(at, historical=slow)]
    assert most([at for at, _ in admitted]) <= REQUESTS_PER_SECOND
    assert most([at for at, slow in admitted if slow]) <= HISTORICAL_PER_SECOND


@given(arrivals)
def test_what_is_reported_is_what_came(steps: list[tuple[int, bool]]) -> None:
    traffic = Traffic()
    for at, slow in steps:
        traffic.add(1, at, historical=slow)
    slow_times = [at for at, slow in steps if slow]
    assert traffic.rates == Rates(len(steps), len(slow_times), most([at for at, _ in steps]), most(slow_times))


def test_fifty_at_once_pass_and_one_more_a_second_later() -> None:
    allowance = Allowance()
    assert all(allowance.admits(7, historical=False) for _ in range(50))
    assert not allowance.admits(7, historical=False)
    assert not allowance.admits(6 + SECOND, historical=False)
    assert allowance.admits(7 + SECOND, historical=False)


def test_refused_requests_use_nothing_up() -> None:
    allowance = Allowance()
    for _ in range(HISTORICAL_PER_SECOND):
        assert allowance.admits(0, historical=True)
    for at in range(0, SECOND, SECOND // 10):
        assert not allowance.admits(at, historical=True)
    assert allowance.admits(SECOND, historical=True)


def test_connections_are_counted_apart() -> None:
    traffic = Traffic()
    for connection in (1, 2):
        for _ in range(3):
            traffic.add(connection, 0, historical=True)
    traffic.forget(1)
    assert traffic.rates == Rates(6, 6, 3, 3)
