"""Loss limits from a preset that comes with the program, or from the operator's own file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from oracle_batch.config.refusal import typed
from oracle_batch.errors import ConfigError
from oracle_batch.hands.limit_rules import LimitRules

PRESETS: Final = ("ftmo_2step", "ftmo_1step", "the5ers_high_stakes")
"""Presets with a file of their own. ``none`` is made of ``[risk]`` keys, ``custom`` of the operator's file."""


def preset_text(name: str) -> bytes:
    """The file of a preset, to be copied by whoever wants other numbers."""
    return (resources.files("oracle_batch") / "risk_presets" / f"{name}.toml").read_bytes()


def preset_rules(name: str) -> LimitRules:
    """The limits of one of ``PRESETS``.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        fix = "one of: " + ", ".join(("none", *PRESETS, "custom"))
        raise ConfigError(f"{name!r} is no preset", field="risk.preset", fix=fix)
    return parse_rules(preset_text(name), Path(f"{name}.toml"))


def parse_rules(data: bytes, file: Path) -> LimitRules:
    """The limits in a file's bytes.

    Raises:
        ConfigError: no TOML, or a key that is missing, unknown, mistyped or contradicts another; no limit at all.
    """
    try:
        document = tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"line {line} is not UTF-8 text", file=file, fix="save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"is not valid TOML: {error}", file=file, fix="correct this line") from error
    rules = typed(document, LimitRules, file=file, known=_KEYS)
    if rules.daily == "none" and rules.maximum == "none":
        raise ConfigError("holds no limit", file=file, field="daily", fix="give [daily] or [maximum]")
    return rules


def _keys_of(kind: type[msgspec.Struct], within: str = "") -> Iterator[tuple[str, Any]]:
    for field in msgspec.structs.fields(kind):
        name = f"{within}.{field.name}".lstrip(".")
        inner = next((one for one in (field.type, *get_args(field.type)) if _is_section(one)), None)
        if inner is None:
            yield name, field.type
        else:
            yield from _keys_of(inner, name)


def _is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


_KEYS: Final = dict(_keys_of(LimitRules))
