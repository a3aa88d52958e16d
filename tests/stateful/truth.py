"""What has to hold, judged from the accounts' own files, the feed and the journal's text: nothing of the hands' code.

An exception's class says what kind of promise is broken, so that a storm can count them.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from oracle_batch import verifying
from oracle_batch.brain.decide import replay
from oracle_batch.brain.twin import FLAT
from oracle_batch.broker.base import CloseIntent, OpenIntent
from oracle_batch.bundle.compiled import load_models
from oracle_batch.market.feed import Feed
from oracle_batch.store.records import AckRecord, Close, Fill
from oracle_batch.types import ACTIONS, WINDOW
from tests.tick.lab import T0, WARM, WORDS, Lab


class BrokenError(AssertionError):
    """A promise is broken."""


class TwiceError(BrokenError):
    """A leg was filled twice, or a model holds two positions."""


class LostError(BrokenError):
    """A leg has no outcome and nothing on record, or what was filled is not in the journal."""


def ours(lab: Lab, account: str) -> list[dict[str, Any]]:
    """The exchange's own list of the models' positions."""
    return [one for one in lab.account(account)["positions"] if one["label"].startswith("oracle:")]


def held(lab: Lab, account: str, name: str) -> dict[str, Any] | None:
    return next((one for one in ours(lab, account) if one["label"] == f"oracle:{name}"), None)


def nothing_twice(lab: Lab, account: str) -> None:
    """Holds at every instant, whatever has died: one position a model, one deal an entry."""
    labels = Counter(one["label"] for one in ours(lab, account))
    if any(number > 1 for number in labels.values()):
        raise TwiceError(f"{account}: two positions of one model: {labels}")
    entries = [one for one in lab.account(account)["deals"] if not one["closing"]]
    ids = Counter(one["client_order_id"] for one in entries if one["client_order_id"].startswith("ob-"))
    if any(number > 1 for number in ids.values()):
        raise TwiceError(f"{account}: filled twice: {[name for name, number in ids.items() if number > 1]}")


def books_agree(lab: Lab, account: str) -> None:
    """After a run that came through: the books hold what the exchange holds, and the journal is whole."""
    if not lab.workspace.executor_path(account).exists():
        if ours(lab, account):
            raise LostError(f"{account}: positions, and no books")
        return
    booked = {
        f"oracle:{name}": (one.position.position_id, one.position.direction, one.position.volume_cents)
        for name, one in lab.books(account).models.items()
        if one.position is not None
    }
    real = {one["label"]: (one["position_id"], one["direction"], one["volume_cents"]) for one in ours(lab, account)}
    if booked != real:
        raise LostError(f"{account}: the books hold {booked}, the exchange {real}")
    found = verifying.verify(lab.workspace, account)
    if found.problems:
        raise BrokenError(f"{account}: {found.problems}")
    if found.open:
        raise LostError(f"{account}: no answer after a clean run: {found.open}")


def wish_is_met(
    lab: Lab, account: str, name: str, bar_time: int, said: list[int], *, edge: bool, in_time: bool
) -> None:
    """After a clean run of a bar: nothing is held against the signal, and an entry is filled or refused on record."""
    position, directions = held(lab, account, name), {ACTIONS[action].direction for action in said}
    if position is not None and position["direction"] not in directions:
        raise LostError(f"{account}: {name} still holds {position['direction']} against {directions} of {bar_time}")
    if 0 in directions or not edge or not in_time:
        return
    leg = f"ob-{name}-{bar_time}-1"
    filled = any(one["client_order_id"] == leg for one in lab.account(account)["deals"])
    holds = position is not None and position["direction"] in directions
    had = _held_until_after(lab, account, name, bar_time, said)
    if not (filled or holds or had or _on_record(lab, account, name, bar_time, leg)):
        raise LostError(f"{account}: nothing became of {leg}, and nothing on record says why")


def _held_until_after(lab: Lab, account: str, name: str, bar_time: int, said: list[int]) -> bool:
    """Whether what a bar asks for was held when it closed, and has ended since."""
    wishes, close = {(ACTIONS[one].direction, ACTIONS[one].intensity) for one in said}, bar_time + Lab.seconds(name)
    journal = whole_journal(lab, account)
    legs = {one.intent_id: (one.direction, one.intensity) for one in journal if isinstance(one, OpenIntent)}
    deals = [one for one in lab.account(account)["deals"] if one["label"] == f"oracle:{name}"]
    ended = {one["position_id"] for one in deals if one["closing"] and one["time"] >= close}
    before = [one for one in deals if not one["closing"] and one["time"] < close and one["position_id"] in ended]
    return any(legs.get(one["client_order_id"]) in wishes for one in before)


def _on_record(lab: Lab, account: str, name: str, bar_time: int, leg: str) -> bool:
    for record in whole_journal(lab, account):
        if isinstance(record, AckRecord) and record.intent_id == leg and record.status in ("SKIP", "FAIL"):
            return True
        detail = getattr(record, "detail", {})
        told = getattr(record, "name", "") in ("refused", "decision") and detail.get("bar_time") == bar_time
        if told and record.model == name and (detail.get("code") or detail.get("reason")):
            return True
        planned = getattr(record, "name", "") == "plan" and detail.get("bar_time") == bar_time
        if planned and record.model == name and detail.get("waiting"):
            return True
    return False


def whole_journal(lab: Lab, account: str) -> list[Any]:
    """Every record of an account, compacted months included."""
    from oracle_batch.store.reading import read_places

    lines = read_places(lab.workspace.journal_folder(account))
    return [line.content.record for line in lines]  # type: ignore[union-attr]


def legs_are_accounted_for(lab: Lab, account: str) -> None:
    """At rest: each leg has its outcome on record, the exchange's, and every deal of ours is there once."""
    journal = whole_journal(lab, account)
    deals = [one for one in lab.account(account)["deals"] if one["label"].startswith("oracle:")]
    open_now = {one["position_id"] for one in lab.account(account)["positions"]}
    filled = {one["client_order_id"]: one["volume_cents"] for one in deals if not one["closing"]}
    last = {one.intent_id: one for one in journal if isinstance(one, AckRecord) and one.status != "UNKNOWN"}
    decided: dict[str, tuple[int, int]] = {}
    for leg in journal:
        if not isinstance(leg, OpenIntent | CloseIntent) or not leg.model:
            continue
        if isinstance(leg, OpenIntent):
            wish = leg.direction, leg.intensity
            if decided.setdefault(leg.intent_id, wish) != wish:
                raise BrokenError(
                    f"{account}: {leg.intent_id} was decided twice: {decided[leg.intent_id]}, then {wish}"
                )
        answer = last.get(leg.intent_id)
        if answer is None:
            raise LostError(f"{account}: {leg.intent_id} has no answer on record")
        if isinstance(leg, OpenIntent) and (leg.intent_id in filled) != (answer.status == "OK"):
            raise LostError(
                f"{account}: {leg.intent_id} is {answer.status} on record, filled: {leg.intent_id in filled}"
            )
        if isinstance(leg, OpenIntent) and filled.get(leg.intent_id, 0) > leg.volume_cents:
            raise TwiceError(f"{account}: more of {leg.intent_id} was filled than was asked for")
        if isinstance(leg, CloseIntent) and answer.status == "OK" and leg.position_id in open_now:
            raise LostError(f"{account}: {leg.intent_id} is OK on record, and {leg.position_id} open")
    _money_is_counted(account, journal, deals, open_now)


