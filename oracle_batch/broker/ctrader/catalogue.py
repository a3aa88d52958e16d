"""The account's symbols and assets by name and id, and the contracts of those we trade, kept on disk for a day.

``state/ctrader/ACCOUNT-symbols.json`` is a cache: it may be deleted, and one that cannot be read is fetched anew.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from oracle_batch.broker.base import SymbolSpec
from oracle_batch.broker.ctrader import translate
from oracle_batch.broker.ctrader.session import Session
from oracle_batch.clock import Clock
from oracle_batch.errors import BrokerError, StateError
from oracle_batch.openapi.messages import Envelope, api, model
from oracle_batch.store.files import read_bytes, replace_atomically, state_error

_log = logging.getLogger(__name__)

SCHEMA: Final = 1
MAX_AGE_S: Final = 86400.0


class Light(msgspec.Struct, frozen=True):
    """A symbol as lists show it; assets by id."""

    symbol_id: int
    name: str
    base: int
    quote: int


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    host: str
    account_id: int
    fetched_at: float
    assets: dict[int, str]
    symbols: list[Light]
    contracts: dict[int, str]
    """The broker's own message of a symbol, in base64."""
    chains: dict[str, list[Light]]


class Catalogue:
    """Symbols of one account. Fetches what it lacks; ``save`` puts what was fetched on disk."""

    def __init__(self, session: Session, account_id: int, path: Path | None, clock: Clock) -> None:
        self._session = session
        self._account_id = account_id
        self._path = path
        self._clock = clock
        self._fetched_at = 0.0
        self._assets: dict[int, str] = {}
        self._by_name: dict[str, Light] = {}
        self._by_id: dict[int, Light] = {}
        self._contracts: dict[int, Any] = {}
        self._chains: dict[str, list[Light]] = {}
        self._changed = False
        self._load()
        self._stop = session.listen(self._heard)

    async def contracts(self, names: Sequence[str]) -> dict[str, Any]:
        """The broker's own description of each symbol that it knows."""
        found = await self._lights(names)
        missing = [light.symbol_id for light in found.values() if light.symbol_id not in self._contracts]
        if missing:
            answer = await self._session.request(
                api.ProtoOASymbolByIdReq(ctidTraderAccountId=self._account_id, symbolId=missing)
            )
            self._contracts |= {one.symbolId: one for one in answer.symbol}
            self._changed = True
        known = {name: self._contracts.get(light.symbol_id) for name, light in found.items()}
        return {name: contract for name, contract in known.items() if contract is not None}

    async def specs(self, names: Sequence[str]) -> dict[str, SymbolSpec]:
        """Contracts as plain values; a symbol that the broker does not know, or not whole, is absent."""
        found = {}
        for name, contract in (await self.contracts(names)).items():
            light = self._by_name[name]
            spec = translate.spec(name, contract, self.asset(light.base), self.asset(light.quote))
            if spec is None:
                _log.warning("%s: the broker does not tell its lot size and volumes", name)
            else:
                found[name] = spec
        return found

    def known(self, name: str) -> Light | None:
        """A symbol's list entry as far as it is known without asking."""
        return self._by_name.get(name)

    def known_name(self, symbol_id: int) -> str:
        """A symbol's name as far as it is known without asking, else its number."""
        light = self._by_id.get(symbol_id)
        return light.name if light else f"#{symbol_id}"

    async def name_of(self, symbol_id: int) -> str:
        """A symbol's name; one that no list shows is told by its number."""
        if symbol_id not in self._by_id:
            await self._fetch_once()
        return self.known_name(symbol_id)

    async def digits_of(self, symbol_id: int) -> int:
        """The price digits of a symbol.

        Raises:
            BrokerError: the broker does not know it.
        """
        if symbol_id not in self._contracts:
            await self.contracts([await self.name_of(symbol_id)])
        if symbol_id not in self._contracts:
            request = api.ProtoOASymbolByIdReq(ctidTraderAccountId=self._account_id, symbolId=[symbol_id])
            self._contracts |= {one.symbolId: one for one in (await self._session.request(request)).symbol}
        if symbol_id not in self._contracts:
            raise BrokerError(f"symbol {symbol_id} is not known to the broker")
        return int(self._contracts[symbol_id].digits)

    async def id_of(self, name: str) -> int | None:
        """A symbol's id, None when the broker does not know it."""
        light = (await self._lights([name])).get(name)
        return light.symbol_id if light else None

    async def chain(self, first: int, last: int) -> list[Light]:
        """The symbols that lead from one asset to another, in order; empty when they are the same.

        Raises:
            BrokerError: there is no way, or the server does not answer.
        """
        if first == last:
            return []
        key = f"{first}-{last}"
        if key not in self._chains:
            answer = await self._session.request(
                api.ProtoOASymbolsForConversionReq(
                    ctidTraderAccountId=self._account_id, firstAssetId=first, lastAssetId=last
                )
            )
            self._chains[key] = [_light(one) for one in answer.symbol]
            self._changed = True
        for light in self._chains[key]:  # some are in no list
            self._by_id.setdefault(light.symbol_id, light)
            self._by_name.setdefault(light.name, light)
        return self._chains[key]

    async def light(self, name: str) -> Light | None:
        """A symbol's list entry."""
        return (await self._lights([name])).get(name)

    def asset(self, asset_id: int) -> str:
        """An asset's name, empty when the broker does not tell."""
        return self._assets.get(asset_id, "")

    async def asset_id(self, name: str) -> int | None:
        """The id of an asset by its name."""
        if not self._assets:
            await self._fetch_once()
        return next((number for number, known in self._assets.items() if known == name), None)

    async def asset_name(self, asset_id: int) -> str:
        """An asset's name.

        Raises:
            BrokerError: the broker does not know it.
        """
        if asset_id not in self._assets:
            await self._fetch_once()
        if asset_id not in self._assets:
            raise BrokerError(f"asset {asset_id} is not known to the broker")
        return self._assets[asset_id]

    def save(self) -> None:
        """Put what was fetched on disk; that this fails is told and harms nothing."""
        self._stop()
        if self._path is None or not self._changed:
            return
        document = _Document(
            SCHEMA,
            self._session.door.host,
            self._account_id,
            self._fetched_at,
            self._assets,
            list(self._by_id.values()),
            {key: base64.b64encode(one.SerializeToString()).decode() for key, one in self._contracts.items()},
            self._chains,
        )
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_atomically(self._path, msgspec.json.encode(document) + b"\n")
        except OSError as error:
            _log.warning("%s", state_error(error, self._path.parent, "make the folder"))
        except StateError as error:
            _log.warning("the list of symbols could not be kept: %s", error)

    # inside

    async def _lights(self, names: Sequence[str]) -> dict[str, Light]:
        if not self._young:  # a session is too short for its lists to age
            self._young = 0 <= self._clock.now() - self._fetched_at <= MAX_AGE_S
        if not self._young or any(name not in self._by_name for name in names):
            await self._fetch_once()
        return {name: self._by_name[name] for name in names if name in self._by_name}

    async def _fetch_once(self) -> None:
        """The lists anew, once in a session; what was known of contracts is forgotten with them."""
        if self._fresh:
            return
        account = self._account_id
        assets = await self._session.request(api.ProtoOAAssetListReq(ctidTraderAccountId=account))
        listed = await self._session.request(api.ProtoOASymbolsListReq(ctidTraderAccountId=account))
        self._take({one.assetId: one.name for one in assets.asset}, map(_light, listed.symbol))
        self._contracts, self._chains = {}, {}
        self._fetched_at = self._clock.now()
        self._fresh = self._changed = self._young = True

    _fresh = False
    _young = False

    def _take(self, assets: dict[int, str], lights: Iterable[Light]) -> None:
        self._assets = assets
        self._by_id = {light.symbol_id: light for light in lights}
        self._by_name = {light.name: light for light in self._by_id.values()}

    def _load(self) -> None:
        if self._path is None:
            return
        try:
            data = read_bytes(self._path)
            if data is None:
                return
            document = msgspec.json.decode(data, type=_Document)
            contracts = {
                key: model.ProtoOASymbol.FromString(base64.b64decode(text, validate=True))
                for key, text in document.contracts.items()
            }
        except (StateError, msgspec.DecodeError, ValueError) as error:
            _log.warning("%s cannot be read and is fetched anew: %s", self._path, error)
            return
        ours = (SCHEMA, self._session.door.host, self._account_id)
        if (document.schema, document.host, document.account_id) == ours:
            self._take(document.assets, document.symbols)
            self._contracts, self._chains = contracts, document.chains
            self._fetched_at = document.fetched_at

    def _heard(self, envelope: Envelope) -> None:
        message = envelope.message
        if isinstance(message, api.ProtoOASymbolChangedEvent) and message.ctidTraderAccountId == self._account_id:
            for symbol_id in message.symbolId:
                self._contracts.pop(symbol_id, None)
            self._changed = True


def _light(message: Any) -> Light:
    return Light(message.symbolId, message.symbolName, message.baseAssetId, message.quoteAssetId)
