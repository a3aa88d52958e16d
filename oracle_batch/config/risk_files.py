"""The files that ``[risk]`` names, relative to the workspace: one's own loss limits and the calendar of news."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import msgspec

from oracle_batch.config.risk import RiskSettings
from oracle_batch.config.risk_limits import parse_rules, preset_rules
from oracle_batch.errors import ConfigError, DataError
from oracle_batch.hands.limit_rules import EmergencyRule, LimitRules, own_rules
from oracle_batch.hands.news import NewsCalendar, parse_news

_log = logging.getLogger(__name__)
_OWN: Final = ("max_daily_loss_pct", "max_drawdown_pct")


def limit_rules(risk: RiskSettings, home: Path) -> LimitRules:
    """The loss limits of an account.

    With ``preset = "none"`` they are made of ``[risk]`` keys. Else they are the preset's, or those of ``rules_file``,
    and of its emergency levels and ours the stricter count.

    Raises:
        ConfigError: ``rules_file`` is wanted and is missing, unreadable or malformed.
    """
    if risk.preset == "none":
        rules = own_rules(risk.max_daily_loss_pct, risk.max_drawdown_pct)
        return _with_levels(rules, _pct(risk.entries_stop_at), _pct(risk.flatten_at))
    for name in _OWN:
        if getattr(risk, name) != getattr(RiskSettings(), name):
            _log.warning("risk.%s is set, but preset = %r has its own limits", name, risk.preset)
    rules = _custom(home / risk.rules_file) if risk.preset == "custom" else preset_rules(risk.preset)
    theirs = rules.emergency
    return _with_levels(
        rules,
        min(theirs.no_entries_pct, _pct(risk.entries_stop_at)),
        min(theirs.flatten_pct, _pct(risk.flatten_at)),
    )


def news_calendar(risk: RiskSettings, home: Path) -> NewsCalendar | None:
    """The calendar of ``news_file``; None with ``news_mode = "off"``.

    Raises:
        DataError: it is missing, unreadable or malformed. Whoever catches this goes on without a calendar, which
            refuses entries (``UNKNOWN_NEWS``) and no close.
    """
    if risk.news_mode == "off":
        return None
    path = home / risk.news_file
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError("no such file", file=path, fix="put a calendar there, or correct risk.news_file") from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path) from error
    except UnicodeDecodeError as error:
        raise DataError("is not UTF-8 text", file=path, fix="save it as UTF-8") from error
    return parse_news(text, file=path)


def _custom(path: Path) -> LimitRules:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        fix = "copy one of the presets there, or correct risk.rules_file"
        raise ConfigError("no such file", file=path, field="risk.rules_file", fix=fix) from error
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=path) from error
    return parse_rules(data, path)


def _with_levels(rules: LimitRules, no_entries_pct: float, flatten_pct: float) -> LimitRules:
    emergency = EmergencyRule(no_entries_pct, flatten_pct, rules.emergency.flatten_counts)
    return msgspec.structs.replace(rules, emergency=emergency)


def _pct(share: float) -> float:
    """A share in percent, as a person would write it.

    >>> _pct(0.55), _pct(0.8)
    (55.0, 80.0)
    """
    return round(share * 100, 9)
