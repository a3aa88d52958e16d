"""``config/symbols.json``: the operator's own contracts and costs, by symbol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from oracle_batch.errors import ConfigError
from oracle_batch.hands.calendar import Schedule
from oracle_batch.market.schedules import parse_schedule

_LIMITS: Final = {
    "digits": (0.0, 8.0),
    **dict.fromkeys(("spread_points", "slippage_points", "commission_per_lot"), (0.0, 1e9)),
    **dict.fromkeys(("min_stop_points", "min_target_points"), (0.0, 1e9)),
    **dict.fromkeys(("swap_long_points", "swap_short_points"), (-1e9, 1e9)),
    **dict.fromkeys(("lot_size", "min_lots", "step_lots", "max_lots"), (1e-9, 1e12)),
}


class ScheduleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Market hours, as ``schedules.parse_schedule`` reads them."""

    zone: str
    sessions: tuple[str, ...]
    holidays: tuple[str, ...] = ()

    def schedule(self) -> Schedule:
        return parse_schedule(self.zone, self.sessions, self.holidays)


class SymbolSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of ``config/symbols.json``; a key that is left out comes from the next source.

    Lot sizes in units, points of 10^-digits, commission in the account currency per lot and round turn. Protection lies
    at least ``min_…_points`` from the market; a night adds ``swap_…_points`` to a position's result (negative: a cost).
    Without a schedule the market is taken to be open, and its breaks are unknown.
    """

    digits: int | None = None
    lot_size: float | None = None
    min_lots: float | None = None
    step_lots: float | None = None
    max_lots: float | None = None
    base: str | None = None
    quote: str | None = None
    spread_points: float | None = None
    slippage_points: float | None = None
    commission_per_lot: float | None = None
    min_stop_points: float = 0.0
    min_target_points: float = 0.0
    swap_long_points: float = 0.0
    swap_short_points: float = 0.0
    schedule: ScheduleSettings | None = None


def load_settings(path: Path) -> dict[str, SymbolSettings]:
    """The entries of ``config/symbols.json``; none when there is no such file. Keys starting with ``_`` are comments.

    Raises:
        ConfigError: the file is no such JSON, a key is unknown, a value has the wrong type or range.
    """
    try:
        raw = json.loads(path.read_bytes(), object_pairs_hook=lambda pairs: _unique(pairs, path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read: {error}", file=path, fix="correct the JSON") from error
    if not isinstance(raw, dict):
        raise ConfigError("is no JSON object", file=path, fix='write {"EURUSD": {…}}')
    return {symbol: _entry(symbol, entry, path) for symbol, entry in raw.items() if not symbol.startswith("_")}


def _unique(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    for key in (names := [name for name, _ in pairs if not name.startswith("_")]):
        if names.count(key) > 1:
            raise ConfigError("stands twice", file=path, field=key, fix="keep one")
    return dict(pairs)


def _entry(symbol: str, raw: Any, path: Path) -> SymbolSettings:
    if isinstance(raw, dict):
        raw = {key: value for key, value in raw.items() if not key.startswith("_")}
    try:
        entry = msgspec.convert(raw, SymbolSettings)
    except msgspec.ValidationError as error:
        keys = ", ".join(SymbolSettings.__struct_fields__)
        raise ConfigError(f"{error}", file=path, field=symbol, fix=f"the keys are {keys}") from error
    for key, (low, high) in _LIMITS.items():
        value = getattr(entry, key)
        if value is not None and not low <= value <= high:
            outside = f"{value} is outside {low:g} to {high:g}"
            raise ConfigError(outside, file=path, field=f"{symbol}.{key}", fix="correct it")
    for key in ("base", "quote"):
        if getattr(entry, key) == "":
            raise ConfigError("is empty", file=path, field=f"{symbol}.{key}", fix="name the asset")
    try:
        if entry.schedule is not None:
            entry.schedule.schedule()
    except ValueError as error:
        raise ConfigError(str(error), file=path, field=f"{symbol}.schedule", fix="correct it") from error
    return entry
