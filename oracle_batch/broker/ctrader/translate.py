"""Wire messages to the broker protocol's plain values and back. No scale is known anywhere else."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from oracle_batch.bars import Bars
from oracle_batch.broker.base import (
    AmendIntent,
    CloseIntent,
    OpenIntent,
    Position,
    Quote,
    StopTrigger,
    SymbolSpec,
)
from oracle_batch.broker.ctrader.reports import direction_of, optional
from oracle_batch.openapi import scales
from oracle_batch.openapi.messages import api, model

TRIGGERS: Final[dict[StopTrigger, int]] = {
    "trade": model.TRADE,
    "opposite": model.OPPOSITE,
    "double_trade": model.DOUBLE_TRADE,
    "double_opposite": model.DOUBLE_OPPOSITE,
}
LABEL_CHARS: Final = 100
COMMENT_CHARS: Final = 512
CLIENT_ID_CHARS: Final = 50


def side(direction: int) -> int:
    """The wire's side of a direction."""
    return int(model.BUY if direction > 0 else model.SELL)


# what the broker shows


def position(message: Any, symbol: str, money_digits: int) -> Position:
    """An open position; ``money_digits`` are the account's, for a position that brings none."""
    trade = message.tradeData
    digits = message.moneyDigits if message.HasField("moneyDigits") else money_digits
    return Position(
        position_id=message.positionId,
        symbol=symbol,
        direction=direction_of(trade.tradeSide),
        volume_cents=trade.volume,
        entry_price=message.price,
        opened_at=scales.seconds(trade.openTimestamp),
        label=trade.label,
        comment=trade.comment,
        stop_loss=optional(message, "stopLoss") or None,
        take_profit=optional(message, "takeProfit") or None,
        swap=scales.money(message.swap, digits),
        commission=abs(scales.money(message.commission, digits)),
    )


def spec(name: str, message: Any, base: str, quote: str) -> SymbolSpec | None:
    """A contract; None where the broker leaves out what cannot be guessed."""
    volumes = (message.lotSize, message.minVolume, message.stepVolume, message.maxVolume)
    if min(volumes) <= 0 or not base or not quote or message.digits < 0:
        return None
    return SymbolSpec(name, message.digits, *volumes, base, quote)


def quote(bid: int, ask: int, digits: int, time: float) -> Quote:
    """A quote from the two relative prices."""
    return Quote(scales.price(bid, digits), scales.price(ask, digits), time)


def bars(messages: list[Any], digits: int) -> Bars:
    """Trend bars as they came: any order, duplicates and the forming bar included, not validated."""
    rows = [
        (one.utcTimestampInMinutes, one.low, one.deltaOpen, one.deltaHigh, one.deltaClose, one.volume)
        for one in messages
    ]
    columns = np.array(rows, np.int64).reshape(-1, 6).T
    minutes, low, to_open, to_high, to_close, volume = columns

    def prices(relative: Any) -> Any:
        return np.round(relative / scales.RELATIVE_SCALE, digits)

    return Bars(
        np.ascontiguousarray(minutes * 60),
        prices(low + to_open),
        prices(low + to_high),
        prices(low),
        prices(low + to_close),
        volume.astype(np.float64),
    )


# what we ask for


def open_request(
    intent: OpenIntent, account_id: int, symbol_id: int, quote: Quote | None, *, limited_risk: bool = False
) -> Any:
    """An opening order: at market, or in a range around the quote where slippage is limited.

    Raises:
        ValueError: a text is longer than the broker takes, or a range is asked for without a quote.
    """
    for name, text, most in (
        ("label", intent.label, LABEL_CHARS),
        ("comment", intent.comment, COMMENT_CHARS),
        ("clientOrderId", intent.intent_id, CLIENT_ID_CHARS),
    ):
        if len(text) > most:
            raise ValueError(f"{name} has {len(text)} characters, the broker takes {most}")
    request = api.ProtoOANewOrderReq(
        ctidTraderAccountId=account_id,
        symbolId=symbol_id,
        orderType=model.MARKET,
        tradeSide=side(intent.direction),
        volume=intent.volume_cents,
        label=intent.label,
        comment=intent.comment,
        clientOrderId=intent.intent_id,
    )
    if intent.stop_relative:
        request.relativeStopLoss = intent.stop_relative
        if limited_risk:
            request.guaranteedStopLoss = True
    if intent.target_relative:
        request.relativeTakeProfit = intent.target_relative
    if intent.stop_trigger != "trade":
        request.stopTriggerMethod = TRIGGERS[intent.stop_trigger]
    if intent.max_slippage_points:
        if quote is None:
            raise ValueError("a limit on slippage needs a quote")
        request.orderType = model.MARKET_RANGE
        request.baseSlippagePrice = quote.ask if intent.direction > 0 else quote.bid
        request.slippageInPoints = int(intent.max_slippage_points)
    return request


def close_request(intent: CloseIntent, account_id: int) -> Any:
    """A closing order; the API takes no id of ours on it."""
    return api.ProtoOAClosePositionReq(
        ctidTraderAccountId=account_id, positionId=intent.position_id, volume=intent.volume_cents
    )


def amend_request(intent: AmendIntent, account_id: int) -> Any:
    """New protection. Both sides are always in it: a side that is left out is cleared."""
    request = api.ProtoOAAmendPositionSLTPReq(ctidTraderAccountId=account_id, positionId=intent.position_id)
    if intent.stop_loss is not None:
        request.stopLoss = intent.stop_loss
        request.stopLossTriggerMethod = TRIGGERS[intent.stop_trigger]
    if intent.take_profit is not None:
        request.takeProfit = intent.take_profit
    return request
