"""``config/oracle.toml``: what is shipped is what is documented, and a mistake is named with its fix."""

from __future__ import annotations

import logging
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.config import AccountSettings, RiskSettings, Settings, TickSettings, load_settings
from oracle_batch.config.rules import EntryRules, LowProfit, StoplossGuard
from oracle_batch.config.settings import parse_settings
from oracle_batch.errors import ConfigError
from oracle_batch.types import TIMEFRAME_SECONDS

SHIPPED = Path(__file__).parent.parent / "config" / "oracle.toml"
FILE = Path("config/oracle.toml")


def parse(text: str) -> Settings:
    return parse_settings(text.encode(), FILE)


def refusal(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.exit_code == 78
    assert str(caught.value).startswith("config/oracle.toml: ")
    return caught.value


def test_the_shipped_file_says_exactly_the_defaults() -> None:
    assert load_settings(SHIPPED, explicit=True) == Settings()


def test_the_shipped_file_holds_every_key_with_a_comment() -> None:
    document = tomllib.loads(SHIPPED.read_text())
    settings = Settings()
    [account] = settings.accounts
    everything = {"broker": account, "tick": settings.tick, "risk": settings.risk}
    expected = keys(msgspec.to_builtins(everything))
    assert keys(document) == {key for key in expected if not key.startswith("broker.risk")}
    assert {"risk.preset", "risk.max_drawdown_pct", "risk.low_profit.trade_limit", "broker.symbols"} <= keys(document)
    section = ""
    for line in SHIPPED.read_text().splitlines():
        section = line.partition("]")[0].removeprefix("[") if line.startswith("[") else section
        if line and line[0] not in " #[":
            assert " # " in line, (section, line)
        assert len(line) <= 120


def keys(document: object, within: str = "") -> set[str]:
    """Every dotted key of nested tables, the tables included."""
    if not isinstance(document, dict):
        return {within}
    inner = {key for name, value in document.items() for key in keys(value, f"{within}.{name}".lstrip("."))}
    return inner | ({within} if within else set())


def test_bars_are_the_brokers_own_or_the_connections() -> None:
    [paper] = parse("").accounts
    [live_paper] = parse('[broker.paper]\nfeed = "ctrader"').accounts
    [real] = parse('[broker]\nkind = "ctrader"').accounts
    assert [one.source for one in (paper, live_paper, real)] == ["paper", "ctrader", "ctrader"]


def test_the_documented_defaults() -> None:
    settings = parse("")
    [account] = settings.accounts
    assert (account.kind, account.account) == ("paper", "paper")
    assert msgspec.to_builtins(account.paper) == {
        "feed": "folder",
        "data": "data",
        "balance": 10000.0,
        "currency": "USD",
        "leverage": 100.0,
    }
    assert msgspec.to_builtins(account.ctrader) == {
        "environment": "demo",
        "host": "",
        "port": 5035,
        "cafile": "",
        "account_id": 0,
    }
    assert msgspec.to_builtins(settings.tick) == {
        "entry_deadline_s": 60,
        "arm_s": 20,
        "bar_poll_s": 5,
        "tick_deadline_s": 120,
        "first_signal": "wait",
        "same_volume": "hold",
        "same_symbol": "independent",
        "auto_warmup": True,
        "max_blind_bars": 4,
        "max_exit_spread_pips": 0,
        "exit_wait_s": 30,
    }
    assert account.symbols == "config/executor_symbols.json"
    assert account.risk == settings.risk
    own = {key: getattr(settings.risk, key) for key in RiskSettings.__struct_fields__ if not hasattr(EntryRules, key)}
    assert own == {
        "preset": "none",
        "rules_file": "config/risk_limits.toml",
        "initial_balance": 0,
        "max_daily_loss_pct": 4.0,
        "max_drawdown_pct": 8.0,
        "entries_stop_at": 0.8,
        "flatten_at": 0.9,
        "news_file": "config/news.csv",
    }
    assert settings.risk.max_open_positions == 20
    assert settings.risk.max_consecutive_losses == 5
    assert settings.risk.max_consecutive_losses_account == 10


def test_a_fresh_workspace_runs_on_the_defaults_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert load_settings(tmp_path / "oracle.toml") == Settings()
    [record] = caplog.records
    assert f"{tmp_path / 'oracle.toml'} is missing" in record.getMessage()


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file") as caught:
        load_settings(tmp_path / "mine.toml", explicit=True)
    assert str(tmp_path / "mine.toml") in str(caught.value)


def test_a_folder_in_the_files_place_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_settings(tmp_path)


def test_everything_that_works_in_this_release_can_be_set() -> None:
    settings = parse(
        """
        [broker]
        account = "demo-1"
        [broker.paper]
        data = "/bars"
        balance = 500
        currency = "EUR"
        leverage = 30.5
        [tick]
        entry_deadline_s = 90
        bar_poll_s = 0
        tick_deadline_s = 60
        first_signal = "enter"
        same_volume = "reopen"
        same_symbol = "no_opposite"
        auto_warmup = false
        max_blind_bars = 1
        max_exit_spread_pips = 2.5
        exit_wait_s = 10
        """
    )
    [account] = settings.accounts
    assert account.account == "demo-1"
    assert (account.paper.balance, account.paper.leverage, account.paper.currency) == (500.0, 30.5, "EUR")
    assert settings.tick == TickSettings(90, 20.0, 0.0, 60.0, "enter", "reopen", "no_opposite", False, 1, 2.5, 10.0)
    assert settings.tick.entry_deadline("H4") == 90


def test_entry_deadlines_by_timeframe() -> None:
    tick = parse("[tick]\nentry_deadline_s = { M15 = 30, H1 = 120 }").tick
    assert {timeframe: tick.entry_deadline(timeframe) for timeframe in TIMEFRAME_SECONDS} == {
        **dict.fromkeys(TIMEFRAME_SECONDS, 60),
        "M15": 30,
        "H1": 120,
    }


def test_several_accounts_keep_their_order() -> None:
    settings = parse(
        '[[accounts]]\naccount = "b"\n[accounts.paper]\nbalance = 5\n[[accounts]]\naccount = "a"\nkind = "paper"\n'
    )
    assert [(account.account, account.paper.balance) for account in settings.accounts] == [("b", 5.0), ("a", 10000.0)]


def test_every_rule_of_risk_is_read() -> None:
    risk = parse(
        """
        [risk]
        preset = "custom"
        rules_file = "/etc/limits.toml"
        initial_balance = 100000
        max_daily_loss_pct = 0
        max_drawdown_pct = 3
        entries_stop_at = 0.5
        flatten_at = 1
        max_open_positions = 0
        max_consecutive_losses = 3
        max_consecutive_losses_account = 4
        cooldown_min = 60
        max_symbol_exposure = 1e5
        max_symbol_exposure_gross = 2e5
        max_currency_exposure = 3e5
        max_currency_exposure_gross = 4e5
        min_free_margin_pct = 20
        max_spread_vs_median = 2.5
        max_quote_age_s = 10
        max_bar_age_s = 60
        trading_hours = ["Mon-Fri 07:00-20:00"]
        blackout = ["2026-12-24T18:00/2026-12-27T00:00"]
        hours_zone = "Europe/Prague"
        no_entry_before_break_min = 60
        flat_before_break_min = 15
        min_break_h = 3
        news_mode = "flat_before"
        news_file = "news.csv"
        news_impact = "medium"
        news_before_min = 2
        news_after_min = 3
        news_flat_min = 4
        max_trades_per_day = 9
        max_trade_requests_day = 2000
        profit_target_pct = 10
        allow_opposite_across_accounts = true
        [risk.stoploss_guard]
        trade_limit = 3
        lookback_min = 120
        stop_duration_min = 60
        only_per_pair = true
        [risk.low_profit]
        trade_limit = 5
        lookback_min = 600
        stop_duration_min = 30
        required_profit = -10
        [risk.symbol_currencies]
        US30 = ["USD"]
        """
    ).risk
    default = RiskSettings()
    assert [key for key in RiskSettings.__struct_fields__ if getattr(risk, key) == getattr(default, key)] == []
    assert (risk.preset, risk.rules_file, risk.initial_balance) == ("custom", "/etc/limits.toml", 100000)
    assert risk.stoploss_guard == StoplossGuard(3, 120, 60, True)
    assert risk.low_profit == LowProfit(5, 600, 30, -10)
    assert risk.symbol_currencies == {"US30": ("USD",)}
    assert isinstance(risk, EntryRules)


def test_an_account_overrides_the_common_limits_key_by_key() -> None:
    settings = parse(
        """
        [risk]
        max_open_positions = 7
        flatten_at = 0.85
        [risk.stoploss_guard]
        trade_limit = 3
        only_per_pair = true
        [[accounts]]
        account = "own"
        [[accounts]]
        account = "challenge"
        symbols = "config/executor_symbols_B.json"
        [accounts.risk]
        preset = "ftmo_2step"
        max_open_positions = 2
        [accounts.risk.stoploss_guard]
        trade_limit = 5
        """
    )
    own, challenge = settings.accounts
    guard = StoplossGuard(trade_limit=3, only_per_pair=True)
    assert own.risk == settings.risk == RiskSettings(max_open_positions=7, flatten_at=0.85, stoploss_guard=guard)
    assert own.symbols == "config/executor_symbols.json"
    assert challenge.symbols == "config/executor_symbols_B.json"
    guard = StoplossGuard(trade_limit=5, only_per_pair=True)
    assert challenge.risk == RiskSettings(
        preset="ftmo_2step", max_open_positions=2, flatten_at=0.85, stoploss_guard=guard
    )


@pytest.mark.parametrize("broker", ["", "[broker]\naccount = 'a'\n"])
def test_the_one_account_has_the_common_limits(broker: str) -> None:
    settings = parse(broker + "[risk]\npreset = 'ftmo_1step'")
    assert settings.accounts[0].risk == settings.risk == RiskSettings(preset="ftmo_1step")


def test_the_one_account_may_override_them_too() -> None:
    settings = parse("[broker.risk]\nmax_open_positions = 1")
    assert settings.accounts[0].risk == RiskSettings(max_open_positions=1)
    assert settings.risk == RiskSettings()


@pytest.mark.parametrize(
    ("text", "field", "message", "fix"),
    [
        ("[tick]\nentry_dedline_s = 3", "tick.entry_dedline_s", "unknown key", "did you mean tick.entry_deadline_s?"),
        ("[brokr]", "brokr", "unknown key", "did you mean broker?"),
        ("[broker.papre]", "broker.papre", "unknown key", "did you mean broker.paper?"),
        ("arm_s = 3", "arm_s", "unknown key", "did you mean tick.arm_s?"),
        (
            "[tick]\nentry_deadline_s = { H1 = 9, M15 = '60' }",
            "tick.entry_deadline_s.M15",
            "expected `int`, got `str`",
            None,
        ),
        (
            "[[accounts]]\n[[accounts]]\n[accounts.risk]\nsymbol_currencies = { A = ['USD'], US500 = ['usd'] }",
            "accounts[1].risk.symbol_currencies.US500[0]",
            "expected `str` matching regex",
            None,
        ),
        ("[risk]\ncolour = 'x'", "risk.colour", "unknown key", "known keys: risk.max_open_positions, risk."),
        (
            "[risk.stoploss_guard]\ntrade_limits = 3",
            "risk.stoploss_guard.trade_limits",
            "unknown key",
            "did you mean risk.stoploss_guard.trade_limit?",
        ),
        (
            "[risk]\npreset = 'ftmo'",
            "risk.preset",
            "invalid enum value 'ftmo'",
            "one of: none, ftmo_2step, ftmo_1step, the5ers_high_stakes, custom",
        ),
        ("max_open_positions = 3", "max_open_positions", "unknown key", "did you mean risk.max_open_positions?"),
        ("risk = 3", "risk", "expected `object`, got `int`", None),
        ("[risk]\nmax_daily_loss_pct = 101", "risk.max_daily_loss_pct", "expected `float` <= 100.0", None),
        ("[risk]\nentries_stop_at = 0", "risk.entries_stop_at", "expected `float` > 0.0", None),
        ("[risk]\nflatten_at = 90", "risk.flatten_at", "expected `float` <= 1.0", None),
        ("[risk]\nflatten_at = 0.7", "risk.entries_stop_at", "0.8 is above flatten_at (0.7)", "entries stop before"),
        ("[risk]\nentries_stop_at = 0.95", "risk.entries_stop_at", "0.95 is above flatten_at (0.9)", "entries stop"),
        ("[risk]\npreset = 'custom'\nrules_file = ''", "risk.rules_file", "is empty", 'preset = "custom" needs a file'),
        (
            "[risk]\nnews_mode = 'no_trade'\nnews_file = ''",
            "risk.news_file",
            "is empty",
            'news_mode = "no_trade" needs a calendar',
        ),
        (
            "[risk]\nhours_zone = 'Prague'",
            "risk.hours_zone",
            "'Prague' is no time zone",
            "names are like Europe/Prague",
        ),
        (
            "[risk]\ntrading_hours = ['Mon-Fri']\nblackout = ['Fri 8pm']",
            "risk.blackout",
            "'Fri 8pm' is no window",
            "write e.g. 'Mon-Fri 07:00-20:00'",
        ),
        ("[risk]\ntrading_hours = 'Mon-Fri'", "risk.trading_hours", "expected `array`, got `str`", None),
        (
            "[risk.symbol_currencies]\nUS30 = []",
            "risk.symbol_currencies",
            "US30: name one currency, or base and quote",
            None,
        ),
        (
            "[[accounts]]\n[accounts.risk]\npreset = 'x'",
            "accounts[0].risk.preset",
            "invalid enum value 'x'",
            "one of: none, ftmo_2step",
        ),
        (
            "[[accounts]]\n[accounts.risk]\nmax_loss = 1",
            "accounts[0].risk.max_loss",
            "unknown key",
            "did you mean accounts.risk.max_",
        ),
        (
            "[risk]\nentries_stop_at = 0.6\nflatten_at = 0.7\n[[accounts]]\n[accounts.risk]\nentries_stop_at = 0.75",
            "accounts[0].risk.entries_stop_at",
            "0.75 is above flatten_at (0.7)",
            "entries stop before",
        ),
        ("[[accounts]]\nrisk = 3", "accounts[0].risk", "expected `object`, got `int`", None),
        ("accounts = 3", "accounts", "expected `array | null`, got `int`", None),
        ("accounts = [3]", "accounts[0]", "expected `object`, got `int`", None),
        ("broker = 3", "broker", "expected `object | null`, got `int`", None),
        ("[broker]\nsymbols = ''", "broker.symbols", "expected `str` of length >= 1", None),
        ("[risk]\nmax_open_positions = -1\n[[accounts]]", "risk.max_open_positions", "expected `int` >= 0", None),
        (
            "[[accounts]]\n[[accounts]]\nacount = 'b'",
            "accounts[1].acount",
            "unknown key",
            "did you mean accounts.account?",
        ),
        ("[broker]\nbalance = 5", "broker.balance", "unknown key", "did you mean broker.paper.balance?"),
        (
            "[broker.ctrader]\nclient_secret = 'hunter2'",
            "broker.ctrader.client_secret",
            "unknown key",
            "secrets come from the environment, never from a file",
        ),
        ("tick = 3", "tick", "expected `object`, got `int`", None),
        ("[tick]\nauto_warmup = 1", "tick.auto_warmup", "expected `bool`, got `int`", None),
        ("[tick]\nmax_blind_bars = 1.5", "tick.max_blind_bars", "expected `int`, got `float`", None),
        ("[tick]\nmax_blind_bars = 0", "tick.max_blind_bars", "expected `int` >= 1", None),
        ("[tick]\nfirst_signal = 'no'", "tick.first_signal", "invalid enum value 'no'", "one of: wait, enter"),
        ("[broker]\nkind = 'mt5'", "broker.kind", "invalid enum value 'mt5'", "one of: paper, ctrader"),
        ("[tick]\nentry_deadline_s = 0", "tick.entry_deadline_s", "expected `int` >= 1", None),
        ("[tick]\nentry_deadline_s = 'a'", "tick.entry_deadline_s", "expected `int | object`, got `str`", None),
        ("[tick.entry_deadline_s]\nM15 = 0", "tick.entry_deadline_s.M15", "0 is not at least 1 second", None),
        ("[tick.entry_deadline_s]\nM7 = 60", "tick.entry_deadline_s.M7", "is no timeframe", "known: M1, M5, M15"),
        ("[broker.paper]\nbalance = nan", "broker.paper.balance", "nan is not a finite number", None),
        ("[broker.paper]\nleverage = inf", "broker.paper.leverage", "inf is not a finite number", None),
        ("[[accounts]]\n[accounts.paper]\nbalance = -inf", "accounts[0].paper.balance", "-inf is not a finite", None),
        ("[broker.paper]\nbalance = 0", "broker.paper.balance", "expected `float` > 0.0", None),
        ("[broker.paper]\ncurrency = 'usd'", "broker.paper.currency", "matching regex", None),
        ("[broker]\naccount = '../x'", "broker.account", "'../x' cannot name a file", "use letters, digits"),
        ("[broker]\naccount = ''", "broker.account", "'' cannot name a file", "use letters, digits"),
        ("[broker]\naccount = '.hidden'", "broker.account", "cannot name a file", "a letter or digit first"),
        ("accounts = []", "accounts", "holds no account", "use [broker]"),
        ("[broker]\n[[accounts]]", "accounts", "[broker] and [[accounts]] are both given", "keep one"),
        ("[[accounts]]\n[[accounts]]", "accounts[1].account", "'paper' also names accounts[0]", "its own name"),
        (
            "[[accounts]]\naccount = 'A'\n[[accounts]]\naccount = 'a'",
            "accounts[1].account",
            "'a' also names accounts[0]",
            "its own name",
        ),
    ],
)
def test_a_mistake_is_named_with_its_fix(text: str, field: str, message: str, fix: str | None) -> None:
    error = refusal(text)
    assert error.field == field
    assert message in error.message
    if fix is None:
        assert error.fix is None
    else:
        assert fix in str(error.fix)
    assert "hunter2" not in str(error)


def test_a_lead_longer_than_a_run_may_wait_is_refused() -> None:
    error = refusal("[tick]\narm_s = 301")
    assert error.field == "tick.arm_s"
    assert parse("[tick]\narm_s = 0").tick.arm_s == 0


@pytest.mark.parametrize(
    ("text", "where"),
    [("[tick]\narm_s = = 3", "line 2"), ("[tick]\n\n[tick]\n", "line 3"), ("a = 1\na = 2", "line 2")],
)
def test_a_syntax_error_names_its_line(text: str, where: str) -> None:
    error = refusal(text)
    assert "is not valid TOML" in error.message
    assert where in error.message


def test_a_file_in_another_encoding_names_its_line() -> None:
    with pytest.raises(ConfigError, match="line 2 is not UTF-8"):
        parse_settings(b"[tick]\n# \xff\n", FILE)


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert parse_settings(b"\xef\xbb\xbf[tick]\n", FILE) == Settings()


@given(st.text(max_size=60))
def test_any_text_is_settings_or_a_config_error(text: str) -> None:
    try:
        assert isinstance(parse(text), Settings)
    except ConfigError:
        pass
    except UnicodeEncodeError:
        pass


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True))
def test_an_accepted_account_name_stays_in_its_folder(name: str) -> None:
    [account] = parse(f"[broker]\naccount = '{name}'").accounts
    assert account == AccountSettings(account=name)
    assert (Path("/state/journal") / name).resolve().parent == Path("/state/journal")
