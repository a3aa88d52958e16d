"""Accounts that trade on one folder of bars share what was read of it, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from oracle_batch.broker.base import Broker
from oracle_batch.brokers import make_broker
from oracle_batch.bundle.compiled import load_models
from oracle_batch.config import AccountSettings
from oracle_batch.config.settings import PaperSettings
from oracle_batch.errors import ConfigError
from oracle_batch.market.feed import Feed
from oracle_batch.market.readers import ParquetReader
from tests.tick.lab import PRICE, T0, Lab, run, shaped, write_bars

EURUSD = "EURUSD_M15"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path / "home")
    made.add("EURUSD", "M15", "W W W")
    made.clock.instant = made.close_of(0) + 1
    return made


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The columns of every read of a history."""
    found: list[list[str]] = []
    read = ParquetReader._read

    def noted(self: ParquetReader, file: Any, index: int, columns: list[str]) -> Any:
        found.append(columns)
        return read(self, file, index, columns)

    monkeypatch.setattr(ParquetReader, "_read", noted)
    return found


def broker(lab: Lab, account: str, *, data: str = "data", lean: bool = False) -> Broker:
    models, _ = load_models(lab.workspace.models, lab.workspace.compiled, write_cache=False)
    settings = AccountSettings(account=account, paper=PaperSettings(data=data))
    made = make_broker(settings, lab.workspace, models, lab.clock, dry_run=False, lean=lean)
    run(made.connect())
    return made


def last_close(one: Broker, lab: Lab) -> float:
    return float(run(one.bars("EURUSD", "M15", T0 - 9000, int(lab.clock.now()))).close[-1])


def test_accounts_on_one_folder_read_it_once(lab: Lab, reads: list[list[str]]) -> None:
    first = broker(lab, "one")
    assert last_close(first, lab) == PRICE
    once = len(reads)
    others = [broker(lab, name) for name in ("two", "three")]
    assert [last_close(one, lab) for one in others] == [PRICE, PRICE]
    assert once == len(reads) > 0


def test_accounts_on_two_folders_have_two_markets(lab: Lab) -> None:
    (lab.workspace.home / "other").mkdir()
    write_bars(lab.workspace.home / "other" / f"{EURUSD}.parquet", shaped([0] * 50, T0 - 45000, 900, [2 * PRICE] * 50))
    one, two = broker(lab, "one"), broker(lab, "two", data="other")
    assert [last_close(one, lab), last_close(two, lab)] == [PRICE, 2 * PRICE]


def test_a_history_that_is_replaced_meanwhile_is_another_for_all_accounts(lab: Lab) -> None:
    one, two = broker(lab, "one"), broker(lab, "two")
    assert [last_close(one, lab), last_close(two, lab)] == [PRICE, PRICE]
    lab.change(EURUSD, 0, close=PRICE + 0.0003)
    assert [last_close(one, lab), last_close(two, lab)] == [PRICE + 0.0003, PRICE + 0.0003]


def test_an_account_that_opens_after_a_file_came_in_sees_it(lab: Lab) -> None:
    one = broker(lab, "one")
    assert last_close(one, lab) == PRICE
    before = lab.data.stat().st_mtime_ns
    write_bars(lab.data / "GBPUSD_M15.parquet", shaped([0] * 50, T0 - 45000, 900))
    os.utime(lab.data, ns=(before + 10**9, before + 10**9))  # however coarse the file system's clock is
    two = broker(lab, "two")
    assert len(run(two.bars("GBPUSD", "M15", T0 - 9000, T0))) == 10


def test_a_lean_run_goes_by_excerpts_and_a_tick_beside_it_by_the_whole_history(
    lab: Lab, reads: list[list[str]]
) -> None:
    os.utime(lab.data / f"{EURUSD}.parquet", (T0, T0))
    first = broker(lab, "one")
    last_close(first, lab)
    run(first.close())
    del first
    reads.clear()
    lean = broker(lab, "one", lean=True)
    assert last_close(lean, lab) == PRICE
    assert reads == []
    assert last_close(broker(lab, "two"), lab) == PRICE
    assert reads != []


def test_each_way_of_naming_a_folder_has_its_own_excerpts(lab: Lab) -> None:
    os.utime(lab.data / f"{EURUSD}.parquet", (T0, T0))
    made = [broker(lab, "one"), broker(lab, "two", data=str(lab.data))]
    for one in made:
        last_close(one, lab)
        run(one.close())
    assert len(list(lab.workspace.compiled.glob(f"feed-*-{EURUSD}.parquet.bars"))) == 2


def test_excerpts_that_are_there_already_are_not_looked_at_again_for_every_account(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    from oracle_batch.market.excerpts import Excerpts

    os.utime(lab.data / f"{EURUSD}.parquet", (T0, T0))
    made = [broker(lab, f"a{number}") for number in range(5)]
    for one in made:
        last_close(one, lab)
    looked, load = [], Excerpts.load
    monkeypatch.setattr(Excerpts, "load", lambda self, *rest: looked.append(rest) or load(self, *rest))
    for one in made:
        run(one.close())
    assert len(looked) == 1


def test_a_folder_that_is_missing_is_named(lab: Lab) -> None:
    with pytest.raises(ConfigError, match="no such folder of bars"):
        broker(lab, "one", data="nowhere")


def test_a_feed_lives_no_longer_than_the_accounts_on_it(lab: Lab) -> None:
    import gc
    import weakref

    one = broker(lab, "one")
    last_close(one, lab)
    (feed,) = (found for found in gc.get_objects() if isinstance(found, Feed) and found.folder == lab.data)
    left = weakref.ref(feed)
    del feed, one
    gc.collect()
    assert left() is None
