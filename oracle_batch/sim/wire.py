"""Values of the exchange as messages of the Open API. Every scale and sign of the wire is here.

Relative prices are in 1/100000, order, position and deal prices doubles on the symbol's grid; costs are negative;
times are Unix milliseconds, except a trend bar's minutes and a holiday's days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from typing import Any, Final

from oracle_batch.bars import Bars
from oracle_batch.openapi.messages import model
from oracle_batch.openapi.scales import milliseconds, relative
from oracle_batch.sim.events import LiveBar
from oracle_batch.sim.values import (
    Asset,
    CashFlow,
    CloseDetail,
    DealView,
    MarginCall,
    OrderView,
    PositionView,
    SymbolInfo,
    TickData,
    TraderView,
)

CATEGORY: Final = 1
ASSET_CLASS: Final = 1
BROKER: Final = "Simulator"
_EPOCH: Final = date(1970, 1, 1).toordinal()
_HUNDREDTHS: Final = 100
_PIP_DECIMALS: Final = 6
_MARGIN_CALL_TYPES: Final = 60
"""The API numbers its three margin calls 61 to 63."""


class Wire:
    """Translates for one server, whose clock may be ``skew`` seconds ahead of the market's."""

    def __init__(self, money_digits: int, skew: Callable[[], float] = lambda: 0.0) -> None:
        self.money_digits = money_digits
        self._skew = skew

    def ms(self, time: float) -> int:
        """A market instant as the server's clock shows it."""
        return milliseconds(time + self._skew())

    def position(self, view: PositionView) -> Any:
        """A position; a closed one has volume 0 and its status says so."""
        status = model.POSITION_STATUS_OPEN if view.open else model.POSITION_STATUS_CLOSED
        position = model.ProtoOAPosition(
            positionId=view.position_id,
            tradeData=self._trade_data(
                view.symbol_id, view.volume_cents, view.direction, view.opened_at, view.label, view.comment
            ),
            positionStatus=status,
            swap=view.swap,
            price=view.entry_price,
            utcLastUpdateTimestamp=self.ms(view.updated_at),
            commission=-view.commission,
            marginRate=view.margin_rate,
            mirroringCommission=0,
            guaranteedStopLoss=False,
            usedMargin=view.used_margin,
            stopLossTriggerMethod=view.stop_trigger.upper(),
            moneyDigits=self.money_digits,
            trailingStopLoss=view.trailing_stop,
        )
        _set(position, stopLoss=view.stop_loss, takeProfit=view.take_profit)
        return position

    def order(self, view: OrderView) -> Any:
        """An order with what was asked of it."""
        asked = view.request
        order = model.ProtoOAOrder(
            orderId=view.order_id,
            tradeData=self._trade_data(
                asked.symbol_id, asked.volume_cents, asked.direction, view.created_at, asked.label, asked.comment
            ),
            orderType=asked.order_type,
            orderStatus=f"ORDER_STATUS_{view.status}",
            executedVolume=view.executed_cents,
            utcLastUpdateTimestamp=self.ms(view.updated_at),
            closingOrder=view.closing,
            timeInForce=asked.time_in_force,
            isStopOut=view.stop_out,
            trailingStopLoss=asked.trailing_stop,
            stopTriggerMethod=asked.stop_trigger.upper(),
        )
        _set(
            order,
            expirationTimestamp=None if asked.expires_at is None else self.ms(asked.expires_at),
            executionPrice=view.execution_price,
            baseSlippagePrice=asked.base_slippage_price,
            slippageInPoints=asked.slippage_points or None,
            limitPrice=asked.limit_price,
            stopPrice=asked.stop_price,
            stopLoss=asked.stop_loss,
            takeProfit=asked.take_profit,
            clientOrderId=asked.client_order_id or None,
            positionId=view.position_id,
            relativeStopLoss=asked.relative_stop_loss or None,
            relativeTakeProfit=asked.relative_take_profit or None,
        )
        return order

    def deal(self, view: DealView) -> Any:
        """A deal; a closing one has the detail of what it realised."""
        executed = self.ms(view.time)
        deal = model.ProtoOADeal(
            dealId=view.deal_id,
            orderId=view.order_id,
            positionId=view.position_id,
            volume=view.volume_cents,
            filledVolume=view.filled_cents,
            symbolId=view.symbol_id,
            createTimestamp=self.ms(view.created_at),
            executionTimestamp=executed,
            utcLastUpdateTimestamp=executed,
            executionPrice=view.price,
            tradeSide=_side(view.direction),
            dealStatus=view.status,
            marginRate=view.margin_rate,
            commission=-view.commission,
            moneyDigits=self.money_digits,
        )
        if view.close is not None:
            deal.closePositionDetail.CopyFrom(self._close_detail(view.close))
        return deal

    def cash_flow(self, view: CashFlow) -> Any:
        """A deposit or a withdrawal; the delta's sign is in the type."""
        return model.ProtoOADepositWithdraw(
            operationType=model.BALANCE_DEPOSIT if view.delta >= 0 else model.BALANCE_WITHDRAW,
            balanceHistoryId=view.flow_id,
            balance=view.balance,
            delta=abs(view.delta),
            changeBalanceTimestamp=self.ms(view.time),
            externalNote=view.note,
            balanceVersion=view.balance_version,
            equity=view.equity,
            moneyDigits=self.money_digits,
        )

    def trader(self, view: TraderView, *, may_trade: bool = True) -> Any:
        """The account."""
        return model.ProtoOATrader(
            ctidTraderAccountId=view.account_id,
            balance=view.balance,
            balanceVersion=view.balance_version,
            managerBonus=0,
            ibBonus=0,
            nonWithdrawableBonus=0,
            accessRights=model.FULL_ACCESS if may_trade else model.NO_TRADING,
            depositAssetId=view.deposit_asset_id,
            swapFree=False,
            leverageInCents=round(view.leverage * _HUNDREDTHS),
            totalMarginCalculationType=model.SUM,
            maxLeverage=round(view.leverage * _HUNDREDTHS),
            traderLogin=view.trader_login,
            accountType=model.HEDGED if view.hedged else model.NETTED,
            brokerName=BROKER,
            registrationTimestamp=self.ms(view.registered_at),
            isLimitedRisk=False,
            moneyDigits=view.money_digits,
        )

    def margin_call(self, view: MarginCall) -> Any:
        """A threshold of the margin level."""
        return model.ProtoOAMarginCall(
            marginCallType=_MARGIN_CALL_TYPES + view.number,
            marginLevelThreshold=view.level_pct,
            utcLastUpdateTimestamp=self.ms(view.updated_at),
        )

    def ticks(self, newest_first: Iterable[TickData]) -> Iterable[Any]:
        """Ticks, each but the first as differences from the one before it, which is later."""
        last_ms = last_price = 0
        for tick in newest_first:
            at, price = self.ms(tick.time), relative(tick.price)
            yield model.ProtoOATickData(timestamp=at - last_ms, tick=price - last_price)
            last_ms, last_price = at, price

    def bars(self, bars: Bars, period: str) -> Iterable[Any]:
        """Trend bars, oldest first."""
        columns = (bars.time, bars.open, bars.high, bars.low, bars.close, bars.volume)
        for row in zip(*(column.tolist() for column in columns), strict=True):
            yield self.bar(LiveBar(period, *row))

    def bar(self, bar: LiveBar) -> Any:
        """One trend bar: its low, and how far the other prices are above it. The grid knows no skew."""
        low = relative(bar.low)
        return model.ProtoOATrendbar(
            volume=round(bar.volume),
            period=bar.period,
            low=low,
            deltaOpen=relative(bar.open) - low,
            deltaClose=relative(bar.close) - low,
            deltaHigh=relative(bar.high) - low,
            utcTimestampInMinutes=bar.time // 60,
        )

    def _close_detail(self, view: CloseDetail) -> Any:
        return model.ProtoOAClosePositionDetail(
            entryPrice=view.entry_price,
            grossProfit=view.gross_profit,
            swap=view.swap,
            commission=-view.commission,
            balance=view.balance,
            quoteToDepositConversionRate=view.rate,
            closedVolume=view.closed_cents,
            balanceVersion=view.balance_version,
            moneyDigits=self.money_digits,
        )

    def _trade_data(
        self, symbol_id: int, volume_cents: int, direction: int, opened_at: float, label: str, comment: str
    ) -> Any:
        data = model.ProtoOATradeData(
            symbolId=symbol_id,
            volume=volume_cents,
            tradeSide=_side(direction),
            openTimestamp=self.ms(opened_at),
            guaranteedStopLoss=False,
        )
        _set(data, label=label or None, comment=comment or None)
        return data


