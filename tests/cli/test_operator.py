"""``oracle-batch pause`` and ``resume``, and ``models`` in a workspace."""

from __future__ import annotations

from tests.cli.conftest import MODEL, ROOT, TICKS, Cli


def test_pause_stops_entries_until_resume(warm: Cli) -> None:
    assert warm("pause").out.startswith("paused: no new entries")
    assert (warm.home / "state" / "PAUSED").exists()
    assert warm("pause").out == "already paused\n"
    outcome = warm("tick", "--json", "--now", TICKS[0]).json["models"][MODEL]
    assert (outcome["decision"], outcome["ack"], outcome["reason"]) == ("OPEN", "SKIP", "PAUSED")
    assert warm("resume").out.startswith("resumed")
    assert warm("resume").out == "not paused\n"
    assert not (warm.home / "state" / "PAUSED").exists()


def test_a_paused_model_still_closes(warm: Cli) -> None:
    warm("tick", "--now", TICKS[0])
    warm("pause")
    outcome = warm("tick", "--json", "--now", TICKS[1]).json["models"][MODEL]
    assert (outcome["decision"], outcome["ack"], outcome["reason"]) == ("CLOSE_OPEN", "SKIP", "PAUSED")
    account = warm("status", "--json").json["accounts"]["paper"]
    assert account["models"][MODEL]["real"] == "FLAT"
    assert account["models"][MODEL]["waiting"] == "missed"


def test_pause_works_before_the_first_tick(fresh: Cli) -> None:
    assert fresh("pause").code == 0
    assert fresh("status", "--json").json["paused"] is True


def test_a_bundle_makes_a_workspace(empty: Cli) -> None:
    ran = empty.bare("--home", empty.home / "new", "models", "add", ROOT / "models" / f"{MODEL}.zip")
    assert ran.code == 0
    assert f"{MODEL} added" in ran.out
    assert MODEL in empty.bare("--home", empty.home / "new", "models", "list").out


def test_adding_a_file_that_is_no_bundle_leaves_nothing(empty: Cli) -> None:
    (empty.home / "EURUSD_M15.zip").write_bytes(b"x")
    ran = empty("models", "add", empty.home / "EURUSD_M15.zip")
    assert (ran.code, ran.out) == (65, "")
    assert "refused: " in ran.err
    assert not (empty.home / "models").exists()
