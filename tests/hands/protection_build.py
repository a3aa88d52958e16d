"""Settings and broker terms for the tests of protection, in few words."""

from __future__ import annotations

from dataclasses import dataclass

from oracle_batch.broker.base import SymbolSpec
from oracle_batch.hands.protection import StopTrigger, Terms


@dataclass(frozen=True)
class Settings:
    """What the operator decided; nothing unless said."""

    sl_usd: float = 0.0
    tp_usd: float = 0.0
    trailing_usd: float = 0.0
    breakeven_usd: float = 0.0
    sl_atr: float = 0.0
    tp_atr: float = 0.0
    trail_step_usd: float = 0.0
    require_stop: bool = False
    max_stop_pct: float = 0.0
    stop_trigger_method: StopTrigger = "trade"


def spec(symbol: str, digits: int, lot_units: int) -> SymbolSpec:
    """A contract of 0.01 to 100 lots in steps of 0.01."""
    cent_lot = lot_units
    return SymbolSpec(
        symbol, digits, lot_units * 100, cent_lot, cent_lot, cent_lot * 10_000, symbol[:3] or "X", symbol[3:] or "X"
    )


EURUSD = spec("EURUSD", 5, 100_000)
EURGBP = spec("EURGBP", 5, 100_000)
USDJPY = spec("USDJPY", 3, 100_000)
XAUUSD = spec("XAUUSD", 2, 100)
GER40 = spec("GER40", 1, 1)
JPN225 = spec("JPN225", 0, 1)
SPY = spec("SPY", 2, 1)


def terms(
    contract: SymbolSpec = EURUSD,
    rate: float = 1.0,
    spread: float = 0.0,
    slippage: float = 0.0,
    commission_per_lot: float = 0.0,
    min_stop_distance: float = 0.0,
    min_target_distance: float = 0.0,
) -> Terms:
    """A market that costs nothing, unless said."""
    return Terms(contract, rate, spread, slippage, commission_per_lot, min_stop_distance, min_target_distance)