def light_symbol(info: SymbolInfo) -> Any:
    """A symbol as lists show it."""
    return model.ProtoOALightSymbol(
        symbolId=info.symbol_id,
        symbolName=info.name,
        enabled=info.trading_mode != "DISABLED_WITHOUT_PENDINGS_EXECUTION",
        baseAssetId=info.base_asset_id,
        quoteAssetId=info.quote_asset_id,
        symbolCategoryId=CATEGORY,
        description=info.name,
    )


def symbol(info: SymbolInfo) -> Any:
    """A symbol in full: scale, volumes, costs, least distances, hours."""
    contract = info.contract
    spec, points = contract.spec, 10**info.digits
    full = model.ProtoOASymbol(
        symbolId=info.symbol_id,
        digits=info.digits,
        pipPosition=info.pip_position,
        enableShortSelling=True,
        guaranteedStopLoss=False,
        swapRollover3Days=model.WEDNESDAY,
        swapLong=_pips(contract.swap_long, info),
        swapShort=_pips(contract.swap_short, info),
        swapCalculationType=model.PIPS,
        maxVolume=spec.max_volume_cents,
        minVolume=spec.min_volume_cents,
        stepVolume=spec.step_volume_cents,
        lotSize=spec.lot_size_cents,
        commissionType=model.USD_PER_LOT,
        preciseTradingCommissionRate=round(contract.commission_per_lot / 2 * 10**8),
        minCommissionType=model.CURRENCY,
        preciseMinCommission=0,
        slDistance=round(contract.min_stop * points),
        tpDistance=round(contract.min_target * points),
        gslDistance=0,
        distanceSetIn=model.SYMBOL_DISTANCE_IN_POINTS,
        tradingMode=info.trading_mode,
        pnlConversionFeeRate=0,
    )
    if info.schedule is None:
        full.scheduleTimeZone = "UTC"
        full.schedule.add(startSecond=0, endSecond=7 * 86400)
        return full
    full.scheduleTimeZone = info.schedule.zone
    for start, end in info.schedule.sessions:
        full.schedule.add(startSecond=start, endSecond=end)
    for number, holiday in enumerate(info.schedule.holidays, 1):
        full.holiday.add(
            holidayId=number,
            name=holiday.day.isoformat(),
            scheduleTimeZone=holiday.zone,
            holidayDate=holiday.day.toordinal() - _EPOCH,
            isRecurring=holiday.yearly,
            startSecond=holiday.start,
            endSecond=holiday.end,
        )
    return full


def asset(view: Asset) -> Any:
    """A currency or another thing that money is counted in."""
    return model.ProtoOAAsset(assetId=view.asset_id, name=view.name, displayName=view.name, digits=view.digits)


def _pips(distance: float, info: SymbolInfo) -> float:
    return round(distance * 10.0**info.pip_position, _PIP_DECIMALS)


def _side(direction: int) -> Any:
    return model.BUY if direction > 0 else model.SELL


def _set(message: Any, **fields: object) -> None:
    """Set the fields that have a value; the others stay absent."""
    for name, value in fields.items():
        if value is not None:
            setattr(message, name, value)
