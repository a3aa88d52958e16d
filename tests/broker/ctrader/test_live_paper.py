"""Paper money on live prices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oracle_batch.broker.ctrader.broker import CtraderBroker
from oracle_batch.broker.ctrader.live_paper import LivePaperBroker
from oracle_batch.broker.paper import PaperBroker
from oracle_batch.config.settings import CtraderSettings, PaperSettings
from oracle_batch.errors import BrokerError
from oracle_batch.market.feed import Feed
from oracle_batch.market.spec_file import SymbolSettings
from tests.broker.ctrader.lab import HOST, Lab, entry, exit_of, flat, lab, open_gate, run
from tests.broker.ctrader.test_market_data import walk
from tests.market.build import T0


def live_paper(found: Lab, folder: Path | None, models: dict[str, object]) -> LivePaperBroker:
    token = found.server.tokens.current
    secrets = {
        "ORACLE_CTRADER_CLIENT_ID": found.server.client_id,
        "ORACLE_CTRADER_CLIENT_SECRET": found.server.client_secret,
        "ORACLE_CTRADER_ACCESS_TOKEN": token.access_token,
    }
    settings = CtraderSettings(host=HOST, port=found.port, cafile=str(found.workspace.home.parent / "ca.pem"))
    data = CtraderBroker("live", settings, found.workspace, found.clock, data_only=True, environment=secrets)
    costs = SymbolSettings(spread_points=7, slippage_points=0, commission_per_lot=7)

    def make(feed: Feed) -> PaperBroker:
        specs = dict.fromkeys(("EURUSD", "USDJPY"), costs)
        path = found.workspace.home / "live.json"
        return PaperBroker("live", PaperSettings(), feed, specs, path, found.clock, {})

    return LivePaperBroker(data, make, models, folder, "USD", found.clock)  # type: ignore[arg-type]


class Wants:
    """As much of a model as the feed needs."""

    def __init__(self, broker_symbol: str, timeframe: str) -> None:
        self.broker_symbol = broker_symbol
        self.timeframe = timeframe


def now(intent: Any, found: Lab) -> Any:
    """An intent that is decided at this moment."""
    return replace(intent, decided_at=found.clock.now())


@pytest.mark.parametrize("kept", [True, False])
def test_it_trades_on_the_connections_bars_with_a_token_that_may_only_look(tmp_path: Path, kept: bool) -> None:
    async def scenario() -> None:
        series = {"EURUSD": walk(40), "USDJPY": flat(150.0)}
        async with lab(tmp_path, series, may_trade=False, connect=False) as found:
            folder = tmp_path / "live" if kept else None
            models = {"a": Wants("EURUSD", "M15"), "b": Wants("USDJPY", "M15")}
            broker = live_paper(found, folder, models)
            await broker.connect()
            got = await broker.bars("EURUSD", "M15", T0, int(found.clock.now()))
            assert got.equals(walk(8))
            [ack] = await broker.execute([now(entry(), found)], open_gate)
            assert ack.price == pytest.approx(float(got.close[-1]) + 0.00007)
            found.server.advance(T0 + 12 * 900 + 1)
            later = await broker.bars("EURUSD", "M15", T0, int(found.clock.now()))
            assert later.equals(walk(12))
            [closed] = await broker.execute([now(exit_of(ack.position_id or 0), found)], open_gate)
            assert closed.price == pytest.approx(float(later.close[-1]))
            assert (await broker.terms(["USDJPY"]))["USDJPY"].rate == pytest.approx(1 / 150.0)
            assert list(await broker.schedules(["EURUSD"])) == ["EURUSD"]
            assert found.requests("NewOrderReq") == found.requests("ClosePositionReq") == 0
            await broker.close()
            assert (tmp_path / "live").exists() == kept
            again = live_paper(found, folder, models)
            found.server.received.clear()
            await again.connect()
            assert (await again.account()).balance == (await again.account()).equity
            await again.close()

    run(scenario())


def test_a_connection_for_data_never_trades(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lab(tmp_path, connect=False) as found:
            broker = live_paper(found, None, {"a": Wants("EURUSD", "M15")})
            await broker.connect()
            execute: Callable[..., object] = broker._data.execute
            with pytest.raises(BrokerError, match="data only"):
                await execute([entry()], open_gate)  # type: ignore[misc]
            await broker.close()

    run(scenario())
