"""The JSON comment of a bundle: every number that trading needs is there, has its type and makes sense."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from oracle_batch.bundle.model import Decoding, FeatureParams, ObservationPnl, TrainingCosts
from oracle_batch.bundle.problems import EXPORT_AGAIN, Problems, shorten, strict_json
from oracle_batch.types import ACTIONS, TIMEFRAME_SECONDS, WINDOW, model_id

FORMATS: Final = ("2.0", "2.1")
FEATURE_SET: Final = "v1"
MAX_ID_LENGTH: Final = 30
"""So that an order's id, ``ob-{model}-{bar_time}-{n}``, stays within the broker's 50 characters."""

_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9_#][A-Za-z0-9_.#+-]*")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")

_Money = Annotated[float, Meta(gt=0, le=1e9)]
_Points = Annotated[float, Meta(ge=0, le=1e6)]
_Lots = Annotated[float, Meta(ge=0, le=1e6)]
_WithPrevious = Annotated[int, Meta(ge=1, le=WINDOW - 1)]
"""A period that also looks at the bar before it."""
_Within = Annotated[int, Meta(ge=1, le=WINDOW)]

_FIELDS: Final[dict[str, Any]] = {
    "format_version": Literal["2.0", "2.1"],
    "symbol.name": Annotated[str, Meta(min_length=1)],
    "symbol.clean": Annotated[str, Meta(min_length=1, max_length=50)],
    "symbol.timeframe": str,
    "training_config.point": _Money,
    "training_config.pip_value": _Money,
    "training_config.spread_points": _Points,
    "training_config.slippage_points": _Points,
    "training_config.commission_per_lot": Annotated[float, Meta(ge=0, le=1e6)],
    "training_config.digits": Annotated[int, Meta(ge=0, le=8)],
    "training_config.lot_sizes": tuple[_Lots, _Lots, _Lots, _Lots],
    "hmm_config.n_states": Annotated[int, Meta(ge=1, le=100)],
    "hmm_config.momentum_period": _WithPrevious,
    "hmm_config.consistency_period": _WithPrevious,
    "hmm_config.range_period": _Within,
    "rl_config.roc_period": _WithPrevious,
    "rl_config.atr_period": _WithPrevious,
    "rl_config.ema_period": Annotated[int, Meta(ge=1, le=1_000_000)],
    "rl_config.range_period": _Within,
    "rl_config.volume_ma_period": _Within,
    "actions": dict[str, Any],
}
"""Required keys. Others may stand beside them (the format is open), none of these may be missing."""

_OPTIONAL: Final[dict[str, Any]] = {
    "hmm_config.decoding": Decoding,
    "observation_pnl": ObservationPnl,
    "rl_config.observation_pnl": ObservationPnl,
    "feature_set": Literal["v1"],
    "sha256": dict[str, str],
}


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a bundle says about itself. ``member_hashes`` are SHA-256 in hex by member name, empty in format 2.0."""

    format_version: str
    symbol: str
    broker_symbol: str
    timeframe: str
    n_states: int
    decoding: Decoding
    observation_pnl: ObservationPnl
    features: FeatureParams
    costs: TrainingCosts
    member_hashes: dict[str, str]

    @property
    def model_id(self) -> str:
        return model_id(self.symbol, self.timeframe)


def read_metadata(comment: bytes, stem: str, problems: Problems) -> Metadata | None:
    """The metadata in a ZIP comment; None after noting every reason against them.

    ``stem`` is the file's name without ``.zip``, which must be the model id. ``observation_pnl`` stands at the top
    level (or, equally, in ``rl_config``); it defaults to ``previous``, and ``hmm_config.decoding`` to ``single``.
    """
    before = len(problems.found)
    if not comment:
        problems.add("ZIP comment", "is missing; the metadata of a bundle are its ZIP comment")
        return None
    values: dict[str, Any] = {}
    with problems.collecting("ZIP comment"):
        values = _fields(strict_json(comment), problems)
        _check_identity(values, stem, problems)
        _check_costs(values, problems)
        _check_actions(values.get("actions"), problems)
        _check_hashes(values.get("sha256", {}), problems)
    if len(problems.found) > before:
        return None
    places = {values[key] for key in ("observation_pnl", "rl_config.observation_pnl") if key in values}
    if len(places) > 1:
        problems.add("observation_pnl", "is not the same at the top level and in rl_config")
        return None
    return Metadata(
        format_version=values["format_version"],
        symbol=values["symbol.name"],
        broker_symbol=values["symbol.clean"],
        timeframe=values["symbol.timeframe"],
        n_states=values["hmm_config.n_states"],
        decoding=values.get("hmm_config.decoding", "single"),
        observation_pnl=places.pop() if places else "previous",
        features=FeatureParams(
            momentum_period=values["hmm_config.momentum_period"],
            consistency_period=values["hmm_config.consistency_period"],
            hmm_range_period=values["hmm_config.range_period"],
            roc_period=values["rl_config.roc_period"],
            atr_period=values["rl_config.atr_period"],
            ema_period=values["rl_config.ema_period"],
            rl_range_period=values["rl_config.range_period"],
            volume_ma_period=values["rl_config.volume_ma_period"],
        ),
        costs=TrainingCosts(
            **{
                name: values[f"training_config.{name}"]
                for name in (
                    "point",
                    "digits",
                    "pip_value",
                    "spread_points",
                    "slippage_points",
                    "commission_per_lot",
                    "lot_sizes",
                )
            }
        ),
        member_hashes=values.get("sha256", {}),
    )


