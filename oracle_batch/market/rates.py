"""What one unit of an asset is worth in the account currency, and how we know."""

from __future__ import annotations

from dataclasses import dataclass

from oracle_batch.errors import ConfigError, DataError
from oracle_batch.hands.prices import exact
from oracle_batch.market.spec_table import CURRENCIES
from oracle_batch.market.specs import Contract
from oracle_batch.market.tape import Tape

MAX_AGE_S = 7 * 86400
"""A pair whose newest price is older than this no longer tells a rate."""
PLAUSIBLE = {
    "USD": 1.0, "EUR": 0.9, "GBP": 0.8, "CHF": 0.9, "JPY": 140.0, "CAD": 1.35, "AUD": 1.5, "NZD": 1.65, "HKD": 7.8
}  # fmt: skip
_FACTOR = 3.0
"""Rough units per US dollar: a bundle's implied rate further off than the factor is a mistake in its ``pip_value``."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Account currency per unit of an asset; ``source`` is e.g. ``same``, ``pair:GBPUSD``, ``bundle:pip_value``."""

    value: float
    source: str


SAME = Rate(1.0, "same")


class Rates:
    """Conversion by the pairs of a feed: direct, inverse, or over one other asset (USD first, then EUR).

    Bid prices as of the instant are used throughout. Without a usable pair the bundle's ``pip_value`` decides.
    """

    def __init__(self, tape: Tape, currency: str) -> None:
        self._tape = tape
        self._currency = currency
        self._symbols = frozenset(tape.source.symbols())
        self._middles: dict[str, tuple[str, ...]] = {}

    def profit_rate(self, contract: Contract, at: float) -> Rate:
        """Account currency per unit of the contract's quote asset.

        Raises:
            ConfigError: neither a pair nor a believable bundle tells it.
            BarError: the pair's bars break the rules.
        """
        quote = contract.spec.quote_asset
        rate = self._by_pairs(quote, at)
        if rate is not None:
            return rate
        if contract.bundle_rate is not None:
            self._believe(contract, contract.bundle_rate)
            return Rate(contract.bundle_rate, "bundle:pip_value")
        raise ConfigError(
            f"{contract.spec.symbol}: no rate from {quote} to {self._currency}",
            field="broker.paper.data",
            fix=f"put bars of {quote}{self._currency} into the folder",
        )

    def margin_rate(self, contract: Contract, price: float, at: float) -> Rate:
        """Account currency per unit of the contract: by its base asset where pairs tell, else by price and quote."""
        base = self._by_pairs(contract.spec.base_asset, at)
        if base is not None:
            return base
        quote = self.profit_rate(contract, at)
        return Rate(float(exact(price) * exact(quote.value)), quote.source)

    def _by_pairs(self, asset: str, at: float) -> Rate | None:
        if asset == self._currency:
            return SAME
        direct = self._leg(asset, self._currency, at)
        if direct is not None:
            return Rate(direct[0], f"pair:{direct[1]}")
        if asset not in self._middles:
            self._middles[asset] = self._crossings(asset)
        for middle in self._middles[asset]:
            first, second = self._leg(asset, middle, at), self._leg(middle, self._currency, at)
            if first is not None and second is not None:
                return Rate(float(exact(first[0]) * exact(second[0])), f"pair:{first[1]}*{second[1]}")
        return None

    def _leg(self, asset: str, other: str, at: float) -> tuple[float, str] | None:
        for symbol, inverse in ((asset + other, False), (other + asset, True)):
            if symbol in self._symbols:
                mark = self._tape.last(symbol, at)
                if mark is not None and mark.time > at - MAX_AGE_S:
                    return (1.0 / mark.bid, f"1/{symbol}") if inverse else (mark.bid, symbol)
        return None

    def _crossings(self, asset: str) -> tuple[str, ...]:
        others = {symbol.removeprefix(asset) for symbol in self._symbols if symbol.startswith(asset)}
        others |= {symbol.removesuffix(asset) for symbol in self._symbols if symbol.endswith(asset)}
        return tuple(
            sorted(others & set(CURRENCIES) - {self._currency}, key=lambda name: (name != "USD", name != "EUR", name))
        )

    def _believe(self, contract: Contract, rate: float) -> None:
        quote, account = PLAUSIBLE.get(contract.spec.quote_asset), PLAUSIBLE.get(self._currency)
        if quote and account and not 1 / _FACTOR < rate * quote / account < _FACTOR:
            spec = contract.spec
            raise DataError(
                f"{spec.symbol}: the bundle's pip_value makes 1 {spec.quote_asset} = {rate:g} {self._currency}",
                field="training_config.pip_value",
                fix=f"put bars of {spec.quote_asset}{self._currency} into the data folder",
            )
