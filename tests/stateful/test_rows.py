"""Which test shows which failure mode of a crash, of files, of time, of bundles under a twin, of a token's renewal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOWN = {
    29: ["tick/test_tick_crash.py::test_a_run_that_was_killed_is_finished_by_the_next"],
    30: [
        "tick/test_tick_crash.py::test_a_run_that_was_killed_is_finished_by_the_next",
        "tick/test_tick_unsure.py::test_an_entry_that_is_absent_by_proof_is_sent_once_more_under_its_id",
    ],
    31: [
        "tick/test_tick_crash.py::test_a_process_that_is_gone_leaves_no_lock_and_is_finished_by_the_command_line",
        "tick/test_tick_unsure.py::test_a_list_that_lags_behind_is_given_its_time_within_the_run",
    ],
    32: [
        "sim/acceptance/test_broker.py::"
        "test_row_22_a_close_that_the_market_refuses_is_carried_out_by_the_next_run_that_can",
        "stateful/test_wire_life.py::test_whatever_dies_and_fails_broker_journal_and_books_agree",
    ],
    33: [
        "tick/test_tick_crash.py::test_a_recovery_that_is_killed_is_recovered_as_well",
        "stateful/test_machine.py::test_whatever_dies_and_fails_no_leg_is_filled_twice_and_none_is_lost",
    ],
    34: [
        "stateful/test_process.py::test_row_34_a_run_that_hangs_is_ended_and_the_next_one_finishes_it",
        "stateful/test_process.py::test_row_34_a_run_that_waits_for_too_long_ends_itself",
    ],
    35: [
        "stateful/test_process.py::test_row_35_told_to_stop_before_the_burst_it_stops_and_nothing_was_sent",
        "stateful/test_process.py::test_row_35_told_to_stop_in_the_burst_it_finishes_and_books_it_first",
    ],
    36: ["store/test_journal.py", "chaos/campaigns.py"],
    37: [
        "store/test_journal_torn.py",
        "stateful/test_torn_batches.py::test_a_tick_whose_appends_are_cut_off_after_any_line_is_finished_by_the_next",
        "tick/test_tick_bad_input.py",
    ],
    38: ["store/test_executor.py", "store/test_twins.py"],
    39: ["store/test_executor.py", "store/test_twins.py", "broker/test_paper.py"],
    40: ["stateful/test_unsafe_modes.py::test_row_40_what_everybody_may_write_is_refused_with_the_chmod"],
    41: [
        "stateful/test_process.py::test_row_41_of_two_runs_that_overlap_the_second_leaves_at_once_and_changes_nothing",
    ],
    42: ["test_properties.py::test_the_hands_do_what_the_text_says"],
    43: ["test_properties.py::test_any_mixture_of_ticks_restarts_and_catch_ups_is_a_replay"],
    54: [
        "stateful/test_operator_kills.py::"
        "test_row_54_a_bundle_whose_replacement_died_trades_by_the_old_twin_or_not_at_all",
        "stateful/test_operator_kills.py::test_row_54_a_warm_up_that_died_left_the_old_twin_or_the_new_one",
    ],
    57: ["stateful/test_token_kills.py::test_row_57_the_new_pair_survives_or_the_message_asks_for_consent"],
}


@pytest.mark.parametrize("row", [*range(29, 44), 54, 57])
def test_a_row_is_shown(row: int) -> None:
    assert SHOWN[row]
    for place in SHOWN[row]:
        file, _, name = place.partition("::")
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert not name or re.search(rf"^def {name}\(", text, re.MULTILINE), f"{place} is gone"
