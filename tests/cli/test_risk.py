"""``risk reset`` on the command line, and what ``status`` shows of an account's limits."""

from __future__ import annotations

from msgspec.structs import replace

from oracle_batch.hands.anchors import LimitPause
from oracle_batch.hands.books import LastOutcome
from oracle_batch.store import executor
from tests.cli.conftest import LATER, MODEL, Cli

AFTER = "2026-07-24T08:16:00Z"


def paused(cli: Cli) -> None:
    """Let the account pause because of its maximum limit, and the model have been refused."""
    path = cli.home / "state" / "executor" / "paper.json"
    books = executor.load(path, "paper")
    assert books is not None
    assert books.risk.anchors is not None
    anchors = replace(books.risk.anchors, pause=LimitPause("maximum", 1_784_880_000.0, None))
    one = replace(books.models[MODEL], last=LastOutcome(0, "LONG_WEAK", "OPEN", "SKIP", "SPREAD", None, {"pips": 3.5}))
    memory = replace(books.risk, anchors=anchors)
    path.write_bytes(executor.encode(replace(books, risk=memory, models={**books.models, MODEL: one})))


def test_status_shows_why_an_account_pauses_and_what_a_refusal_saw(traded: Cli) -> None:
    paused(traded)
    ran = traded("status", "--now", LATER)
    assert "PAUSED by the maximum limit until `oracle-batch risk reset`" in ran.out
    assert f"{MODEL}: SPREAD: pips 3.5; if that is its usual spread, raise max_spread_pips" in " ".join(ran.out.split())
    account = traded("status", "--json", "--now", LATER).json["accounts"]["paper"]
    assert account["risk"]["level"] == "no_entries"
    assert account["risk"]["reason"] == "LIMIT_PAUSE"
    assert account["risk"]["paused"] == {"limit": "maximum", "since": 1_784_880_000.0, "until": None}
    assert set(account["risk"]["limits"]) == {"daily", "maximum"}
    assert account["models"][MODEL]["last"]["numbers"] == {"pips": 3.5}


def test_risk_reset_ends_the_pause_once(traded: Cli) -> None:
    paused(traded)
    ran = traded("risk", "reset", "--now", AFTER)
    assert (ran.code, ran.out) == (0, "paper: reset; entries are allowed as far as the limits go\n")
    assert traded("status", "--json", "--now", AFTER).json["accounts"]["paper"]["risk"]["paused"] is None
    again = traded("risk", "reset", "--now", AFTER)
    assert (again.code, again.out) == (0, "paper: nothing to reset\n")


def test_risk_reset_of_an_account_that_is_not_there(traded: Cli) -> None:
    ran = traded("risk", "reset", "--account", "nobody")
    assert (ran.code, ran.out) == (78, "")
