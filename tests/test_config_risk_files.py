"""The files that ``[risk]`` names: which limits are in force, and what a file that is not there means."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from oracle_batch.config import RiskSettings
from oracle_batch.config.risk import Preset
from oracle_batch.config.risk_files import limit_rules, news_calendar
from oracle_batch.config.risk_limits import PRESETS, preset_rules, preset_text
from oracle_batch.errors import ConfigError, DataError
from oracle_batch.hands.limit_rules import EmergencyRule, own_rules


def test_every_preset_can_be_chosen() -> None:
    assert get_args(Preset) == ("none", *PRESETS, "custom")


def test_without_a_preset_the_keys_make_the_limits(tmp_path: Path) -> None:
    assert limit_rules(RiskSettings(), tmp_path) == own_rules(4.0, 8.0)
    loose = limit_rules(RiskSettings(max_daily_loss_pct=0, entries_stop_at=0.85, flatten_at=0.95), tmp_path)
    assert loose.daily == "none"
    assert loose.emergency == EmergencyRule(85.0, 95.0, "stops")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_in_force_as_it_is_shipped(
    preset: Preset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert limit_rules(RiskSettings(preset=preset), tmp_path) == preset_rules(preset)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("entries_stop_at", "flatten_at", "levels"),
    [(0.55, 0.7, (55.0, 70.0)), (0.85, 0.95, (80.0, 90.0)), (0.7, 0.95, (70.0, 90.0))],
)
def test_of_two_emergency_levels_the_stricter_counts(
    entries_stop_at: float, flatten_at: float, levels: tuple[float, float], tmp_path: Path
) -> None:
    risk = RiskSettings(preset="ftmo_2step", entries_stop_at=entries_stop_at, flatten_at=flatten_at)
    rules = limit_rules(risk, tmp_path)
    assert (rules.emergency.no_entries_pct, rules.emergency.flatten_pct) == levels
    assert msgspec.structs.replace(rules, emergency=preset_rules("ftmo_2step").emergency) == preset_rules("ftmo_2step")


def test_a_limit_beside_a_preset_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    limit_rules(RiskSettings(preset="ftmo_2step", max_daily_loss_pct=3), tmp_path)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "risk.max_daily_loss_pct is set, but preset = 'ftmo_2step' has its own limits" in record.getMessage()


def test_a_copied_preset_is_the_custom_one_where_its_header_says(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    text = preset_text("ftmo_2step").replace(b"loss_pct = 5.0", b"loss_pct = 4.0")
    (tmp_path / RiskSettings().rules_file).write_bytes(text)
    assert RiskSettings().rules_file.encode() in text
    daily = limit_rules(RiskSettings(preset="custom"), tmp_path).daily
    assert daily != "none"
    assert daily.loss_pct == 4.0


def test_a_custom_file_that_is_not_there_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file") as caught:
        limit_rules(RiskSettings(preset="custom", rules_file="mine.toml"), tmp_path)
    assert str(tmp_path / "mine.toml") in str(caught.value)
    assert caught.value.field == "risk.rules_file"
    assert "copy one of the presets" in str(caught.value.fix)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        limit_rules(RiskSettings(preset="custom", rules_file="."), tmp_path)


def test_a_mistake_in_the_custom_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(preset_text("ftmo_2step").replace(b'of = "initial"', b'of = "start"'))
    with pytest.raises(ConfigError, match=r"mine\.toml: daily\.of: invalid enum value 'start'"):
        limit_rules(RiskSettings(preset="custom", rules_file="mine.toml"), tmp_path)


def test_no_calendar_is_read_while_news_are_off(tmp_path: Path) -> None:
    assert news_calendar(RiskSettings(), tmp_path) is None


def test_the_calendar_is_read_below_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("time,currency,impact\n2026-11-06T13:30:00Z,USD,high\n")
    calendar = news_calendar(RiskSettings(news_mode="no_entry", news_file="n.csv"), tmp_path)
    assert calendar is not None
    assert [event.currency for event in calendar.events] == ["USD"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"time,currency,impact\n\xff", "is not UTF-8 text"),
        (b"time,currency\n", "column 'impact': is missing"),
    ],
)
def test_a_calendar_that_cannot_be_used_is_named(content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "n.csv").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        news_calendar(RiskSettings(news_mode="no_entry", news_file="n.csv"), tmp_path)
    assert str(tmp_path / "n.csv") in str(caught.value)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        news_calendar(RiskSettings(news_mode="no_entry", news_file="."), tmp_path)