def _money_is_counted(account: str, journal: list[Any], deals: list[dict[str, Any]], open_now: set[int]) -> None:
    """Each opening deal is journalled once; each end once, with all that its position's closing deals have made."""
    fills = Counter(one.deal.deal_id for one in journal if isinstance(one, Fill))
    for deal in deals:
        if not deal["closing"] and fills[deal["deal_id"]] != 1:
            raise LostError(f"{account}: deal {deal['deal_id']} is in the journal {fills[deal['deal_id']]} times")
    ends = [one for one in journal if isinstance(one, Close) and one.model]
    gone = {one["position_id"] for one in deals if one["closing"]} - open_now
    if sorted(one.position_id for one in ends) != sorted(gone):
        raise LostError(f"{account}: ends on record {sorted(one.position_id for one in ends)}, real {sorted(gone)}")
    for end in ends:
        parts = [one for one in deals if one["position_id"] == end.position_id]
        closing = [one for one in parts if one["closing"]]
        made = sum(one["profit"] + one["swap"] - one["commission"] for one in closing)
        paid = sum(one["commission"] for one in parts if not one["closing"])
        if round((end.profit + end.swap - end.commission) * 100) != made:
            raise LostError(f"{account}: position {end.position_id} made {made} cents, the record says {end}")
        if round(end.opening_commission * 100) != paid:
            raise LostError(f"{account}: opening position {end.position_id} cost {paid} cents, the record says {end}")


def twins_are_replays(lab: Lab, names: tuple[str, ...], until: float) -> None:
    """Each twin is what the model comes to over the official bars, from flat."""
    models, _ = load_models(lab.workspace.models, lab.workspace.compiled, write_cache=False)
    for name in names:
        bars = Feed(lab.data).bars(models[name].symbol, models[name].timeframe, 0, 2**40)
        bars = bars[bars.time + Lab.seconds(name) <= until]
        official = replay(models[name], bars, FLAT, len(bars) - WINDOW + 1).twins[-1]
        if lab.twin(name).state != official:
            raise BrokenError(f"the twin of {name} is {lab.twin(name).state}, the bars make {official}")


def spoken(name: str, script: list[str], row: int) -> int:
    """The official action of a scripted bar."""
    return WORDS[script[row]] if 0 <= row < len(script) else 0


def first_open(name: str) -> int:
    """The open of a model's first bar."""
    return T0 - WARM * Lab.seconds(name)
