"""Between the server and its lines: every message passes here, and the fault script has its way with it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from oracle_batch.errors import ConfigError
from oracle_batch.openapi.frames import WireError
from oracle_batch.openapi.messages import Envelope, unwrap, wrap
from oracle_batch.sim.faults import (
    Fault,
    GapPrices,
    LockPosition,
    MarketFault,
    NoProtection,
    PartialFill,
    ReviseBars,
    SetTradingMode,
    SkewClock,
    WithholdBars,
)
from oracle_batch.sim.market_faults import OrderFault
from oracle_batch.sim.refused import Refused
from oracle_batch.sim.script import (
    Action,
    Answer,
    CutLine,
    Decline,
    Deliver,
    EndSession,
    Expire,
    FreezeLine,
    Raw,
    Script,
    Torn,
)

if TYPE_CHECKING:
    from oracle_batch.sim.line import Line
    from oracle_batch.sim.server import Server

HELD_MESSAGES: Final = 10_000
"""Messages that a frozen line keeps for later; more are lost."""
_log = logging.getLogger(__name__)


class Interference:
    """The fault script of one server, carried out."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._script = Script()
        self._frozen: dict[int, list[Callable[[], None]]] = {}

    def load(self, faults: tuple[Fault, ...]) -> None:
        """Put a script in place of the one before. Market faults stay in force for as long as they say.

        Raises:
            ConfigError: a fault names a symbol or an account that is not here; nothing has changed then.
        """
        known = {info.name for info in self._server.exchange.symbols.values()}
        for index, fault in enumerate(faults):
            symbol = getattr(fault, "symbol", None)
            if symbol is not None and symbol not in known:
                fix = "known: " + ", ".join(sorted(known))
                raise ConfigError(f"{symbol!r} does not trade here", field=f"[{index}].symbol", fix=fix)
            if isinstance(fault, LockPosition) and fault.account not in self._server.exchange.account_ids:
                raise ConfigError(f"there is no account {fault.account}", field=f"[{index}].account")
        for market in self._script.load(faults):
            self._pull(market)

    def incoming(self, line: Line, envelope: Envelope, handle: Callable[[Envelope], None]) -> None:
        """Let a request through to its handler, or do what the script says."""
        if line.number in self._frozen:
            self._keep(line, lambda: self.incoming(line, envelope, handle))
            return
        for action in self._script.inbound(line.number, envelope):
            if isinstance(action, Deliver):
                self._later(action.seconds, partial(handle, action.envelope))
            elif isinstance(action, Raw):
                self._handle_raw(line, action.payload, handle)
            elif isinstance(action, Decline):
                self._decline(line, action, handle)
            else:
                self._carry_out(line, action)

    def outgoing(self, line: Line, envelope: Envelope) -> None:
        """Let a message out on a line, or do what the script says."""
        for action in self._script.outbound(line.number, envelope):
            if isinstance(action, Deliver):
                self._later(action.seconds, partial(self._write, line, action.envelope))
            elif isinstance(action, Raw):
                self._put(line, partial(line.write, action.payload))
            else:
                self._carry_out(line, action)

    def forget(self, line: Line) -> None:
        """A line is gone."""
        self._frozen.pop(line.number, None)
        self._script.forget(line.number)

    # One action

    def _carry_out(self, line: Line, action: Action) -> None:
        match action:
            case Answer():
                self._write(line, action.envelope)
            case Torn():
                self._put(line, lambda: line.write_raw(action.data))
            case CutLine():
                line.drop("cut by the fault script")
            case FreezeLine():
                self._freeze(line, action.seconds)
            case Expire():
                self._server.expire_tokens(revoke=action.revoke)
            case EndSession() if action.client:
                self._server.disconnect_clients("disconnected by the fault script")
            case EndSession():
                for account in [action.account] if action.account else list(line.session.accounts):
                    self._server.disconnect_account(account)

    def _decline(self, line: Line, action: Decline, handle: Callable[[Envelope], None]) -> None:
        envelope = action.envelope
        if action.shape == "execution":
            self._server.exchange.faults.order(OrderFault("refuse", code=action.code))
            handle(envelope)
            return
        refused = Refused(action.code, action.description, shape=action.shape)
        line.send(refused.message(getattr(envelope.message, "ctidTraderAccountId", None)), envelope.client_msg_id)

    def _handle_raw(self, line: Line, payload: bytes, handle: Callable[[Envelope], None]) -> None:
        try:
            envelope = unwrap(payload)
        except WireError as error:
            line.garbled(payload, error)
        else:
            handle(envelope)

    def _freeze(self, line: Line, seconds: float | None) -> None:
        self._frozen.setdefault(line.number, [])
        if seconds is not None:
            self._server.reactor.callLater(seconds, self._thaw, line)

    def _thaw(self, line: Line) -> None:
        for pending in self._frozen.pop(line.number, []):
            pending()

    def _write(self, line: Line, envelope: Envelope) -> None:
        self._put(line, lambda: line.write(wrap(envelope.message, envelope.client_msg_id)))

    def _put(self, line: Line, write: Callable[[], None]) -> None:
        if line.number in self._frozen:
            self._keep(line, write)
        else:
            write()

    def _keep(self, line: Line, pending: Callable[[], None]) -> None:
        held = self._frozen[line.number]
        if len(held) < HELD_MESSAGES:
            held.append(pending)

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        if seconds > 0:
            self._server.reactor.callLater(seconds, action)
        else:
            action()

    # The market's own

    def _pull(self, fault: MarketFault) -> None:
        exchange = self._server.exchange
        hooks = exchange.faults
        match fault:
            case WithholdBars():
                hooks.withhold(fault.symbol, fault.timeframe, fault.time, fault.seconds, live=fault.live)
            case ReviseBars():
                hooks.revise(
                    fault.symbol,
                    fault.timeframe,
                    fault.time,
                    {str(column): change for column, change in fault.add.items()},
                )
            case GapPrices():
                hooks.gap(fault.symbol, fault.distance, fault.seconds)
            case SkewClock():
                hooks.skew_s = fault.seconds
            case PartialFill():
                hooks.order(OrderFault("partial_then_cancel", fault.nth, fraction=fault.fraction))
            case NoProtection():
                hooks.order(OrderFault("no_protection", fault.nth))
            case LockPosition():
                hooks.lock_position(fault.account, fault.position, fault.times)
            case SetTradingMode():
                symbol_id = exchange.symbol_id(fault.symbol)
                assert symbol_id is not None
                self._server.publish(exchange.set_trading_mode(symbol_id, fault.mode))
