"""The ``[risk]`` section: the loss limits' key figures beside all entry rules. An account may override any of it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from oracle_batch.config.rules import EntryRules

Preset = Literal["none", "ftmo_2step", "ftmo_1step", "the5ers_high_stakes", "custom"]
Percent = Annotated[float, Meta(ge=0, le=100)]
Share = Annotated[float, Meta(gt=0, le=1)]


class RiskSettings(EntryRules, frozen=True):
    """Limits that refuse entries, never a close; ``config.risk_files`` reads the files that it names.

    ``preset`` chooses the loss limits: ``none`` those of ``max_daily_loss_pct`` and ``max_drawdown_pct`` (0 = no
    limit), ``custom`` those of ``rules_file``. ``initial_balance`` is what percentages of the initial balance are of
    (0: the first balance seen). ``entries_stop_at`` and ``flatten_at`` are shares of each limit. Files are relative to
    the workspace.
    """

    preset: Preset = "none"
    rules_file: str = "config/risk_limits.toml"
    initial_balance: Annotated[float, Meta(ge=0)] = 0.0
    max_daily_loss_pct: Percent = 4.0
    max_drawdown_pct: Percent = 8.0
    entries_stop_at: Share = 0.8
    flatten_at: Share = 0.9
    news_file: str = "config/news.csv"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.entries_stop_at > self.flatten_at:
            raise ValueError(
                f"entries_stop_at: {self.entries_stop_at:g} is above flatten_at ({self.flatten_at:g}); "
                "entries stop before positions are closed"
            )
        if self.preset == "custom" and not self.rules_file:
            raise ValueError('rules_file: is empty; preset = "custom" needs a file')
        if self.news_mode != "off" and not self.news_file:
            raise ValueError(f'news_file: is empty; news_mode = "{self.news_mode}" needs a calendar')
