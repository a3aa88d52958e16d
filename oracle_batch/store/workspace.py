"""Where everything lies below ``--home``: the one source of the layout."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from oracle_batch.store.files import clean_temps, refuse_unsafe_folders, state_error


@dataclass(frozen=True)
class Workspace:
    """All paths of one installation. Nothing is touched until a method says so."""

    home: Path

    @property
    def config(self) -> Path:
        return self.home / "config"

    @property
    def config_file(self) -> Path:
        """``config/oracle.toml``."""
        return self.config / "oracle.toml"

    @property
    def executor_symbols(self) -> Path:
        return self.config / "executor_symbols.json"

    @property
    def symbols(self) -> Path:
        """Contract specifications for paper and simulator that override the shipped table."""
        return self.config / "symbols.json"

    @property
    def models(self) -> Path:
        """Every bundle in this folder is a model."""
        return self.home / "models"

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def lock(self) -> Path:
        return self.state / "lock"

    @cached_property
    def paused(self) -> Path:
        """While this file exists no entry is sent; exits are."""
        return self.state / "PAUSED"

    @property
    def bars(self) -> Path:
        return self.state / "bars"

    @property
    def twins(self) -> Path:
        return self.state / "twin"

    @property
    def executors(self) -> Path:
        return self.state / "executor"

    @property
    def journals(self) -> Path:
        return self.state / "journal"

    @property
    def paper(self) -> Path:
        return self.state / "paper"

    @property
    def ctrader(self) -> Path:
        """What the cTrader broker keeps: the token file, and caches of symbols."""
        return self.state / "ctrader"

    @property
    def tokens(self) -> Path:
        """The token file that `login` writes, mode 0600."""
        return self.ctrader / "tokens.json"

    @property
    def heartbeat(self) -> Path:
        """What `run` says of itself while it runs."""
        return self.state / "heartbeat.json"

    @property
    def resident(self) -> Path:
        """The lock that `run` holds while it runs: one for each workspace."""
        return self.state / "resident.lock"

    @property
    def market_hours(self) -> Path:
        """Cache of the hours of the models' markets; may be deleted at any time."""
        return self.compiled / "hours.json"

    @property
    def compiled(self) -> Path:
        """Cache of compiled bundles; may be deleted at any time."""
        return self.state / "compiled"

    def verdict_path(self, model: str) -> Path:
        """What backtests have said of the model's bundles."""
        return self.state / "verdicts" / f"{model}.jsonl"

    def bundle_path(self, model: str) -> Path:
        return self.models / f"{model}.zip"

    def bars_path(self, model: str) -> Path:
        return self.bars / f"{model}.parquet"

    def twin_path(self, model: str) -> Path:
        return self.twins / f"{model}.json"

    def executor_path(self, account: str) -> Path:
        return self.executors / f"{account}.json"

    def journal_folder(self, account: str) -> Path:
        return self.journals / account

    def paper_path(self, account: str) -> Path:
        return self.paper / f"{account}.json"

    def ctrader_symbols_path(self, account: str) -> Path:
        """Cache of an account's symbols; may be deleted at any time."""
        return self.ctrader / f"{account}-symbols.json"

    def live_bars(self, account: str) -> Path:
        """Bars that a paper account on live prices has been fed with."""
        return self.ctrader / f"{account}-bars"

    def compiled_path(self, sha256: str) -> Path:
        return self.compiled / f"{sha256}.npz"

    def _state_folders(self) -> tuple[Path, ...]:
        kept = (self.bars, self.twins, self.executors, self.journals, self.paper, self.ctrader, self.compiled)
        return (self.state, *kept)

    def ensure(self) -> None:
        """Create the folders that are missing (state folders with mode 0700) and refuse world-writable ones.

        Raises:
            StateError: a folder cannot be made, or anybody may write to it.
        """
        for folder in (self.config, self.models):
            _make(folder, 0o755)
        for folder in self._state_folders():
            _make(folder, 0o700)
        refuse_unsafe_folders((self.state, *self._state_folders()))

    def clean(self) -> int:
        """Remove temp files that a killed run left behind; returns how many. Only under the lock.

        Raises:
            StateError: a leftover cannot be removed.
        """
        return sum(clean_temps(folder) for folder in self._state_folders())

    def is_paused(self) -> bool:
        """Whether the operator has stopped new entries."""
        try:
            self.paused.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True


def _make(folder: Path, mode: int) -> None:
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise state_error(error, folder, "create the folder") from error
