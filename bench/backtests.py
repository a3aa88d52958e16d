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


def hands_rate(models: Sequence[Model], length: int) -> tuple[float, float]:
    """Model-bars a second with each model on an account of its own under the default rules, brain included.

    The second number is how many looks (ticks and guards that could change anything) a bar took.
    """
    entry = SymbolSettings(enabled=True, sl_usd=10.0, max_spread_pips=0.0)
    bars = [fleet.stretch(number, WINDOW + length) for number in range(len(models))]
    played = looks = 0
    began = time.perf_counter()
    for model, one in zip(models, bars, strict=True):
        name = model.model_id
        setup = Setup(AccountSettings(), TickSettings(), {name: entry}, {}, Path())
        history = History({(model.broker_symbol, model.timeframe): one})
        trading = Hands([live(see(model, one))], {name: one}, history, setup, [1]).play()
        played += trading.model_bars
        looks += trading.looks
    return played / (time.perf_counter() - began), looks / played
