"""Symbol contracts and trading costs: ``config/symbols.json``, then the shipped table, then the bundle (DESIGN §7).

Costs are not in the table: they come from ``config/symbols.json``, else from the bundle's ``training_config``.
Spread and slippage are carried as price distances, because a bundle counts them in *its* points, which need not be
the contract's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from oracle_batch.broker.base import SymbolSpec
from oracle_batch.bundle.model import Model
from oracle_batch.errors import ConfigError
from oracle_batch.hands.calendar import Schedule
from oracle_batch.market.spec_file import SymbolSettings
from oracle_batch.market.spec_table import MAX_LOTS, MIN_LOTS, STEP_LOTS, Terms, shipped


@dataclass(frozen=True, slots=True)
class Contract:
    """Everything that trading one symbol needs.

    ``spread`` and ``slippage`` are price distances, ``commission_per_lot`` account currency per lot and round turn,
    ``min_stop`` and ``min_target`` the least distances of protection from the market, ``swap_long`` and ``swap_short``
    what a night makes per unit (negative: costs), as price distances; ``source`` says where the terms came from.
    ``bundle_rate`` is account currency per unit of the quote asset as the bundle's ``pip_value`` implies it; None when
    no bundle counts in this contract's digits.
    """

    spec: SymbolSpec
    spread: float
    slippage: float
    commission_per_lot: float
    source: str
    bundle_rate: float | None
    min_stop: float = 0.0
    min_target: float = 0.0
    swap_long: float = 0.0
    swap_short: float = 0.0

    def swap(self, direction: int) -> float:
        """What a night makes, as a price distance; negative: it costs."""
        return self.swap_long if direction > 0 else self.swap_short


class Contracts:
    """Looks contracts up by the broker's symbol.

    ``models`` are the bundles in use, in any order; where two share a symbol, the first by model id speaks for it.
    """

    def __init__(
        self, settings: Mapping[str, SymbolSettings], models: Iterable[Model], currency: str, file: Path
    ) -> None:
        self._settings = settings
        self._currency = currency
        self._file = file
        self._models: dict[str, Model] = {}
        for model in sorted(models, key=lambda model: model.model_id):
            self._models.setdefault(model.broker_symbol, model)
        self._known: dict[str, Contract] = {}
        self._schedules: dict[str, Schedule | None] = {}

    def find(self, symbol: str) -> Contract | None:
        """The contract, None when no source knows the symbol.

        Raises:
            ConfigError: a term or a cost is impossible or nowhere given; names the file and the key to write.
        """
        if symbol not in self._known:
            terms, source = self._terms(symbol)
            if terms is None:
                return None
            self._known[symbol] = self._build(symbol, terms, source)
        return self._known[symbol]

    def schedule(self, symbol: str) -> Schedule | None:
        """When the symbol's market is open, None where nobody says."""
        if symbol not in self._schedules:
            given = self._settings.get(symbol, SymbolSettings()).schedule
            self._schedules[symbol] = given.schedule() if given is not None else None
        return self._schedules[symbol]

    def _terms(self, symbol: str) -> tuple[Terms | None, str]:
        given, model = self._settings.get(symbol, SymbolSettings()), self._models.get(symbol)
        base, source = shipped(symbol), "table"
        if base is None and model is not None:
            pip = model.costs.point * model.costs.points_per_pip
            base, source = Terms(model.costs.digits, model.costs.pip_value / pip, symbol, self._currency), "bundle"
        own = {key: value for key in Terms._fields if (value := getattr(given, key)) is not None}
        if base is not None:
            return base._replace(**own), "symbols.json" if own else source
        if symbol not in self._settings:
            return None, ""
        for key in Terms._fields:
            if key not in own:
                raise self._error(symbol, key, "is not known", "write it")
        return Terms(**own), "symbols.json"

    def _build(self, symbol: str, terms: Terms, source: str) -> Contract:
        given = self._settings.get(symbol, SymbolSettings())
        lot_cents = terms.lot_size * 100
        if source != "bundle" and lot_cents != int(lot_cents):
            raise self._error(symbol, "lot_size", "is no whole number of cents (1/100 unit)", "round it")
        lot = round(lot_cents)
        minimum, step, maximum = (
            self._cents(symbol, key, getattr(given, key), default, lot, source)
            for key, default in (("min_lots", MIN_LOTS), ("step_lots", STEP_LOTS), ("max_lots", MAX_LOTS))
        )
        if minimum > maximum:
            raise self._error(symbol, "min_lots", "is above max_lots", "swap them")
        if minimum % step:
            raise self._error(symbol, "min_lots", "is no multiple of step_lots", "raise it to one")
        spec = SymbolSpec(symbol, terms.digits, lot, minimum, step, maximum, terms.base, terms.quote)
        model = self._models.get(symbol)
        own_point, bundle_point = spec.point, model.costs.point if model else 0.0
        return Contract(
            spec,
            self._cost(symbol, "spread_points", own_point, bundle_point),
            self._cost(symbol, "slippage_points", own_point, bundle_point),
            self._cost(symbol, "commission_per_lot", 1.0, 1.0),
            source,
            _bundle_rate(spec, model),
            *(
                _product(points, own_point)
                for points in (
                    given.min_stop_points,
                    given.min_target_points,
                    given.swap_long_points,
                    given.swap_short_points,
                )
            ),
        )

    def _cents(self, symbol: str, key: str, lots: float | None, default: float, lot: int, source: str) -> int:
        cents = Decimal(str(lots if lots is not None else default)) * lot
        if lots is None and source == "bundle":
            return max(1, round(cents / 100) * 100) if key == "max_lots" else max(1, round(cents))
        if cents != int(cents) or cents < 1:
            raise self._error(symbol, key, f"makes {cents} hundredths of a unit, which is no whole volume", "change it")
        return int(cents)

    def _cost(self, symbol: str, key: str, own_point: float, bundle_point: float) -> float:
        given: float | None = getattr(self._settings.get(symbol, SymbolSettings()), key)
        if given is not None:
            return _product(given, own_point)
        model = self._models.get(symbol)
        if model is None:
            raise self._error(symbol, key, "is not known: no bundle trades this symbol", "write it")
        return _product(getattr(model.costs, key), bundle_point)

    def _error(self, symbol: str, key: str, problem: str, fix: str) -> ConfigError:
        return ConfigError(problem, file=self._file, field=f"{symbol}.{key}", fix=f"{fix} in this file")


def _bundle_rate(spec: SymbolSpec, model: Model | None) -> float | None:
    """rate = pip_value / (lot_size · pip_size), where the bundle counts in the same digits as the contract."""
    if model is None or model.costs.digits != spec.digits:
        return None
    return model.costs.pip_value / (spec.lot_size_cents / 100 * model.costs.point * model.costs.points_per_pip)


def _product(points: float, point: float) -> float:
    """A price distance without binary dust: 7 points of 0.00001 are 0.00007."""
    return float(Decimal(str(points)) * Decimal(str(point)))
