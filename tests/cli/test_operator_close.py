"""``close``, ``enable``, ``disable``, ``orphans`` on the command line: what they print, ask and exit with."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from oracle_batch.cli import confirm
from oracle_batch.operating import visits
from oracle_batch.store.lock import hold
from tests.cli.conftest import LATER, MODEL, Cli, child, snapshot
from tests.tick.fakes import RefusesCloses
from tests.tick.lab import Lab

AFTER = "2026-07-24T08:16:00Z"
NEXT = "2026-07-24T08:30:01Z"


def status(cli: Cli, now: str = AFTER) -> Any:
    return cli("status", "--json", "--now", now).json["accounts"]["paper"]["models"][MODEL]


def spoil_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    real = visits.make_broker
    monkeypatch.setattr(visits, "make_broker", lambda *one, **more: RefusesCloses(real(*one, **more)))


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper account counts as one with real money."""
    monkeypatch.setattr(confirm, "is_live", lambda _: True)


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> list[str]:
    """Somebody sits there and says this; gives what was asked."""
    asked: list[str] = []

    def say(question: str, **_: object) -> bool:
        asked.append(question)
        return text == "y"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", say)
    return asked


# close


@pytest.mark.parametrize("target", [MODEL, "EURUSD", "--all"])
def test_close_says_what_it_closed_and_then_that_nothing_is_open(traded: Cli, target: str) -> None:
    ran = traded("close", target, "--now", AFTER)
    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"{MODEL}: position ")
    assert " closed, net " in ran.out
    assert "CLOSED|EURUSD|" in ran.err
    found = status(traded)
    assert (found["real"], found["waiting"], found["position_id"]) == ("FLAT", "operator", None)
    before = snapshot(traded.home)
    ran = traded("close", target, "--now", AFTER)
    assert (ran.code, ran.out) == (0, "nothing is open\n" if target == "--all" else f"{target}: nothing is open\n")
    assert snapshot(traded.home) == before


def test_the_next_tick_does_not_open_it_again(traded: Cli) -> None:
    traded("close", "--all", "--now", AFTER)
    before = status(traded)["desired"]
    report = traded("tick", "--json", "--now", NEXT).json["models"][MODEL]
    assert report["signal"].split("_")[0] == before.split("_")[0], "the sample's signal goes on in its direction"
    assert (report["decision"], report["ack"], report["reason"]) == ("WAIT_SYNC", "WAIT_SYNC", "OPERATOR")


def test_a_close_waits_for_the_tick_that_holds_the_lock(traded: Cli) -> None:
    with hold(traded.home / "state" / "lock"):
        process = child("--home", traded.home, "close", "--all", "--now", AFTER)
        time.sleep(2)
        assert process.poll() is None
        assert status(traded)["position_id"] is not None
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith(f"{MODEL}: position ")


def test_a_lock_that_is_never_free_is_75(traded: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits.visit, "__kwdefaults__", {"timeout_s": 0.1})
    with hold(traded.home / "state" / "lock"):
        ran = traded("close", "--all", "--now", AFTER)
    assert (ran.code, ran.out) == (75, "")
    assert "holds the lock" in ran.err


