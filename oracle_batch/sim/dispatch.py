"""From a request to its handler: rates, authorisation in the order that the real server asks for it, and refusals."""

from __future__ import annotations

import logging
from typing import Any, Final

from oracle_batch.errors import OracleBatchError
from oracle_batch.sim import (
    handlers_account,
    handlers_history,
    handlers_market,
    handlers_orders,
    handlers_session,
    handlers_stream,
)
from oracle_batch.sim.calls import Call, Route, Routes
from oracle_batch.sim.refused import Refused

_log = logging.getLogger(__name__)

ROUTES: Final[Routes] = {
    **handlers_session.ROUTES,
    **handlers_market.ROUTES,
    **handlers_stream.ROUTES,
    **handlers_history.ROUTES,
    **handlers_account.ROUTES,
    **handlers_orders.ROUTES,
}


def is_historical(message: Any) -> bool:
    """Whether a request counts for the smaller rate."""
    route = ROUTES.get(type(message))
    return route is not None and route.historical


def carry_out(call: Call) -> None:
    """Handle a request, or answer why not. Nothing that a client sends gets past here as an exception."""
    try:
        _permit(call).handle(call)
    except Refused as refused:
        call.reply(refused.message(_account(call.message)))
    except OracleBatchError as error:
        _log.warning("%s: %s", type(call.message).__name__, error)
        call.reply(Refused("UNKNOWN_ERROR", str(error)).message(_account(call.message)))
    except Exception as error:  # noqa: BLE001  a client must not be able to end the server; the traceback is logged
        _log.exception("%s could not be handled", type(call.message).__name__)
        call.reply(Refused("UNKNOWN_ERROR", repr(error)).message(_account(call.message)))


def _permit(call: Call) -> Route:
    route = ROUTES.get(type(call.message))
    if route is None:
        raise Refused("UNSUPPORTED_MESSAGE", "The message is no request that this server knows")
    if route.needs == "nothing":
        return route
    if not call.session.application:
        raise Refused("CH_CLIENT_NOT_AUTHENTICATED", "Open API client is not authenticated")
    if route.needs == "application":
        return route
    grant = call.session.accounts.get(call.account)
    if grant is None:
        raise Refused("ACCOUNT_NOT_AUTHORIZED", f"Trading account {call.account} is not authorized")
    if route.needs == "trade" and not grant.may_trade:
        raise Refused("TRADING_NOT_ALLOWED", "The access token may only view")
    return route


def _account(message: Any) -> int | None:
    return getattr(message, "ctidTraderAccountId", None)
