"""What the simulated broker lists: symbols, assets, and how one asset converts into another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from oracle_batch.broker.base import SymbolSpec
from oracle_batch.bundle.model import Model
from oracle_batch.errors import ConfigError
from oracle_batch.market.spec_file import SymbolSettings
from oracle_batch.market.spec_table import CURRENCIES
from oracle_batch.market.specs import Contracts
from oracle_batch.sim.values import Asset, SymbolInfo

OWN_COSTS: Final = {"spread_points": 7.0, "slippage_points": 2.0, "commission_per_lot": 7.0}
"""The simulator's terms where neither ``config/symbols.json`` nor a bundle has any: what most bundles count with."""
_OWN_SPREADS: Final = {"USDJPY": 9.0, "XAUUSD": 20.0}
_YEN_LIKE: Final = ("JPY", "HUF")
_FIRST: Final = ("USD", "EUR")


def simulated_contracts(
    symbols: Iterable[str],
    settings: Mapping[str, SymbolSettings],
    models: Sequence[Model],
    currency: str,
    file: Path = Path("config/symbols.json"),
) -> Contracts:
    """Contracts as the paper broker finds them, with the simulator's own costs where it would find none."""
    bundled = {model.broker_symbol for model in models}
    filled = dict(settings)
    for symbol in symbols:
        if symbol not in bundled:
            given = filled.get(symbol, SymbolSettings())
            own = OWN_COSTS | {"spread_points": _OWN_SPREADS.get(symbol, OWN_COSTS["spread_points"])}
            missing = {key: value for key, value in own.items() if getattr(given, key) is None}
            filled[symbol] = replace(given, **missing)
    return Contracts(filled, models, currency, file)


def conversion_pairs(asset: str, currency: str, known: Sequence[str]) -> list[str] | None:
    """Pairs among the known symbols that turn an asset into a currency: one, or two over another currency (USD first,
    then EUR); None when there are none."""
    if asset == currency:
        return []
    direct = _pair(asset, currency, known)
    if direct is not None:
        return [direct]
    for middle in sorted(set(CURRENCIES) - {asset, currency}, key=_rank):
        legs = _pair(asset, middle, known), _pair(middle, currency, known)
        if legs[0] is not None and legs[1] is not None:
            return [legs[0], legs[1]]
    return None


class Listing:
    """Symbols by id and by name: the traded ones first, in their order, then what is needed to convert.

    Raises:
        ConfigError: a symbol is listed twice, has no terms, or no way into the account currency.
    """

    def __init__(self, traded: Sequence[str], folder: Sequence[str], contracts: Contracts, currency: str) -> None:
        if len(set(traded)) != len(traded):
            raise ConfigError("a symbol is named twice", field="--symbols", fix="name each once")
        names = [*traded, *sorted(_conversions(traded, folder, contracts, currency) - set(traded))]
        found = {name: contracts.find(name) for name in names}
        self.assets: dict[int, Asset] = {}
        self._asset_ids: dict[str, int] = {}
        for asset in (currency, *sorted({one for c in found.values() if c for one in _assets_of(c.spec)} - {currency})):
            self._asset_ids[asset] = len(self._asset_ids) + 1
            self.assets[len(self._asset_ids)] = Asset(len(self._asset_ids), asset, 0 if asset in _YEN_LIKE else 2)
        self.infos: dict[int, SymbolInfo] = {}
        self._ids: dict[str, int] = {}
        for symbol_id, name in enumerate(names, 1):
            contract = found[name]
            if contract is None:
                raise ConfigError("is in no contract source", file="config/symbols.json", field=name, fix="describe it")
            base, quote = _assets_of(contract.spec)
            self._ids[name] = symbol_id
            self.infos[symbol_id] = SymbolInfo(
                symbol_id=symbol_id,
                name=name,
                contract=contract,
                base_asset_id=self._asset_ids[base],
                quote_asset_id=self._asset_ids[quote],
                schedule=contracts.schedule(name),
                tradable=name in traded,
            )

    def symbol_id(self, name: str) -> int | None:
        return self._ids.get(name)

    def info(self, name: str) -> SymbolInfo:
        return self.infos[self._ids[name]]

    def asset_id(self, name: str) -> int:
        return self._asset_ids[name]

    def chain(self, first: int, last: int) -> list[SymbolInfo] | None:
        """The shortest way from one asset to another over listed symbols, None when there is none."""
        ways: dict[int, list[SymbolInfo]] = {first: []}
        queue = [first]
        for asset in queue:
            if asset == last:
                return ways[asset]
            for info, other in self._neighbours(asset):
                if other not in ways:
                    ways[other] = [*ways[asset], info]
                    queue.append(other)
        return None

    def _neighbours(self, asset: int) -> Iterator[tuple[SymbolInfo, int]]:
        found = []
        for info in self.infos.values():
            if asset in (info.base_asset_id, info.quote_asset_id):
                other = info.quote_asset_id if info.base_asset_id == asset else info.base_asset_id
                found.append((info, other))
        return iter(sorted(found, key=lambda pair: (*_rank(self.assets[pair[1]].name), pair[0].symbol_id)))


def _conversions(traded: Sequence[str], folder: Sequence[str], contracts: Contracts, currency: str) -> set[str]:
    needed: set[str] = set()
    for name in traded:
        contract = contracts.find(name)
        if contract is None:
            continue
        base, quote = _assets_of(contract.spec)
        pairs = conversion_pairs(quote, currency, folder)
        if pairs is None and contract.bundle_rate is None:
            fix = f"put bars of {quote}{currency} or {currency}{quote} into the folder"
            raise ConfigError(f"{name}: no pair leads from {quote} to {currency}", field="--data", fix=fix)
        needed.update(pairs or [], conversion_pairs(base, currency, folder) or [])
    return needed


def _pair(asset: str, other: str, known: Sequence[str]) -> str | None:
    return next((name for name in (asset + other, other + asset) if name in known), None)


def _assets_of(spec: SymbolSpec) -> tuple[str, str]:
    return spec.base_asset, spec.quote_asset


def _rank(asset: str) -> tuple[int, str]:
    return (_FIRST.index(asset) if asset in _FIRST else len(_FIRST)), asset
