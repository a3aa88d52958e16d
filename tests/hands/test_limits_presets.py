"""What the shipped presets say, and how a file that says it wrongly is refused."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from oracle_batch.config.risk_limits import PRESETS, parse_rules, preset_rules, preset_text
from oracle_batch.errors import ConfigError
from oracle_batch.hands.limit_rules import DailyLimit, DayRule, MaximumLimit, own_rules

FILE = Path("config/risk_limits.toml")
GOOD = preset_text("ftmo_1step").decode()


@pytest.mark.parametrize(
    ("name", "daily", "maximum", "day"),
    [
        (
            "ftmo_2step",
            DailyLimit(5.0, "initial", "balance"),
            MaximumLimit(10.0, "initial", "never", "none"),
            DayRule("00:00", "Europe/Prague"),
        ),
        (
            "ftmo_1step",
            DailyLimit(3.0, "initial", "balance"),
            MaximumLimit(10.0, "initial", "eod_balance", "none"),
            DayRule("00:00", "Europe/Prague"),
        ),
        (
            "the5ers_high_stakes",
            DailyLimit(5.0, "anchor", "higher"),
            MaximumLimit(10.0, "initial", "never", "none"),
            DayRule("17:00", "America/New_York"),
        ),
    ],
)
def test_a_preset_says_what_its_firm_says(name: str, daily: DailyLimit, maximum: MaximumLimit, day: DayRule) -> None:
    rules = preset_rules(name)
    assert (rules.daily, rules.maximum, rules.day) == (daily, maximum, day)
    assert (rules.emergency.no_entries_pct, rules.emergency.flatten_pct) == (80.0, 90.0)
    assert rules.payouts == "stay"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_names_its_sources_and_the_day_they_were_read(name: str) -> None:
    rules = preset_rules(name)
    assert rules.sources
    assert all(source.startswith("https://") for source in rules.sources)
    assert rules.verified == datetime.date(2026, 11, 20)


@pytest.mark.parametrize("name", PRESETS)
def test_a_copied_preset_is_a_valid_custom_file(name: str) -> None:
    assert parse_rules(preset_text(name), FILE) == preset_rules(name)


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"risk\.preset: 'ftmo' is no preset \(one of: none, ftmo_2step"):
        preset_rules("ftmo")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('zone = "Europe/Prague"', 'zone = "Europe/Prag"', r"day: 'Europe/Prag' is no time zone"),
        ('zone = "Europe/Prague"', 'zone = "../etc/passwd"', "is no time zone"),
        ('reset = "00:00"', 'reset = "24:00"', r"day\.reset: "),
        ('anchor = "balance"', 'anchor = "ballance"', r"daily\.anchor: .*one of: balance, equity, higher"),
        ("loss_pct = 3.0", "", r"daily: object missing required field `loss_pct`"),
        ("loss_pct = 3.0", "loss_percent = 3.0", r"daily\.loss_percent: unknown key \(did you mean daily\.loss_pct"),
        ("loss_pct = 3.0", "loss_pct = 0", r"daily\.loss_pct: "),
        ("loss_pct = 3.0", "loss_pct = nan", r"daily\.loss_pct: nan is not a finite number"),
        ('lock_pct = "none"', "", r"maximum: object missing required field `lock_pct`"),
        ('trails = "eod_balance"', 'trails = "never"\nlock_pc = 1', r"maximum\.lock_pc: unknown key"),
        ("no_entries_pct = 80.0", "no_entries_pct = 95.0", "emergency: no_entries_pct is above flatten_pct"),
        ('payouts = "stay"', 'payouts = "follow"', 'does not go with a limit of = "initial"'),
        ("[emergency]", "", r"maximum\.no_entries_pct: unknown key"),
        ("[day]", "[day", "is not valid TOML"),
    ],
)
def test_a_wrong_file_is_refused_by_its_field(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError, match=message) as refusal:
        parse_rules(GOOD.replace(old, new).encode(), FILE)
    assert str(refusal.value).startswith("config/risk_limits.toml: ")


def test_a_limit_that_never_trails_cannot_lock() -> None:
    text = GOOD.replace('trails = "eod_balance"', 'trails = "never"').replace('lock_pct = "none"', "lock_pct = 0")
    with pytest.raises(ConfigError, match="never trails has lock_pct"):
        parse_rules(text.encode(), FILE)


def test_bytes_that_are_no_text_are_refused_by_their_line() -> None:
    with pytest.raises(ConfigError, match="line 2 is not UTF-8 text"):
        parse_rules(b"# fine\n\xff", FILE)


def test_a_file_without_any_limit_is_refused() -> None:
    head = GOOD[: GOOD.index("[daily]")].replace("[day]", 'daily = "none"\nmaximum = "none"\n[day]')
    with pytest.raises(ConfigError, match="holds no limit"):
        parse_rules((head + GOOD[GOOD.index("[emergency]") :]).encode(), FILE)


def test_own_limits_of_zero_are_off() -> None:
    assert own_rules(0, 0).daily == own_rules(0, 0).maximum == "none"
