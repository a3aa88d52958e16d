"""The fast-forward: history in, twin out, nothing traded (DESIGN §3.6)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from oracle_batch import gather
from oracle_batch.brokers import make_broker
from oracle_batch.bundle.compiled import load_models
from oracle_batch.bundle.model import Model
from oracle_batch.clock import Clock
from oracle_batch.config import Settings
from oracle_batch.errors import ConfigError, OracleBatchError
from oracle_batch.store import twins, windows
from oracle_batch.store.files import replace_all
from oracle_batch.store.lock import OPERATOR_TIMEOUT_S, hold
from oracle_batch.store.windows import Window
from oracle_batch.store.workspace import Workspace
from oracle_batch.think import warm
from oracle_batch.types import utc

_log = logging.getLogger(__name__)


class ProgressBar(Protocol):
    """Something that shows how far a loop has come."""

    def advance(self) -> None: ...


ShowProgress = Callable[[str, int], AbstractContextManager[ProgressBar]]
"""Title and total number of steps to a progress bar."""


def warm_up(
    workspace: Workspace, settings: Settings, clock: Clock, target: str | None, progress: ShowProgress
) -> dict[str, OracleBatchError]:
    """Warm up the models of a symbol, one model by its id, or all (``target`` None); returns the failures by model.

    Takes the lock, waiting for a running tick. A model that fails keeps the files it had.

    Raises:
        ConfigError: nothing matches the target.
        LockHeld: a run did not end in time.
    """
    workspace.ensure()
    with hold(workspace.lock, timeout_s=OPERATOR_TIMEOUT_S):
        models, refused = load_models(workspace.models, workspace.compiled)
        chosen = select(models, target)
        failed = {name: error for name, error in refused.items() if target is None or name == target}
        if not chosen and not failed:
            known = ", ".join(sorted(models)) or f"{workspace.models} is empty"
            if target is None:
                raise ConfigError("no model bundle here", file=workspace.models, fix="oracle-batch models add FILE.zip")
            raise ConfigError(f"no model is or trades {target!r}", field="SYMBOL", fix=f"known: {known}")
        failed |= asyncio.run(_warm_all(workspace, settings, clock, models, chosen, progress))
        return failed


def select(models: Mapping[str, Model], target: str | None) -> list[Model]:
    """The models that a target names."""
    return [model for name, model in models.items() if target in (None, name, model.symbol, model.broker_symbol)]


async def _warm_all(
    workspace: Workspace,
    settings: Settings,
    clock: Clock,
    models: Mapping[str, Model],
    chosen: Sequence[Model],
    progress: ShowProgress,
) -> dict[str, OracleBatchError]:
    failed: dict[str, OracleBatchError] = {}
    feed_account = settings.accounts[0]
    broker = make_broker(feed_account, workspace, models, clock, dry_run=True)
    await broker.connect()
    try:
        with progress("warming up", len(chosen)) as bar:
            for model in chosen:
                try:
                    bars = await gather.history(broker, model, clock.now())
                    twin = warm(model, bars)
                except OracleBatchError as error:
                    failed[model.model_id] = error
                else:
                    window = windows.encode(Window(bars, feed_account.source), model.symbol, model.timeframe)
                    replace_all([(workspace.bars_path(model.model_id), window)])
                    replace_all([(workspace.twin_path(model.model_id), twins.encode(twin))])
                    _log.info("%s: %d bars, the last of %s", model.model_id, len(bars), utc(twin.state.bar_time))
                bar.advance()
    finally:
        await broker.close()
    return failed
