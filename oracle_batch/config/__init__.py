"""What the operator decides: ``config/oracle.toml`` and ``config/executor_symbols.json``. Unknown keys are errors."""

from oracle_batch.config.execution import (
    ExecutorSymbols,
    SymbolSettings,
    created_defaults,
    load_executor_symbols,
)
from oracle_batch.config.risk import RiskSettings
from oracle_batch.config.settings import AccountSettings, Settings, TickSettings, load_settings

__all__ = [
    "AccountSettings",
    "ExecutorSymbols",
    "RiskSettings",
    "Settings",
    "SymbolSettings",
    "TickSettings",
    "created_defaults",
    "load_executor_symbols",
    "load_settings",
]
