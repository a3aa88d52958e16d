"""The journal's records of what became of a leg, and the same in the log."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from oracle_batch.broker.base import Ack, CloseCause, CloseIntent, Intent, OpenIntent, Quote, SymbolSpec
from oracle_batch.bundle.model import Model
from oracle_batch.hands import ledger, texts
from oracle_batch.store.records import AckRecord, Close, Fill, Record
from oracle_batch.types import action_of

_log = logging.getLogger(__name__)


def ack_records(
    leg: Intent,
    ack: Ack,
    models: Mapping[str, Model],
    specs: Mapping[str, SymbolSpec],
    quote: Quote | None = None,
    end: ledger.Ended | None = None,
) -> list[Record]:
    """An ack with its deals, and the ``end`` of the position that it closed; ``quote`` is what it was decided on."""
    spec, model = specs.get(leg.symbol), models.get(leg.model)
    action = action_of(leg.direction, leg.intensity).index if isinstance(leg, OpenIntent) else 0
    symbol = model.symbol if model is not None else leg.symbol
    wire = texts.ack_text(symbol, action, ack, spec.digits if spec else 5)
    _log.info("%s", wire)
    records: list[Record] = [AckRecord.of(ack, leg.model, wire)]
    spread = None if quote is None else round(quote.ask - quote.bid, 10)
    records += [Fill(leg.model, deal, ack.slippage, spread) for deal in ack.deals]
    if isinstance(leg, CloseIntent) and end is not None:
        records.append(close_record(leg.model, end, models, leg.symbol, leg.cause))
    return records


def close_record(
    name: str, end: ledger.Ended, models: Mapping[str, Model], symbol: str = "", cause: CloseCause | None = None
) -> Close:
    """The end of a position, whoever ended it: ``cause`` is that of a close of ours, ``symbol`` what no bundle says."""
    model = models.get(name)
    told = model.symbol if model else symbol or name
    wire = texts.closed_text(told, end.position_id, end.net, end.reason, cause)
    _log.info("%s", wire)
    return Close(
        name, end.position_id, end.profit, end.commission, end.reason, wire, end.swap, end.opening_commission, cause
    )
