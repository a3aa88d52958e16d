"""The limiter: never more than the server counts, and a whole burst from rest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.broker.ctrader.rates import HISTORICAL, REQUESTS, Limiter


def test_forty_orders_may_leave_at_once_from_rest() -> None:
    limiter = Limiter()
    for number in range(40):
        assert limiter.wait_s(0.0, historical=False) == 0
        limiter.sent(str(number), historical=False)
    assert limiter.free(0.0) == REQUESTS - 40


@given(
    st.lists(
        st.tuples(st.booleans(), st.floats(0, 0.4), st.floats(0, 0.3), st.floats(0.001, 0.5)), min_size=1, max_size=120
    )
)
def test_no_second_of_the_servers_ever_sees_too_many(requests: list[tuple[bool, float, float, float]]) -> None:
    """Each request waits its turn, then takes its own time to the server and back."""
    limiter, now = Limiter(), 0.0
    arrivals: list[tuple[float, bool]] = []
    returns: list[tuple[float, str]] = []
    for number, (historical, pause, there, back) in enumerate(requests):
        now += pause
        while True:
            for at, identity in [one for one in returns if one[0] <= now]:
                limiter.answered(identity, at)
                returns.remove((at, identity))
            wait_s = limiter.wait_s(now, historical=historical)
            if wait_s == 0:
                break
            now += wait_s
        limiter.sent(str(number), historical=historical)
        arrivals.append((now + there, historical))
        returns.append((now + there + back, str(number)))
    for at, _ in arrivals:
        within = [historical for when, historical in arrivals if at <= when < at + 1.0]
        assert len(within) <= REQUESTS
        assert sum(within) <= HISTORICAL


def test_a_server_that_complains_is_left_alone_for_a_second() -> None:
    limiter = Limiter()
    limiter.punished(5.0)
    assert 0.9 < limiter.wait_s(5.0, historical=False) < 1.1
    assert limiter.wait_s(6.1, historical=True) == 0
