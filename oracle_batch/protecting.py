"""Stops and targets of open positions, kept at the broker: what is missing, break-even, trailing (DESIGN §6).

What cannot be amended is closed, where it is the stop itself that is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from oracle_batch.broker.base import Ack, AmendIntent, Position
from oracle_batch.desk import Desk
from oracle_batch.desk.answers import UNPROTECTED
from oracle_batch.endings import close_leg, held, is_open
from oracle_batch.errors import OracleBatchError
from oracle_batch.hands import texts
from oracle_batch.hands.rules_trades import amend_refused
from oracle_batch.hands.trade_log import counted, counts_on
from oracle_batch.hands.upkeep import Care, care
from oracle_batch.hands.watch import Amend
from oracle_batch.risk_desk import Market
from oracle_batch.store.records import AckRecord, Event

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Ward:
    """A position that is looked after."""

    model: str
    position: Position
    care: Care


async def protect(desk: Desk, market: Market, now: float) -> list[tuple[AmendIntent, Ack | None]]:
    """Look after every watched position of ours that stays open and whose market is; gives what was amended.

    Closes of those that cannot be protected are added to the desk's.
    """
    amends: list[tuple[AmendIntent, _Ward]] = []
    for ward in _wards(desk, market, now):
        wanted = ward.care.amend
        if ward.care.hopeless is not None:
            _give_up(desk, ward, now, "STOP_PASSED")
        elif wanted is None:
            _remember(desk, ward, sent=True)
        elif refused := amend_refused(desk.settings.risk, _requests(desk) + len(amends)):
            _log.warning("%s: position %d is not amended: %s", ward.model, wanted.position_id, refused.code)
            _remember(desk, ward, sent=False)
            if ward.care.repairs:
                _give_up(desk, ward, now, refused.code)
        else:
            amends.append((_leg(ward, wanted, now), ward))
    return await _amend(desk, amends, now) if amends else []


def _wards(desk: Desk, market: Market, now: float) -> list[_Ward]:
    """What each position needs now; one whose costs nobody knows is left as it is."""
    wards = []
    for name, position in held(desk):
        watch, terms = desk.books(name).watch, market.terms.get(position.symbol)
        if watch is None or watch.position_id != position.position_id:
            continue
        if not is_open(market.schedules.get(position.symbol), now):
            continue
        if terms is None:
            _log.warning("%s: what %s costs is not known; its stop is left as it is", name, position.symbol)
            continue
        wards.append(_Ward(name, position, care(watch, position, market.quotes.get(position.symbol), terms)))
    return wards


def _leg(ward: _Ward, wanted: Amend, now: float) -> AmendIntent:
    return AmendIntent(
        f"ob-{ward.model}-{int(now)}-a{wanted.position_id}",
        ward.model,
        wanted.position_id,
        ward.position.symbol,
        wanted.stop_loss,
        wanted.take_profit,
        now,
        wanted.stop_trigger_method,
    )


async def _amend(
    desk: Desk, amends: Sequence[tuple[AmendIntent, _Ward]], now: float
) -> list[tuple[AmendIntent, Ack | None]]:
    """Journal the amendments, send them, and take in the answers. No answer is no harm: the position shows it."""
    legs = [leg for leg, _ in amends]
    if desk.dry_run:
        return [(leg, None) for leg in legs]
    desk.journal.append([*desk.before_send, *legs])
    desk.before_send = []
    answers: dict[str, Ack] = {}
    try:
        answers = {ack.intent_id: ack for ack in await desk.broker.execute(legs, lambda _: {})}
    except OracleBatchError as error:
        _log.error("account %s: the outcome of %d amendments is unknown: %s", desk.name, len(legs), error)
    _count(desk, len(legs))
    found: list[tuple[AmendIntent, Ack | None]] = []
    for leg, ward in amends:
        ack = answers.get(leg.intent_id) or Ack(leg.intent_id, "UNKNOWN", "NO_ANSWER")
        found.append((leg, ack))
        desk.after_send.append(_record(desk, leg, ack))
        _remember(desk, ward, sent=ack.status != "FAIL")
        if ack.status == "FAIL" and ward.care.repairs:
            _give_up(desk, ward, now, ack.reason or "FAIL")
    return found


def _record(desk: Desk, leg: AmendIntent, ack: Ack) -> AckRecord:
    spec, model = desk.specs.get(leg.symbol), desk.models.get(leg.model)
    symbol = model.symbol if model is not None else leg.symbol
    return AckRecord.of(ack, leg.model, texts.ack_text(symbol, 0, ack, spec.digits if spec else 5))


def _give_up(desk: Desk, ward: _Ward, now: float, reason: str) -> None:
    """Close a position whose stop is not there and cannot be put there, and tell."""
    watch, place = ward.care.unsent, ward.position
    desk.intents.append(close_leg(ward.model, place, now))
    desk.causes[place.position_id] = UNPROTECTED
    seen = {"position_id": place.position_id, "stop_loss": watch.stop_loss, "at_broker": place.stop_loss}
    desk.before_send.append(Event("unprotected", ward.model, {**seen, "reason": reason}))
    _log.error(
        "%s: closing position %d: its stop belongs at %s, the broker has %s, and %s",
        ward.model,
        place.position_id,
        watch.stop_loss,
        place.stop_loss if place.stop_loss is not None else "none",
        reason,
    )


def _remember(desk: Desk, ward: _Ward, *, sent: bool) -> None:
    books = desk.books(ward.model)
    desk.book(ward.model, replace(books, watch=ward.care.watch if sent else ward.care.unsent))


def _day(desk: Desk) -> float:
    anchors = desk.executor.risk.anchors
    return float(anchors.day_start) if anchors is not None else desk.executor.risk.trades.day.day


def _requests(desk: Desk) -> int:
    """Trade requests of the day so far."""
    return counts_on(desk.executor.risk.trades, _day(desk)).requests


def _count(desk: Desk, requests: int) -> None:
    risk = desk.executor.risk
    trades = counted(risk.trades, _day(desk), requests=requests)
    desk.executor = replace(desk.executor, risk=replace(risk, trades=trades))
