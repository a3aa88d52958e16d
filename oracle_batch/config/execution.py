"""``config/executor_symbols.json``: lots, protection and limits, by symbol or model id (DESIGN §6, §10)."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import msgspec
from msgspec import Meta

from oracle_batch.config.refusal import typed
from oracle_batch.errors import ConfigError

_log = logging.getLogger(__name__)

Lots = Annotated[float, Meta(gt=0)]
Money = Annotated[float, Meta(ge=0)]


class SymbolSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one symbol, or one model, is executed. A key that an entry leaves out has the default shown here.

    Lots by intensity; ``*_usd`` are distances in account currency (0 = none); ``max_spread_pips`` and
    ``max_slippage_points`` limit entries (0 = no limit); entries are judged in ascending ``priority``.
    """

    enabled: bool = False
    lot_weak: Lots = 0.01
    lot_moderate: Lots = 0.03
    lot_strong: Lots = 0.05
    sl_usd: Money = 10.0
    tp_usd: Money = 0.0
    max_spread_pips: Money = 3.0
    max_slippage_points: Money = 0.0
    trailing_usd: Money = 0.0
    breakeven_usd: Money = 0.0
    priority: int = 0

    def lots(self, intensity: int) -> float:
        """Lots of an intensity, 1 to 3."""
        return (self.lot_weak, self.lot_moderate, self.lot_strong)[intensity - 1]


KEYS: Final = SymbolSettings.__struct_fields__
_LATER: Final = ("sl_usd", "tp_usd", "max_spread_pips", "max_slippage_points", "trailing_usd", "breakeven_usd")
_NEW_ENTRY_KEYS: Final = KEYS[:7]


def not_yet_effective(entry: SymbolSettings) -> list[str]:
    """The keys of an entry that ask for something this release does not do yet."""
    return [name for name in _LATER if getattr(entry, name) > 0]


class ExecutorSymbols(msgspec.Struct, frozen=True):
    """All entries by key; ``errors`` holds the malformed ones, whose models must not trade."""

    entries: Mapping[str, SymbolSettings] = {}
    errors: Mapping[str, ConfigError] = {}

    def find(self, model: str, symbol: str, broker_symbol: str) -> SymbolSettings | None:
        """The entry of a model: by its id, else its symbol, else the broker's symbol; None when there is none.

        Raises:
            ConfigError: the entry that applies is malformed.
        """
        for key in (model, symbol, broker_symbol):
            if key in self.errors:
                raise self.errors[key]
            if key in self.entries:
                return self.entries[key]
        return None


class _Object(dict[str, Any]):
    """A JSON object that remembers keys given twice; comments may repeat."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        keys = [key for key, _ in pairs if not key.startswith("_")]
        self.twice = sorted({key for key in keys if keys.count(key) > 1})


def load_executor_symbols(path: Path) -> ExecutorSymbols:
    """The entries of a file; no file means no entries. One malformed entry does not touch the others.

    Raises:
        ConfigError: unreadable, or not one JSON object.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ExecutorSymbols()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=path) from error
    document = _parse(data, path)
    entries: dict[str, SymbolSettings] = {}
    errors: dict[str, ConfigError] = {}
    for key, value in document.items():
        if key.startswith("_"):
            continue
        try:
            if key in document.twice:
                raise ConfigError("is given twice", file=path, field=key, fix="keep one of them")
            entries[key] = _entry(key, value, path)
        except ConfigError as error:
            errors[key] = error
    return ExecutorSymbols(entries, errors)


def _entry(key: str, value: object, file: Path) -> SymbolSettings:
    if not isinstance(value, _Object):
        raise ConfigError("is no object of settings", file=file, field=key, fix="a comment's key starts with _")
    for name in value.twice:
        raise ConfigError("is given twice", file=file, field=f"{key}.{name}", fix="keep one of them")
    settings = {name: item for name, item in value.items() if not name.startswith("_")}
    known = dict.fromkeys(f"{key}.{name}" for name in KEYS)
    entry = typed(settings, SymbolSettings, file=file, known=known, within=key)
    if not entry.lot_weak <= entry.lot_moderate <= entry.lot_strong:
        _log.warning("%s: %s: lots do not rise from weak to strong", file, key)
    return entry


def _parse(data: bytes, file: Path) -> _Object:
    try:
        document = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_Object, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise ConfigError("is not UTF-8 text", file=file, fix="save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"is not valid JSON: {error}", file=file, fix="correct this line") from error
    if not isinstance(document, _Object):
        raise ConfigError("is not an object of symbols", file=file, fix='write { "EURUSD": { … } }')
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def created_defaults(data: bytes | None, symbols: Iterable[str], *, file: Path) -> bytes | None:
    """The file's bytes with a default entry (disabled) for each symbol that has none; None when all have one.

    What the operator wrote stays byte for byte; new entries are put at the end. The caller writes the file.

    Raises:
        ConfigError: ``data`` is not one JSON object.
    """
    data = b"{}" if data is None else data
    document = _parse(data, file)
    missing = [symbol for symbol in dict.fromkeys(symbols) if symbol not in document]
    if not missing:
        return None
    default = {name: getattr(SymbolSettings(), name) for name in _NEW_ENTRY_KEYS}
    added = json.dumps(dict.fromkeys(missing, default), indent=2, ensure_ascii=False)
    head, _, tail = data.decode("utf-8-sig").rpartition("}")
    comma = "," if document else ""
    return (head.rstrip() + comma + added[1:] + (tail or "\n")).encode()
