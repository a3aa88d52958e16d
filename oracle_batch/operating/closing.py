"""``close``: our positions end now, whatever their signal says (DESIGN §6).

The models then wait with the cause ``operator``: until WAIT, or until the opposite direction. A close that the market
refuses becomes pending, and the next run that can carries it out. Positions of others are never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from oracle_batch.broker.base import Ack, AckStatus, CloseIntent, Position
from oracle_batch.desk import Desk
from oracle_batch.desk.books import NOT_ACCOUNTED_FOR
from oracle_batch.errors import ConfigError, OracleBatchError
from oracle_batch.hands import ledger
from oracle_batch.operating.job import Job
from oracle_batch.operating.visits import Visit, close_intent, exit_code, visit
from oracle_batch.types import model_of, split_model_id


@dataclass(frozen=True, slots=True)
class Closed:
    """What became of one position. ``model`` is empty for one that is no model's; ``net`` is None where not known."""

    account: str
    model: str
    symbol: str
    position_id: int
    status: AckStatus
    reason: str | None
    net: float | None


@dataclass(frozen=True, slots=True)
class Closings:
    """All closes of a command, and the accounts that failed as a whole."""

    closed: list[Closed]
    errors: dict[str, OracleBatchError]
    accounts: int

    @property
    def exit_code(self) -> int:
        """1 also when a close was refused or its outcome is unknown."""
        undone = any(one.status != "OK" for one in self.closed)
        return exit_code(list(self.errors.values()), self.accounts, undone=undone)


def close(job: Job, target: str | None) -> Closings:
    """Close the positions of a model, of all models of a symbol, or of all models (``target`` None).

    Raises:
        ConfigError: the target names nothing that any account knows.
        LockHeld: another run did not end in time.
    """

    def work(desk: Desk) -> None:
        now = desk.clock.now()
        under_way = {leg.position_id for leg in _unsure(desk)}
        for name, position in ours(desk):
            if position.position_id in under_way:
                continue
            if target is None or target in _words(name, position.symbol):
                desk.intents.append(close_intent(name, position, now))

    visits = visit(job, work)
    wanted = (lambda leg: bool(leg.model)) if target is None else (lambda leg: target in _words(leg.model, leg.symbol))
    result = closings(job, visits, wanted)
    if target is not None and not (result.closed or result.errors):
        known = {name for one in visits if one.desk is not None for name in _known(one.desk)}
        if target not in known:
            raise ConfigError(
                f"no model is or trades {target!r}", field="MODEL", fix="known: " + (", ".join(sorted(known)) or "none")
            )
    return result


def ours(desk: Desk) -> Iterator[tuple[str, Position]]:
    """Every open position of a model, with the model's id."""
    for position in desk.positions:
        name = model_of(position.label)
        if name is not None:
            yield name, position


def _unsure(desk: Desk) -> list[CloseIntent]:
    """Closes on their way of which the broker does not tell yet what became of them."""
    return [leg for leg in desk.recovery.unsure if isinstance(leg, CloseIntent)]


def closings(job: Job, visits: Sequence[Visit], wanted: Callable[[CloseIntent], bool]) -> Closings:
    """What the closes of some visits came to, with those that an interrupted command had sent and that are wanted."""
    closed = []
    for one in visits:
        if one.desk is None:
            continue
        legs = [(leg, one.desk.acks[leg.intent_id]) for leg in one.desk.intents if isinstance(leg, CloseIntent)]
        for leg, ack in one.desk.recovery.found:
            if isinstance(leg, CloseIntent) and leg.cause == "operator" and ack.status == "OK" and wanted(leg):
                legs.append((leg, ack))
        legs += [(leg, Ack(leg.intent_id, "UNKNOWN", NOT_ACCOUNTED_FOR)) for leg in _unsure(one.desk) if wanted(leg)]
        closed += [_closed(one.account, leg, ack, one.desk.ends.get(leg.intent_id)) for leg, ack in legs]
    errors = {one.account: one.error for one in visits if one.error is not None}
    return Closings(closed, errors, len(job.settings.accounts))


def _closed(account: str, leg: CloseIntent, ack: Ack, end: ledger.Ended | None) -> Closed:
    net = end.net if end is not None and ack.deals else None
    return Closed(account, leg.model, leg.symbol, leg.position_id, ack.status, ack.reason, net)


def _words(model: str, symbol: str) -> set[str]:
    """What an operator may call a model's position: the model, its symbol, the broker's symbol."""
    return {model, _symbol(model), symbol}


def _known(desk: Desk) -> set[str]:
    """Every model and symbol that an account has heard of, whether it holds anything or not."""
    ids = {*desk.models, *desk.executor.models, *desk.executor.damaged}
    bundles = {symbol for model in desk.models.values() for symbol in (model.symbol, model.broker_symbol)}
    return ids | bundles | {_symbol(name) for name in ids}


def _symbol(name: str) -> str:
    known = split_model_id(name)
    return known[0] if known is not None else name
