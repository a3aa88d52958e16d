"""``paper deposit`` and ``withdraw``."""

from __future__ import annotations

import json

from tests.cli.conftest import LATER, Cli


def balance(cli: Cli) -> int:
    return int(json.loads((cli.home / "state" / "paper" / "paper.json").read_bytes())["balance"])


def test_money_comes_and_goes_and_is_no_result(traded: Cli) -> None:
    before = balance(traded)
    ran = traded("paper", "deposit", "2500.50", "--now", LATER)
    assert (ran.code, ran.out) == (0, f"paper: balance {before / 100 + 2500.5:,.2f} USD\n")
    assert traded("paper", "withdraw", "500", "--now", LATER).code == 0
    assert balance(traded) == before + 200_050
    assert traded("guard", "--now", LATER).code == 0
    account = traded("status", "--json", "--now", LATER).json["accounts"]["paper"]
    assert account["risk"]["level"] == "ok"
    assert traded("journal", "--kind", "event", "--format", "csv").out.count("cash_flow") == 2


def test_what_is_not_there_cannot_be_withdrawn(traded: Cli) -> None:
    before = balance(traded)
    ran = traded("paper", "withdraw", "1000000", "--now", LATER)
    assert (ran.code, ran.out) == (69, "")
    assert "NOT_ENOUGH_MONEY" in ran.err
    assert "take out less" in ran.err
    assert balance(traded) == before


def test_an_amount_is_above_nothing(traded: Cli) -> None:
    for amount in ("0", "-5", "nan", "much"):
        assert traded("paper", "deposit", "--now", LATER, "--", amount).code == 64, amount


def test_one_account_is_meant(traded: Cli) -> None:
    config = traded.home / "config" / "oracle.toml"
    config.write_text('[[accounts]]\naccount = "paper"\n[[accounts]]\naccount = "other"\n', encoding="utf-8")
    ran = traded("paper", "deposit", "5", "--now", LATER)
    assert ran.code == 64
    assert "name one of paper, other" in ran.err
    assert traded("paper", "deposit", "5", "--account", "other", "--now", LATER).out == "other: balance 10,005.00 USD\n"