def _fields(document: dict[str, Any], problems: Problems) -> dict[str, Any]:
    """The known keys by dotted name, each converted to its type; every failure is noted."""
    values: dict[str, Any] = {}
    sections = dict.fromkeys(name.partition(".")[0] for name in _FIELDS if "." in name)
    broken = {name for name in sections if name in document and not isinstance(document[name], dict)}
    for name in broken:
        problems.add(name, f"is {shorten(document[name])}, not an object")
    for name, kind in {**_FIELDS, **_OPTIONAL}.items():
        section, dot, key = name.rpartition(".")
        holder = document.get(section, {}) if dot else document
        if section in broken:
            continue
        if key not in holder:
            if name in _FIELDS:
                problems.add(name, "is missing")
            continue
        try:
            values[name] = msgspec.convert(holder[key], kind, strict=True)
        except msgspec.ValidationError as error:
            problems.add(name, f"is {shorten(holder[key])}: {error}")
    return values


def _check_identity(values: dict[str, Any], stem: str, problems: Problems) -> None:
    name, timeframe, broker = (values.get(f"symbol.{key}") for key in ("name", "timeframe", "clean"))
    if broker is not None and (
        not broker.isprintable() or set(broker) & set("|/\\") or broker != broker.strip() or broker.startswith(".")
    ):
        problems.add("symbol.clean", f"is {shorten(broker)}, which no broker calls a symbol")
    if timeframe is not None and timeframe not in TIMEFRAME_SECONDS:
        problems.add("symbol.timeframe", f"is {shorten(timeframe)}, none of {' '.join(TIMEFRAME_SECONDS)}")
        timeframe = None
    if name is not None and (not _SAFE_NAME.fullmatch(name) or ".." in name):
        problems.add("symbol.name", f"is {shorten(name)}; it names files: letters, digits and _ . # + - only")
        name = None
    if name is None or timeframe is None:
        return
    identifier = model_id(name, timeframe)
    if len(identifier) > MAX_ID_LENGTH:
        problems.add("symbol.name", f"makes the model id {identifier} longer than {MAX_ID_LENGTH} characters")
    elif stem != identifier:
        problems.add("symbol", f"says {identifier}, but the file is named {shorten(stem)}", f"name it {identifier}.zip")


def _check_costs(values: dict[str, Any], problems: Problems) -> None:
    point, digits = values.get("training_config.point"), values.get("training_config.digits")
    if point is not None and digits is not None and abs(point * 10.0**digits - 1.0) > 1e-9:
        problems.add("training_config.point", f"is {point}, but training_config.digits says {10.0**-digits:g}")
    lots = values.get("training_config.lot_sizes")
    if lots is not None and not (lots[0] == 0.0 < lots[1] <= lots[2] <= lots[3]):
        problems.add("training_config.lot_sizes", f"is {list(lots)}; it starts at 0, then grows from weak to strong")


def _check_actions(actions: dict[str, Any] | None, problems: Problems) -> None:
    if actions is None:
        return
    for action in ACTIONS:
        wanted = {key: value for key, value in asdict(action).items() if key != "index"}
        given = actions.get(str(action.index))
        if given != wanted or any(type(given[key]) is not type(wanted[key]) for key in wanted):
            problems.add(f"actions.{action.index}", f"is not {action.name}: a foreign actions table")
    for key in actions:
        if key not in {str(action.index) for action in ACTIONS}:
            problems.add(f"actions.{shorten(key)[1:-1]}", "is an action that this program does not have")


def _check_hashes(hashes: dict[str, str], problems: Problems) -> None:
    for name, digest in hashes.items():
        if not _SHA256.fullmatch(digest):
            problems.add(f"sha256.{shorten(name)[1:-1]}", "is not a SHA-256 in lower-case hex", EXPORT_AGAIN)
