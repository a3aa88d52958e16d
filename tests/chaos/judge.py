"""What an undisturbed run comes to, and whether a disturbed one came to the same."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from oracle_batch.broker.base import OpenIntent
from oracle_batch.clock import FrozenClock
from oracle_batch.errors import OracleBatchError
from oracle_batch.hands.proof import RECOVERED
from oracle_batch.store.journal import Journal
from oracle_batch.store.records import AckRecord, Close, Fill
from oracle_batch.store.workspace import Workspace
from oracle_batch.verifying import verify
from tests.chaos.stage import ACCOUNT, Scene


@dataclass(frozen=True)
class Picture:
    """Broker, files and books, without what depends on the order of fills or on how an answer came to be known."""

    deals: tuple[Any, ...]
    positions: tuple[Any, ...]
    balance: float
    files: dict[str, bytes]
    books: dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What is wrong, in words; legs that were filled twice, and that were lost."""

    violations: tuple[str, ...] = ()
    duplicates: int = 0
    lost: int = 0


def picture(scene: Scene, state: dict[str, Any]) -> Picture:
    """The scene as it stands. ``state`` is what its market says."""
    workspace = scene.workspace
    files = {
        str(path.relative_to(scene.home)): path.read_bytes()
        for folder in (workspace.bars_path("x").parent, workspace.twin_path("x").parent)
        for path in sorted(folder.iterdir())
    }
    books = json.loads(workspace.executor_path(ACCOUNT).read_bytes())["models"]
    return Picture(
        tuple(sorted(_deal(one) for one in state["deals"])),
        tuple(sorted(_position(one) for one in state["positions"])),
        state["balance"],
        files,
        {name: _plain(one) for name, one in books.items()},
    )


def entries(state: dict[str, Any]) -> Counter[str]:
    """Filled volume by the client id of the entry."""
    found: Counter[str] = Counter()
    for one in state["deals"]:
        if not one["closing"]:
            found[one["client_order_id"]] += one["volume"]
    return found


def same(expected: Picture, found: Picture) -> Iterator[str]:
    """Where two pictures differ."""
    for what in ("deals", "positions"):
        before, after = Counter(getattr(expected, what)), Counter(getattr(found, what))
        yield from (f"{what}: missing {one}" for one in (before - after).elements())
        yield from (f"{what}: unwanted {one}" for one in (after - before).elements())
    if expected.balance != found.balance:
        yield f"balance {found.balance}, not {expected.balance}"
    yield from (f"{name} differs" for name in _different(expected.files, found.files))
    for name in _different(expected.books, found.books):
        yield f"books of {name}: {found.books.get(name)}, not {expected.books.get(name)}"


def whole(scene: Scene, state: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the journal, or between journal, books and broker, whatever happened before."""
    workspace = scene.workspace
    verified = verify(workspace, ACCOUNT)
    yield from verified.problems
    yield from (f"{leg} has no answer" for leg in verified.open)
    held = {one["position_id"]: one["label"] for one in state["positions"]}
    books = json.loads(workspace.executor_path(ACCOUNT).read_bytes())["models"]
    booked = {one["position"]["position_id"]: f"oracle:{name}" for name, one in books.items() if one["position"]}
    if held != booked:
        yield f"the broker holds {held}, the books {booked}"
    lines = journalled(workspace)
    fills = Counter(one.deal.deal_id for one in lines if isinstance(one, Fill))
    yield from (f"deal {deal} is booked {times} times" for deal, times in fills.items() if times > 1)
    deals = {one["deal_id"]: one["closing"] for one in state["deals"]}
    yield from (f"deal {deal} is booked and was never made" for deal in fills.keys() - deals.keys())
    yield from (f"deal {deal} is not booked" for deal, ends in deals.items() if not ends and deal not in fills)
    ended = Counter(one.position_id for one in lines if isinstance(one, Close))
    gone = Counter({one["position_id"] for one in state["deals"] if one["closing"]} - set(held))
    if ended != gone:
        yield f"ends on record {sorted(ended.elements())}, at the broker {sorted(gone)}"
    leftovers = [str(path) for path in (scene.home / "state").rglob(".*.tmp")]
    yield from (f"left over: {path}" for path in leftovers)


def sent_unrecorded(scene: Scene, state: dict[str, Any]) -> Iterator[str]:
    """Entries that the broker has though no durable intent tells of them."""
    told = {one.intent_id for one in journalled(scene.workspace) if isinstance(one, OpenIntent)}
    yield from (f"{entry} was sent before its intent was written" for entry in entries(state).keys() - told)


def abandoned(scene: Scene, wanted: set[str]) -> Iterator[str]:
    """Entries that were not filled and have no word on record that says why."""
    lines = journalled(scene.workspace)
    acks = {one.intent_id for one in lines if isinstance(one, AckRecord) and one.status in ("FAIL", "SKIP")}
    books = json.loads(scene.workspace.executor_path(ACCOUNT).read_bytes())["models"]
    for entry in sorted(wanted):
        model = entry.removeprefix("ob-").rsplit("-", 2)[0]
        waiting = books[model]["waiting"]
        if entry not in acks and (waiting is None or waiting["cause"] != "missed"):
            yield f"{entry} was abandoned without a word"


def journalled(workspace: Workspace) -> list[Any]:
    """Every record that can be read."""
    try:
        journal = Journal(workspace.journal_folder(ACCOUNT), FrozenClock(0.0))
        return list(journal.tail(None, repair=False).records)
    except OracleBatchError:
        return []


def _different(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _deal(one: dict[str, Any]) -> tuple[Any, ...]:
    client_order_id = "" if one["closing"] else one["client_order_id"]
    return (one["label"], client_order_id, one["side"], one["volume"], one["price"], one["closing"])


def _position(one: dict[str, Any]) -> tuple[Any, ...]:
    told = "|".join(one["comment"].split("|")[:5])  # after it stands the account's money as it was when it was sent
    return (one["label"], one["side"], one["volume"], one["price"], one["stop_loss"] or 0.0, told)


def _plain(books: dict[str, Any]) -> dict[str, Any]:
    """Books of a model without numbers that the broker gave."""
    found = json.loads(json.dumps(books))
    for part in ("position", "watch"):
        if found.get(part):
            found[part].pop("position_id", None)
    last = found["last"]
    if last and last["reason"] == RECOVERED:
        last["reason"] = None
    if last and last["decision"] == "CLOSE_OPEN":
        last["decision"] = "OPEN"  # what a reversal is to the run that finds its close done
    return dict(found)
