"""``train --from-broker``: bars from the simulator over TLS, and how far back a feed is asked."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oracle_batch.bars import Bars, empty
from oracle_batch.cli import run
from oracle_batch.clock import FrozenClock
from oracle_batch.config import Settings
from oracle_batch.errors import BarError
from oracle_batch.sim.exchange import Exchange
from oracle_batch.store.workspace import Workspace
from oracle_batch.training import from_broker
from oracle_batch.training.data import History
from tests.sim.acceptance.world import Simulator
from tests.training.build import bars
from tests.training.test_data import write
from tests.training.test_train_cli import SMALL

COUNT = 2680


@pytest.fixture
def simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """Real bars behind the Open API, and a workspace that trades there."""
    data = tmp_path / "data"
    data.mkdir()
    write(data / "EURUSD_M15.parquet", bars(2800))
    served = Simulator(Exchange(data, ["EURUSD"], ["M15"], float(bars(2800).time[2700])))
    where = served.where
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "oracle.toml").write_text(
        '[broker]\nkind = "ctrader"\naccount = "demo"\n[broker.ctrader]\n'
        f'host = "{where["host"]}"\nport = {where["port"]}\ncafile = "{where["cafile"]}"\n'
    )
    for name in ("client_id", "client_secret", "access_token", "refresh_token"):
        monkeypatch.setenv(f"ORACLE_CTRADER_{name.upper()}", where[name])
    yield served
    served.close()


@pytest.mark.usefixtures("simulator", "no_page")
def test_a_model_is_trained_on_the_brokers_closed_bars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = str(int(bars(2800).time[2700]))
    line = ["train", "EURUSD", "--timeframe", "M15", "--from-broker", "--count", str(COUNT), *SMALL, "--now", now]
    code = run(["--home", str(tmp_path), *line, "--out", str(tmp_path / "made")])
    out, log = capsys.readouterr()
    assert code == 0, log
    assert out.startswith("EURUSD_M15: Out of sample")
    with zipfile.ZipFile(tmp_path / "made" / "EURUSD_M15.zip") as archive:
        info = json.loads(archive.comment)["data_info"]
    time = bars(2800).time
    assert (info["source"], info["total_bars"]) == ("ctrader feed", COUNT)
    assert (info["train_start"], info["test_end"]) == (time[2700 - COUNT], time[2699]), "the forming bar is not there"
    assert not (tmp_path / "models").exists()


class Feed:
    """A broker with few bars, which hears how far back it is asked."""

    def __init__(self, held: Bars) -> None:
        self.held, self.asked, self.closed = held, list[int](), False

    async def connect(self) -> None:
        pass

    async def bars(self, symbol: str, timeframe: str, start: int, end: int) -> Bars:
        self.asked.append(end - start)
        return self.held

    async def close(self) -> None:
        self.closed = True


def fetch(feed: Feed, count: int, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.setattr(from_broker, "make_broker", lambda *_, **__: feed)
    clock: Any = FrozenClock(float(bars(1000).time[-1]) + 900)
    return asyncio.run(from_broker.fetch(workspace, Settings(), clock, "EURUSD", "EURUSD", "M15", count))


def test_a_feed_with_fewer_bars_is_asked_further_back_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = Feed(bars(1000))
    found = fetch(feed, 1200, Workspace(tmp_path), monkeypatch)
    assert len(found.bars) == 1000
    assert feed.asked == sorted(feed.asked)
    assert (len(feed.asked), feed.asked[-1], feed.closed) == (3, from_broker.LONGEST_S, True)
    enough = Feed(bars(1000))
    assert len(fetch(enough, 900, Workspace(tmp_path), monkeypatch).bars) == 900
    assert len(enough.asked) == 1


def test_a_count_beyond_all_history_asks_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Feed(bars(1000))
    fetch(feed, 10_000_000, Workspace(tmp_path), monkeypatch)
    assert feed.asked == [from_broker.LONGEST_S]


def test_a_feed_without_bars_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Feed(empty())
    with pytest.raises(BarError, match="has no M15 bars of EURUSD"):
        fetch(feed, 1000, Workspace(tmp_path), monkeypatch)
    assert feed.closed
