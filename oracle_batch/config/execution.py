"""``config/executor_symbols.json``: lots, protection and limits, by symbol or model id (DESIGN §6, §10)."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import msgspec
from msgspec import Meta

from oracle_batch.config.refusal import typed
from oracle_batch.errors import ConfigError
from oracle_batch.hands.protection import StopTrigger
from oracle_batch.types import WINDOW

_log = logging.getLogger(__name__)

Lots = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Bars = Annotated[int, Meta(ge=1, le=WINDOW - 1)]


class SymbolSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one symbol, or one model, is executed. A key that an entry leaves out has the default shown here.

    Lots by intensity. ``*_usd`` are distances in account currency, ``*_atr`` in multiples of the average true range
    over ``atr_period`` bars; of two stops, or two targets, the nearer counts. ``trail_step_usd`` is the least that a
    stop is moved by. ``max_stop_pct`` is of the balance, ``risk_per_trade_pct`` of the equity. ``max_spread_pips``
    and ``max_slippage_points`` limit entries, which are judged in ascending ``priority``. 0 = none, no limit.
    """

    enabled: bool = False
    lot_weak: Lots = 0.01
    lot_moderate: Lots = 0.03
    lot_strong: Lots = 0.05
    sl_usd: NotNegative = 10.0
    tp_usd: NotNegative = 0.0
    max_spread_pips: NotNegative = 3.0
    max_slippage_points: NotNegative = 0.0
    sl_atr: NotNegative = 0.0
    tp_atr: NotNegative = 0.0
    atr_period: Bars = 14
    trailing_usd: NotNegative = 0.0
    trail_step_usd: NotNegative = 0.0
    breakeven_usd: NotNegative = 0.0
    stop_trigger_method: StopTrigger = "trade"
    require_stop: bool = False
    max_stop_pct: Percent = 0.0
    risk_per_trade_pct: Percent = 0.0
    priority: int = 0

    def lots(self, intensity: int) -> float:
        """Lots of an intensity, 1 to 3."""
        return (self.lot_weak, self.lot_moderate, self.lot_strong)[intensity - 1]

    @property
    def has_stop(self) -> bool:
        """Whether entries carry a stop: one of their own, or the trailing distance as the first one."""
        return bool(self.sl_usd or self.sl_atr or self.trailing_usd)


KEYS: Final = {field.name: field.type for field in msgspec.structs.fields(SymbolSettings)}
_NEW_ENTRY_KEYS: Final = tuple(KEYS)[:7]


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
    known = {f"{key}.{name}": kind for name, kind in KEYS.items()}
    entry = typed(settings, SymbolSettings, file=file, known=known, within=key)
    for doubt in _doubts(entry):
        _log.warning("%s: %s: %s", file, key, doubt)
    return entry


def _doubts(entry: SymbolSettings) -> Iterator[str]:
    """What is allowed and probably not meant."""
    if not entry.lot_weak <= entry.lot_moderate <= entry.lot_strong:
        yield "lots do not rise from weak to strong"
    for name in ("require_stop", "max_stop_pct", "risk_per_trade_pct"):
        if getattr(entry, name) and not entry.has_stop:
            yield f"{name} refuses every entry, since none of sl_usd, sl_atr and trailing_usd is set"
    if entry.trail_step_usd > entry.trailing_usd > 0:
        yield "trail_step_usd is above trailing_usd: the stop follows in steps longer than its own distance"


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
