"""The books of an account: whole or refused, and one model's damage is its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.broker.base import CloseCause, CloseReason, StopTrigger
from oracle_batch.errors import StateError
from oracle_batch.hands.account_risk import AccountRisk
from oracle_batch.hands.anchors import AccountMoney, start
from oracle_batch.hands.books import (
    AckWord,
    Decision,
    HeldPosition,
    LastOutcome,
    ModelBooks,
    PendingClose,
    WaitCause,
    Waiting,
)
from oracle_batch.hands.limit_rules import own_rules
from oracle_batch.hands.spreads import SpreadWindow
from oracle_batch.hands.trade_log import ClosedTrade, DayCounts, Streak, TradeLog
from oracle_batch.hands.watch import Upkeep, Watch
from oracle_batch.store import executor
from oracle_batch.store.executor import Executor
from oracle_batch.store.files import replace_atomically
from oracle_batch.store.journal import Mark

FULL = ModelBooks(
    last_bar=1770000300,
    waiting=Waiting("stopped", -1),
    position=HeldPosition(12345, 1, 2, 300000, 1.08542, 1770000301.25, True),
    pending_close=PendingClose(12345, 1770000400.5, "signal"),
    watch=Watch(12345, 1.0844, 1.09, 1.0861, True, Upkeep(20.0, 10.0, 1.0, "opposite")),
    decisions_revised=1,
    last=LastOutcome(1770000300, "LONG_WEAK", "OPEN", "OK", None, None, {"pips": 3.5, "symbol": "EURUSD", "at": None}),
)
BOOKS = Executor(
    account="paper",
    models={"EURUSD_M15": FULL, "GBPUSD_M15": ModelBooks()},
    journal=Mark("2026-02.jsonl", 1234),
    risk=AccountRisk(
        anchors=start(own_rules(4.0, 8.0), 1770000300.0, AccountMoney(1_000_000, 999_000, 2), 1_000_000)[0],
        initial_balance=10_000.0,
        trades=TradeLog(
            (ClosedTrade("EURUSD_M15", "EURUSD", 1770000000.5, -9.87, "stop_loss"),),
            1769000000.0,
            {"EURUSD_M15": Streak(2, 1770000000.5)},
            Streak(3, 1770000000.5),
            DayCounts(1769904000.0, 4, 9),
        ),
        spreads={"EURUSD": SpreadWindow((0.7, 1.1))},
        target_reached=1770000200.0,
        alike=("second",),
    ),
)

counts = st.integers(0, 2**53)
seconds = st.floats(0, 4e9)
prices = st.floats(1e-9, 1e9)
money = st.floats(-1e9, 1e9)
words = st.text(max_size=20)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


model_books = st.builds(
    ModelBooks,
    last_bar=counts,
    waiting=maybe(st.builds(Waiting, st.sampled_from(get_args(WaitCause)), st.sampled_from([-1, 0, 1]))),
    position=maybe(
        st.builds(
            HeldPosition,
            position_id=counts,
            direction=st.sampled_from([-1, 1]),
            intensity=st.integers(1, 3),
            volume_cents=st.integers(1, 2**40),
            entry_price=prices,
            opened_at=seconds,
            relabelled=st.booleans(),
        )
    ),
    pending_close=maybe(st.builds(PendingClose, counts, seconds, st.sampled_from(get_args(CloseCause)))),
    watch=maybe(
        st.builds(
            Watch,
            position_id=counts,
            stop_loss=maybe(prices),
            take_profit=maybe(prices),
            best_price=prices,
            breakeven_done=st.booleans(),
            upkeep=st.builds(Upkeep, money, money, money, st.sampled_from(get_args(StopTrigger))),
        )
    ),
    decisions_revised=counts,
    last=maybe(
        st.builds(
            LastOutcome,
            counts,
            maybe(words),
            maybe(st.sampled_from(get_args(Decision))),
            maybe(st.sampled_from(get_args(AckWord))),
            maybe(words),
            maybe(words),
            st.dictionaries(words, maybe(words | money | st.integers(-(2**53), 2**53)), max_size=3),
        )
    ),
)
streaks = st.builds(Streak, counts, seconds)
risks = st.builds(
    AccountRisk,
    initial_balance=money,
    trades=st.builds(
        TradeLog,
        st.lists(
            st.builds(ClosedTrade, words, words, seconds, money, st.sampled_from(get_args(CloseReason))), max_size=3
        ).map(tuple),
        seconds,
        st.dictionaries(words, streaks, max_size=2),
        streaks,
        st.builds(DayCounts, seconds, counts, counts),
    ),
    spreads=st.dictionaries(words, st.builds(SpreadWindow, st.lists(money, max_size=3).map(tuple)), max_size=2),
    target_reached=maybe(seconds),
    alike=st.lists(words, max_size=2).map(tuple),
)
executors = st.builds(
    Executor,
    account=st.just("paper"),
    models=st.dictionaries(words, model_books, max_size=4),
    journal=maybe(st.builds(Mark, words, counts)),
    risk=risks,
)


def stored(path: Path, data: Any) -> Path:
    replace_atomically(path, data if isinstance(data, bytes) else json.dumps(data).encode())
    return path


def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(executor.encode(BOOKS))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("executor")


@given(books=executors)
def test_books_survive_their_file_bit_for_bit(folder: Path, books: Executor) -> None:
    assert executor.load(stored(folder / "paper.json", executor.encode(books)), "paper") == books


def test_an_account_without_a_file_has_no_books_yet(tmp_path: Path) -> None:
    assert executor.load(tmp_path / "paper.json", "paper") is None


def test_the_file_is_readable_and_in_the_order_of_ids(tmp_path: Path) -> None:
    mixed = Executor(account="paper", models={"Z_M15": ModelBooks(), "A_M15": ModelBooks()})
    text = executor.encode(mixed).decode()
    assert text.startswith('{\n  "schema": 2,\n  "account": "paper"')
    assert list(json.loads(text)["models"]) == ["A_M15", "Z_M15"]


def test_another_accounts_books_are_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "live.json", executor.encode(BOOKS))
    with pytest.raises(StateError, match="books of account 'paper', not of 'live'") as caught:
        executor.load(path, "live")
    assert caught.value.field == "account"
    assert str(path) in str(caught.value)


DAMAGE = [
    (("position", "direction"), 0, "position.direction", "neither -1 nor 1"),
    (("position", "intensity"), 4, "position.intensity", "none of 1, 2, 3"),
    (("position", "volume_cents"), 0, "position.volume_cents", "not above 0"),
    (("position", "volume_cents"), 1.5, "position.volume_cents", "expected `int`"),
    (("position", "entry_price"), -1, "position.entry_price", "is no price"),
    (("position", "opened_at"), -1, "position.opened_at", "is no time"),
    (("position", "relabelled"), KeyError, "position.relabelled", "is missing"),
    (("waiting", "cause"), "bored", "waiting.cause", "invalid enum value"),
    (("waiting", "direction"), 2, "waiting.direction", "none of -1, 0, 1"),
    (("pending_close", "since"), -5, "pending_close.since", "is no time"),
    (("last", "decision"), "MAYBE", "last.decision", "invalid enum value"),
    (("last_bar",), -1, "last_bar", "is negative"),
    (("last_bar",), "1", "last_bar", "expected `int`, got `str`"),
    (("last_bar",), KeyError, "last_bar", "is missing"),
    (("watch", "stop_loss"), -1.0, "watch.stop_loss", "is no price"),
    (("watch", "upkeep"), KeyError, "watch", "missing required field `upkeep`"),
    (("position",), 7, "position", "expected `object | null`"),
    (("colour",), 7, "", "unknown field `colour`"),
]


@pytest.mark.parametrize(("keys", "value", "field", "why"), DAMAGE)
def test_one_models_damage_stops_that_model_and_is_written_back_untouched(
    tmp_path: Path, keys: tuple[str, ...], value: Any, field: str, why: str
) -> None:
    broken = document()
    target = broken["models"]["EURUSD_M15"]
    for key in keys[:-1]:
        target = target[key]
    if value is KeyError:
        del target[keys[-1]]
    else:
        target[keys[-1]] = value
    path = stored(tmp_path / "paper.json", broken)

    books = executor.load(path, "paper")
    assert books is not None
    assert books.models == {"GBPUSD_M15": ModelBooks()}, "the other model trades on"
    error = books.damaged["EURUSD_M15"].error
    assert error.field == "models.EURUSD_M15" + (f".{field}" if field else "")
    assert why in error.message
    assert str(path) in str(error)

    path = stored(path, executor.encode(books))
    assert json.loads(path.read_bytes()) == broken


def test_impossible_books_are_never_written() -> None:
    impossible = ModelBooks(position=HeldPosition(1, 1, 1, 100, float("nan"), 0.0))
    with pytest.raises(StateError, match=r"models\.A_M15\.position\.entry_price"):
        executor.encode(Executor(account="paper", models={"A_M15": impossible}))


def test_a_truncated_file_is_refused_at_every_length(tmp_path: Path) -> None:
    whole = executor.encode(BOOKS)
    for length in range(0, len(whole.rstrip()), 7):
        path = stored(tmp_path / "paper.json", whole[:length])
        with pytest.raises(StateError, match=r"is empty|not whole JSON"):
            executor.load(path, "paper")
        assert path.read_bytes() == whole[:length]


def test_a_negative_mark_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "paper.json", document() | {"journal": {"file": "2026-02.jsonl", "offset": -1}})
    with pytest.raises(StateError) as caught:
        executor.load(path, "paper")
    assert caught.value.field == "journal.offset"


def test_newer_refused_older_migrated(tmp_path: Path) -> None:
    newer = stored(tmp_path / "newer.json", document() | {"schema": executor.SCHEMA + 1})
    with pytest.raises(StateError, match="written by a newer version"):
        executor.load(newer, "paper")

    old = document() | {"schema": 0}
    old["books"] = old.pop("models")
    older = stored(tmp_path / "older.json", old)
    with pytest.raises(StateError, match="schema 0 is not known"):
        executor.load(older, "paper")

    def rename(found: dict[str, Any]) -> dict[str, Any]:
        return {"models": found.pop("books"), **found}

    assert executor.load(older, "paper", migrations={0: rename, 1: dict}) == BOOKS


def test_books_of_the_first_schema_keep_their_streaks(tmp_path: Path) -> None:
    old = document() | {"schema": 1}
    del old["risk"]
    for books in old["models"].values():
        del books["watch"]
        books["consecutive_losses"] = 2 if books["position"] else 0
        if books["last"]:
            del books["last"]["numbers"]
    found = executor.load(stored(tmp_path / "paper.json", old), "paper")
    assert found is not None
    assert found.damaged == {}
    assert found.models["EURUSD_M15"].position == FULL.position
    assert found.risk == AccountRisk(trades=TradeLog(models={"EURUSD_M15": Streak(2, 0.0)}))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda risk: risk["trades"]["account"].update(losses=-1), "risk.trades.account.losses"),
        (lambda risk: risk["trades"].pop("day"), "risk.trades.day"),
        (lambda risk: risk["anchors"].update(money_digits=-2), "risk.anchors.money_digits"),
        (lambda risk: risk["anchors"].update(day_balance="much"), "risk.anchors.day_balance"),
        (lambda risk: risk.update(colour=7), "risk"),
    ],
)
def test_a_damaged_memory_stops_the_account(tmp_path: Path, change: Any, field: str) -> None:
    """Without its anchors nobody knows what the account may still lose."""
    broken = document()
    change(broken["risk"])
    path = stored(tmp_path / "paper.json", broken)
    with pytest.raises(StateError) as caught:
        executor.load(path, "paper")
    assert caught.value.field == field


def test_an_impossible_memory_is_never_written() -> None:
    endless = AccountRisk(spreads={"EURUSD": SpreadWindow((float("inf"),))})
    with pytest.raises(StateError, match=r"risk\.spreads\.EURUSD\.pips\.0: is not finite"):
        executor.encode(Executor(account="paper", risk=endless))


@given(data=st.binary(max_size=200))
def test_any_bytes_are_books_or_a_state_error(folder: Path, data: bytes) -> None:
    with pytest.raises(StateError):
        executor.load(stored(folder / "fuzz.json", data), "paper")
