"""``oracle-batch status``: a table that a trader reads at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from oracle_batch.cli.clocks import ClockOf, chosen_clock
from oracle_batch.cli.session import Session, print_json
from oracle_batch.cli.tables import new_table, page_width, print_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from oracle_batch.live_status import LiveAccount
    from oracle_batch.status import AccountStatus, ModelStatus, Status

WIDE: Final = 110
"""Columns from which the table has room for prices and the last decision."""


def status(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Ask the brokers, too: equity, positions, differences.")] = False,
    now: Annotated[str | None, typer.Option(help="As seen at: Unix seconds, or ISO 8601 with offset.")] = None,
    clock: ClockOf = None,
) -> None:
    """What the state files say: bars, twins, real against desired, the last decision, problems."""
    from oracle_batch.surveying import read_status

    session: Session = ctx.obj
    time, workspace = chosen_clock(ctx, now, clock), session.existing_workspace()
    settings = session.settings(announce=False)
    found = read_status(workspace, settings, time.now())
    told: Mapping[str, LiveAccount] = {}
    if live:
        from oracle_batch.live_status import ask

        told = ask(workspace, settings, time, found)
    if as_json:
        print_json(found.to_json() | ({"live": {name: one.to_json() for name, one in told.items()}} if live else {}))
    else:
        show(found)
        show_live(told)
    code = max((one.exit_code for one in told.values()), default=0)
    if code:
        raise typer.Exit(code)


def show_live(told: Mapping[str, LiveAccount]) -> None:
    """Print what the brokers said."""
    from rich.text import Text

    for name, one in told.items():
        parts: list[RenderableType] = [""]
        if one.account is None:
            print_page([*parts, Text.assemble(("! ", "yellow"), f"{name}: {one.problem}")])
            continue
        money = one.account
        title = Text(f"broker of {name}", style="bold")
        title.append(
            f"  equity {money.equity:,.2f}  balance {money.balance:,.2f}  free margin {money.free_margin:,.2f}"
            f" {money.currency}",
            style="not bold",
        )
        parts.append(title)
        if one.positions:
            parts.append(_live_table(one))
        parts += [Text.assemble(("! ", "yellow"), line) for line in one.differences]
        print_page(parts)


def _live_table(one: LiveAccount) -> Table:
    table = new_table()
    for name, right in (
        ("ticket", True), ("symbol", False), ("side", False), ("units", True), ("entry", True), ("now", True),
        ("stop", True), ("target", True), ("model", False),
    ):  # fmt: skip
        table.add_column(name, justify="right" if right else "left")
    for row in one.to_json()["positions"]:
        numbers = (row["entry_price"], row["price"], row["stop_loss"], row["take_profit"])
        prices = ["" if price is None else f"{price:g}" for price in numbers]
        side = "buy" if row["side"] == "BUY" else "sell"
        table.add_row(
            str(row["position_id"]), row["symbol"], side, f"{row['volume']:,.10g}", *prices, row["model"] or ""
        )
    return table


def show(found: Status) -> None:
    """Print the tables and the problems."""
    from rich.text import Text

    parts: list[RenderableType] = []
    for name, account in found.accounts.items():
        parts.append(_title(name, account, found))
        parts += _risk(account)
        if account.models:
            parts.append(_table(account, wide=page_width() >= WIDE))
        else:
            parts.append("no models yet: oracle-batch models add SYMBOL_TIMEFRAME.zip")
    parts += _refusals(found)
    parts += [Text.assemble(("! ", "yellow"), problem) for problem in found.problems] or ["no problems"]
    print_page(parts)


def _title(name: str, account: AccountStatus, found: Status) -> Text:
    from rich.text import Text

    from oracle_batch.status import age
    from oracle_batch.types import coming

    title = Text(f"account {name}", style="bold")
    if account.balance is not None:
        title.append(f"  balance {account.balance:,.2f} {account.currency}", style="not bold")
    if found.last_run is not None and found.now >= found.last_run:
        title.append(f"  last run {age(found.now - found.last_run)} ago", style="not bold dim")
    resident = found.resident
    if resident is not None and resident.next_tick is not None and not resident.is_stale(found.now):
        title.append(f"  next tick {coming(resident.next_tick, found.now)}", style="not bold dim")
    if found.paused:
        title.append("  PAUSED: no new entries", style="bold yellow")
    return title


def _risk(account: AccountStatus) -> list[Text]:
    """How much of the limits is used, and why the account pauses; nothing while all is well and nothing is used."""
    from rich.text import Text

    from oracle_batch.types import utc

    risk = account.risk
    if risk is None:
        return []
    used = [
        f"{name} loss {one.used_pct:.0f} % used, floor {one.floor:,.2f}"
        for name, one in risk.limits.items()
        if one.used_pct >= 0.5
    ]
    lines = [Text(f"risk {risk.level}: " + "; ".join(used), style="dim" if risk.level == "ok" else "yellow")]
    lines = lines if used or risk.level != "ok" else []
    if risk.pause is not None:
        until = "`oracle-batch risk reset`" if risk.pause.until is None else utc(risk.pause.until)
        lines.append(Text(f"PAUSED by the {risk.pause.limit} limit until {until}", style="bold yellow"))
    if risk.target_reached is not None:
        lines.append(Text(f"PAUSED: the profit target was reached {utc(risk.target_reached)}", style="bold yellow"))
    return lines


def _refusals(found: Status) -> list[Text]:
    """The numbers that the last refusals saw, one line each."""
    from rich.text import Text

    from oracle_batch.hands.refusal import REMEDY

    lines = []
    for account in found.accounts.values():
        for model, one in account.models.items():
            last = one.books.last
            if last is not None and last.numbers:
                seen = ", ".join(f"{key} {_shown(value)}" for key, value in last.numbers.items())
                hint = REMEDY.get(last.reason or "")
                lines.append(Text(f"{model}: {last.reason}: {seen}" + (f"; {hint}" if hint else ""), style="dim"))
    return lines


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) and abs(value) < 1e6 else "unknown" if value is None else str(value)


def _table(account: AccountStatus, *, wide: bool) -> Table:
    table = new_table()
    for name, right, everywhere in _COLUMNS:
        if wide or everywhere:
            table.add_column(name, justify="right" if right else "left", no_wrap=everywhere)
    for model, one in account.models.items():
        cells = _row(model, one)
        table.add_row(*(cell for cell, column in zip(cells, _COLUMNS, strict=True) if wide or column[2]))
    return table


_COLUMNS: Final = (
    ("model", False, True),
    ("last bar", True, True),
    ("brain wants", False, True),
    ("broker holds", False, True),
    ("entry", True, False),
    ("sync", False, True),
    ("virtual", True, True),
    ("last decision", False, False),
)
"""Name, whether it is flush right, and whether a narrow terminal has it, too."""


def _row(name: str, one: ModelStatus) -> list[str | Text]:
    from oracle_batch.status import age

    twin, held, last = one.twin, one.books.position, one.books.last
    virtual = "-" if twin is None else f"{twin.realized_pnl + twin.floating_pnl:,.2f}"
    words = [last.decision, last.ack, last.reason] if last else []
    return [
        name,
        "-" if one.seen_s is None else f"{age(one.seen_s)} ago",
        one.desired or "-",
        one.real,
        "" if held is None else f"{held.entry_price:g}",
        _sync(one),
        virtual,
        " ".join(dict.fromkeys(word for word in words if word)) or "-",
    ]


def _sync(one: ModelStatus) -> Text:
    """Whether the broker holds what the brain wants, and what the model waits for if not."""
    from rich.text import Text

    if one.twin is None:
        return Text("new" if one.problem and one.problem.startswith("no twin") else "stopped", style="red")
    if one.problem:
        return Text("stopped", style="red")
    if one.desired == one.real:
        return Text("yes", style="green") if one.enabled else Text("off", style="dim")
    if not one.enabled:
        return Text("off", style="yellow")
    return Text(one.books.waiting.cause if one.books.waiting else "no", style="yellow")
