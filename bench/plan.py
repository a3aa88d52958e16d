"""The pure planning of many signals: size and protection, the sync table, the rules, admission."""

from __future__ import annotations

import time

from oracle_batch.broker.base import Account, Quote, SymbolSpec
from oracle_batch.config import RiskSettings, SymbolSettings, TickSettings
from oracle_batch.hands import entries
from oracle_batch.hands.admission import BookState
from oracle_batch.hands.books import ModelBooks
from oracle_batch.hands.currencies import currencies_of
from oracle_batch.hands.plan import Candidate, plan
from oracle_batch.hands.protection import Sized, Terms
from oracle_batch.hands.rules import AccountFacts, EntryFacts
from oracle_batch.hands.spreads import SpreadWindow
from oracle_batch.hands.trade_log import TradeLog

_ACCOUNT = Account("bench", "USD", 100_000.0, 100_000.0, 0.0, 100.0, hedged=True)
_SETTINGS = SymbolSettings(enabled=True)
_TICK, _RISK = TickSettings(), RiskSettings()
_NOW = 1_770_000_901.0
_FACTS = AccountFacts(
    live=False, log=TradeLog(), equity=100_000.0, closing_costs=0.0, initial_balance=100_000.0, news=None
)
_STATE = BookState(
    held={},
    in_flight=(),
    equity=100_000.0,
    free_margin=100_000.0,
    loss_budget=3_200.0,
    trades_today=0,
    requests_today=0,
)


def specs(count: int) -> list[SymbolSpec]:
    """A symbol of its own for each model."""
    lot = (5, 10_000_000, 100_000, 100_000, 1_000_000_000)
    return [SymbolSpec(f"AA{number:02}USD", *lot, "EUR", "USD") for number in range(count)]


def plan_once(traded: list[SymbolSpec], price: float) -> int:
    """Signals and quotes in, judged plans out; gives how many entries were let pass."""
    quote, opened = Quote(price, price + 0.00007, _NOW), int(_NOW) - 901
    sized, terms = [], {}
    for number, spec in enumerate(traded):
        name, action = f"{spec.symbol}_M15", 1 + number % 6
        terms[name] = Terms(spec, 1.0, 0.00007, 0.00002, 7.0)
        size = entries.size(
            _SETTINGS,
            terms[name],
            quote,
            action=action,
            atr=None,
            balance=_ACCOUNT.balance,
            equity=_ACCOUNT.equity,
        )
        head = (name, spec.symbol, opened, opened + 900, 60, action, True, 2, 12.34)
        sized.append(Candidate(*head, _SETTINGS, spec, ModelBooks(), None, 0, size))
    plans = plan(sized, [], _ACCOUNT, _TICK, now=_NOW, paused=False)
    sizes = {one.model: one for one in sized}
    wishes = []
    for one in plans:
        candidate, found = sizes[one.model], sizes[one.model].sized
        if one.entry is None or not isinstance(found, Sized) or candidate.spec is None:
            continue
        facts = EntryFacts(
            model=one.model,
            symbol=candidate.broker_symbol,
            source="paper",
            bar_close=candidate.close_time,
            quote=quote,
            digits=5,
            max_spread_pips=candidate.settings.max_spread_pips,
            spreads=SpreadWindow(),
            currencies=currencies_of(candidate.spec, _RISK.symbol_currencies),
            schedule=None,
        )
        wishes.append(entries.wish_of(one, found, terms[one.model], quote, facts, 11.0, 0))
    refusals = entries.judged(wishes, _RISK, _FACTS, _STATE, None, [], _NOW)
    return sum(one.entry is not None for one in entries.with_refusals(plans, refusals))


def times(count: int, rounds: int) -> list[float]:
    """Seconds of each planning of ``count`` signals; every round has other prices, so that no cache answers."""
    traded, found = specs(count), []
    for number in range(rounds + 20):
        price = round(1.1 + number * 0.00013, 5)
        began = time.perf_counter()
        passed = plan_once(traded, price)
        if number >= 20:
            found.append(time.perf_counter() - began)
        assert passed == count
    return found
