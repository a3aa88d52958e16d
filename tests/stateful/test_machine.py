"""Lives of a workspace in which anything may happen: no leg is filled twice, and none is lost."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.stateful.machine import Life

SHORT = settings(
    max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)


def test_whatever_dies_and_fails_no_leg_is_filled_twice_and_none_is_lost() -> None:
    run_state_machine_as_test(Life, settings=SHORT)
