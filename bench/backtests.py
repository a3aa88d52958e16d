"""The live decision code over the histories of many models: the brain alone, and with hands and market engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from bench import fleet
from oracle_batch.bars import Bars
from oracle_batch.bundle.model import Model
from oracle_batch.config import AccountSettings, SymbolSettings, TickSettings
from oracle_batch.training.backtest.account import Setup
from oracle_batch.training.backtest.chronicle import Trading
from oracle_batch.training.backtest.hands import Hands
from oracle_batch.training.backtest.history import History
from oracle_batch.training.backtest.lives import live, see
from oracle_batch.types import WINDOW


def brain_rate(models: Sequence[Model], bars: Bars, rounds: int) -> float:
    """Model-bars a second, features included: every model over all the bars, one after another. The best round."""
    decided = len(bars) - WINDOW + 1
    live(see(models[0], bars[: WINDOW + 200]))
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        for model in models:
            live(see(model, bars))
        best = min(best, time.perf_counter() - began)
    return len(models) * decided / best


def hands_rate(models: Sequence[Model], length: int, rounds: int) -> tuple[float, float]:
    """Model-bars a second with each model on an account of its own under the default rules, brain included.

    The best round. The second number is how many looks (ticks and guards that could change anything) a bar took.
    """
    bars = [fleet.stretch(number, WINDOW + length) for number in range(len(models))]
    rate = looks = 0.0
    for _ in range(rounds):
        began = time.perf_counter()
        traded = [_traded(model, one) for model, one in zip(models, bars, strict=True)]
        spent = time.perf_counter() - began
        played = sum(one.model_bars for one in traded)
        rate, looks = max(rate, played / spent), sum(one.looks for one in traded) / played
    return rate, looks


def _traded(model: Model, bars: Bars) -> Trading:
    name, entry = model.model_id, SymbolSettings(enabled=True, sl_usd=10.0, max_spread_pips=0.0)
    setup = Setup(AccountSettings(), TickSettings(), {name: entry}, {}, Path())
    history = History({(model.broker_symbol, model.timeframe): bars})
    return Hands([live(see(model, bars))], {name: bars}, history, setup, [1]).play()