def test_a_refused_close_is_told_and_pending(traded: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil_closes(monkeypatch)
    ran = traded("close", MODEL, "--now", AFTER)
    assert (ran.code, ran.out) == (1, "")
    assert "is still open (MARKET_CLOSED); the next run that can closes it" in ran.err
    assert status(traded)["pending_close"] is True


@pytest.mark.parametrize(
    ("code", "arguments", "message"),
    [
        (64, ["close"], "name a model or a symbol, or say --all"),
        (64, ["close", MODEL, "--all"], "name a model or a symbol, or say --all"),
        (78, ["close", "NOPE"], "no model is or trades 'NOPE'"),
        (78, ["close", "--all", "--account", "other"], "there is no account 'other' (known: paper)"),
        (64, ["enable"], "Missing argument"),
        (78, ["enable", "NOPE"], "no model is or trades 'NOPE'"),
        (78, ["disable", "NOPE"], "no model is or trades 'NOPE'"),
        (64, ["orphans", "--close", "1", "--adopt", "2", "--as", MODEL], "exclude each other"),
        (64, ["orphans", "--adopt", "2"], "belong together"),
        (64, ["orphans", "--as", MODEL], "belong together"),
        (64, ["orphans", "--intensity", "2"], "belong together"),
        (64, ["orphans", "--adopt", "2", "--as", MODEL, "--intensity", "4"], "'4' is not one of"),
        (64, ["orphans", "--close", "1", "--json"], "--json is for the list"),
        (64, ["orphans", "--close", "one"], "'one' is not a valid int"),
        (64, ["orphans", "--adopt", "99", "--as", MODEL], "account paper holds no position 99"),
        (64, ["orphans", "--adopt", "99", "--as", "NOPE"], "there is no model 'NOPE'"),
    ],
)
def test_a_wrong_call_changes_nothing(code: int, arguments: list[str], message: str, traded: Cli) -> None:
    before = snapshot(traded.home)
    ran = traded(*arguments, *(() if arguments[0] in ("enable", "disable") else ("--now", AFTER)))
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err
    assert snapshot(traded.home) == before


@pytest.mark.parametrize("command", [["close", "--all"], ["enable", "EURUSD"], ["orphans"], ["journal"]])
def test_a_mistyped_home_is_told_not_created(command: list[str], empty: Cli) -> None:
    ran = empty.bare("--home", empty.home / "absent", *command)
    assert ran.code == 78
    assert "no such folder" in ran.err
    assert not (empty.home / "absent").exists()


def test_every_command_tells_what_it_does(empty: Cli) -> None:
    listing = empty.bare("--help").out
    for name in ("close", "enable", "disable", "orphans", "journal", "pause", "resume"):
        assert f"  {name} " in listing
        ran = empty.bare(name, "--help")
        assert ran.code == 0
        assert len(ran.out.splitlines()) > 5


# enable, disable


def test_enable_and_disable_change_one_word(traded: Cli) -> None:
    path = traded.home / "config" / "executor_symbols.json"
    text = path.read_text()
    assert traded("enable", "EURUSD").out == "EURUSD: already enabled\n"
    assert traded("disable", "EURUSD").out == "EURUSD: disabled; an open position is still closed on its signal\n"
    assert path.read_text() == text.replace("true", "false")
    assert traded("disable", "EURUSD").out == "EURUSD: already disabled\n"
    assert status(traded)["enabled"] is False
    assert traded("enable", "EURUSD").out.startswith("EURUSD: enabled; a running signal stays missed")
    assert path.read_text() == text
    events = traded("journal", "--format", "json", "--kind", "event").out.splitlines()
    assert [json.loads(line)["record"]["name"] for line in events][-2:] == ["disabled", "enabled"]


def test_one_model_of_a_symbol(traded: Cli) -> None:
    assert traded("disable", MODEL).code == 0
    ran = traded("disable", "EURUSD")
    assert ran.out.splitlines()[1] == f"EURUSD: not touched, they have entries of their own: {MODEL}"


def test_accounts_with_files_of_their_own(traded: Cli) -> None:
    config = traded.home / "config"
    (config / "second.json").write_bytes((config / "executor_symbols.json").read_bytes())
    accounts = '[[accounts]]\naccount = "paper"\n[[accounts]]\naccount = "second"\nsymbols = "config/second.json"\n'
    (config / "oracle.toml").write_text(accounts)
    traded("disable", "EURUSD", "--account", "second")
    files = [json.loads((config / name).read_text()) for name in ("executor_symbols.json", "second.json")]
    assert [one["EURUSD"]["enabled"] for one in files] == [True, False]
    ran = traded("disable", "EURUSD")
    assert ran.out.splitlines() == [
        "executor_symbols.json: EURUSD: disabled; an open position is still closed on its signal",
        "second.json: EURUSD: already disabled",
    ]


# orphans


@pytest.fixture
def strange(traded: Cli) -> Cli:
    """Somebody else holds a position, too."""
    path = traded.home / "state" / "paper" / "paper.json"
    book = json.loads(path.read_text())
    book["positions"].append({**book["positions"][0], "position_id": 77, "label": "by hand", "comment": ""})
    path.write_text(json.dumps(book))
    return traded


def test_orphans_are_listed(strange: Cli, traded: Cli) -> None:
    before = snapshot(strange.home)
    ran = strange("orphans", "--now", AFTER)
    assert ran.code == 0
    assert ran.out.splitlines()[0].split()[:4] == ["account", "ticket", "symbol", "side"]
    assert ran.out.splitlines()[2].split()[:4] == ["paper", "77", "EURUSD", "buy"]
    (one,) = strange("orphans", "--json", "--now", AFTER).json["orphans"]
    assert (one["account"], one["position_id"], one["label"]) == ("paper", 77, "by hand")
    assert snapshot(strange.home) == before


def test_without_orphans_it_says_so(traded: Cli) -> None:
    assert traded("orphans", "--now", AFTER).out == "no positions but the models' own\n"
    assert traded("orphans", "--json", "--now", AFTER).json == {"orphans": []}


def test_an_orphan_is_closed_by_its_ticket_only(strange: Cli) -> None:
    own = status(strange)["position_id"]
    strange("close", "--all", "--now", AFTER)
    assert "77" in strange("orphans", "--now", AFTER).out
    ran = strange("orphans", "--close", "77", "--now", AFTER)
    assert ran.code == 0
    assert ran.out.startswith("EURUSD: position 77 closed, net ")
    assert strange("orphans", "--close", "77", "--now", AFTER).out == "position 77 is not open\n"
    assert own != 77


def test_an_orphan_is_adopted(strange: Cli) -> None:
    strange("close", "--all", "--now", AFTER)
    ran = strange("orphans", "--adopt", "77", "--as", MODEL, "--intensity", "1", "--now", AFTER)
    assert ran.out == f"{MODEL} holds position 77 as LONG_WEAK; its next signal decides whether it stays\n"
    assert (status(strange)["real"], status(strange)["position_id"]) == ("LONG_WEAK", 77)
    again = strange("orphans", "--adopt", "77", "--as", MODEL, "--now", AFTER)
    assert (again.code, again.out) == (0, f"{MODEL} holds position 77 already\n")
    assert strange("orphans", "--close", "77", "--now", AFTER).code == 64


# real money


ASKING = [
    (["close", "--all", "--now", AFTER], "close all positions of models"),
    (["close", MODEL, "--now", AFTER], f"close {MODEL}"),
    (["enable", "EURUSD"], "enable entries of EURUSD"),
    (["orphans", "--close", "77", "--now", AFTER], "close position 77"),
    (
        ["orphans", "--adopt", "77", "--as", MODEL, "--intensity", "1", "--now", AFTER],
        f"give position 77 to {MODEL}",
    ),
    (["resume"], "resume entries"),
]


def prepared(cli: Cli) -> dict[str, bytes]:
    cli("pause")
    path = cli.home / "config" / "executor_symbols.json"
    path.write_text(path.read_text().replace("true", "false"))
    return snapshot(cli.home)


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize(("command", "what"), ASKING, ids=[" ".join(one[0][:2]) for one in ASKING])
def test_on_a_live_account_no_means_nothing_is_done(
    command: list[str], what: str, strange: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = prepared(strange)
    asked = answer(monkeypatch, "n")
    ran = strange(*command)
    assert asked == [f"{what} on the LIVE account paper?"]
    assert (ran.code, ran.out) == (1, "")
    assert "not confirmed: nothing was done" in ran.err
    assert snapshot(strange.home) == before


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize(("command", "what"), ASKING, ids=[" ".join(one[0][:2]) for one in ASKING])
def test_on_a_live_account_nobody_to_ask_means_nothing_is_done(command: list[str], what: str, strange: Cli) -> None:
    before = prepared(strange)
    ran = strange(*command)
    assert (ran.code, ran.out) == (64, "")
    assert f"--yes: {what}: paper is a live account" in ran.err
    assert snapshot(strange.home) == before


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize("how", ["y", "--yes"])
@pytest.mark.parametrize(("command", "what"), ASKING, ids=[" ".join(one[0][:2]) for one in ASKING])
def test_on_a_live_account_yes_goes_on(
    command: list[str], what: str, how: str, strange: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = prepared(strange)
    if command[:2] == ["orphans", "--adopt"]:
        strange("close", "--all", "--yes", "--now", AFTER)
    asked = answer(monkeypatch, "y")
    ran = strange(*command, *(("--yes",) if how == "--yes" else ()))
    assert asked == ([] if how == "--yes" else [f"{what} on the LIVE account paper?"])
    assert ran.code == 0, ran.err
    assert snapshot(strange.home) != before


@pytest.mark.usefixtures("live")
def test_what_only_takes_risk_away_or_looks_never_asks(strange: Cli) -> None:
    for command in (["pause"], ["disable", "EURUSD"], ["orphans", "--now", LATER], ["journal"], ["status"]):
        assert strange(*command).code == 0, command


def test_on_paper_nothing_asks(strange: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, "n")
    prepared(strange)
    for command, _ in ASKING[:4]:
        assert strange(*command).code == 0
    assert asked == []


def test_live_is_the_live_environment_of_ctrader_alone() -> None:
    from oracle_batch.config import AccountSettings
    from oracle_batch.config.settings import CtraderSettings

    live = CtraderSettings(environment="live")
    assert confirm.is_live(AccountSettings(kind="ctrader", ctrader=live))
    assert not confirm.is_live(AccountSettings(kind="ctrader"))
    assert not confirm.is_live(AccountSettings(kind="paper", ctrader=live))


def test_a_lab_and_the_command_line_agree(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Scripted signals through the real commands: enabling makes no edge."""
    lab = Lab(tmp_path / "home")
    name = lab.add("EURUSD", "M15", "W L1 L1 L2", enabled=False)
    cli = Cli(lab.workspace.home, capsys)
    reasons = []
    for bar in range(4):
        if bar == 2:
            assert cli("enable", "EURUSD").code == 0
        report = cli("tick", "--json", "--now", lab.close_of(bar) + 1).json
        reasons.append((report["models"][name]["decision"], report["models"][name]["reason"]))
    assert reasons == [("NOOP", None), ("OPEN", "DISABLED"), ("WAIT_SYNC", "MISSED_ENTRY"), ("OPEN", None)]
