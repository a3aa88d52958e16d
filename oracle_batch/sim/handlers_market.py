"""What can be traded: symbols, assets, categories, conversion chains."""

from __future__ import annotations

from typing import Final

from oracle_batch.openapi.messages import api
from oracle_batch.sim import wire
from oracle_batch.sim.calls import Call, Route, Routes
from oracle_batch.sim.refused import Refused
from oracle_batch.sim.values import SymbolInfo

_NAME: Final = "Forex"


def symbols_list(call: Call) -> None:
    """Every symbol, briefly."""
    known = call.server.exchange.symbols.values()
    call.reply(
        api.ProtoOASymbolsListRes(
            ctidTraderAccountId=call.account, symbol=[wire.light_symbol(info) for info in known if info.tradable]
        )
    )


def symbol_by_id(call: Call) -> None:
    """Some symbols in full."""
    found = [wire.symbol(find_symbol(call, symbol_id)) for symbol_id in call.message.symbolId]
    call.reply(api.ProtoOASymbolByIdRes(ctidTraderAccountId=call.account, symbol=found))


def symbols_for_conversion(call: Call) -> None:
    """The chain of symbols from one asset to another."""
    first, last = call.message.firstAssetId, call.message.lastAssetId
    chain = call.server.exchange.conversion_chain(first, last)
    if chain is None:
        raise Refused("SYMBOL_NOT_FOUND", f"No conversion chain from asset {first} to {last}")
    call.reply(
        api.ProtoOASymbolsForConversionRes(
            ctidTraderAccountId=call.account, symbol=[wire.light_symbol(info) for info in chain]
        )
    )


def symbol_categories(call: Call) -> None:
    """The one category that all symbols are in."""
    answer = api.ProtoOASymbolCategoryListRes(ctidTraderAccountId=call.account)
    answer.symbolCategory.add(id=wire.CATEGORY, assetClassId=wire.ASSET_CLASS, name=_NAME)
    call.reply(answer)


def asset_classes(call: Call) -> None:
    """The one class of assets."""
    answer = api.ProtoOAAssetClassListRes(ctidTraderAccountId=call.account)
    answer.assetClass.add(id=wire.ASSET_CLASS, name=_NAME)
    call.reply(answer)


def assets(call: Call) -> None:
    """Everything that symbols are made of."""
    known = call.server.exchange.assets.values()
    call.reply(api.ProtoOAAssetListRes(ctidTraderAccountId=call.account, asset=[wire.asset(view) for view in known]))


def find_symbol(call: Call, symbol_id: int) -> SymbolInfo:
    """A symbol by its id.

    Raises:
        Refused: there is none.
    """
    info = call.server.exchange.symbols.get(symbol_id)
    if info is None:
        raise Refused("SYMBOL_NOT_FOUND", f"Symbol not found with id {symbol_id}")
    return info


ROUTES: Final[Routes] = {
    api.ProtoOASymbolsListReq: Route(symbols_list),
    api.ProtoOASymbolByIdReq: Route(symbol_by_id),
    api.ProtoOASymbolsForConversionReq: Route(symbols_for_conversion),
    api.ProtoOASymbolCategoryListReq: Route(symbol_categories),
    api.ProtoOAAssetClassListReq: Route(asset_classes),
    api.ProtoOAAssetListReq: Route(assets),
}
