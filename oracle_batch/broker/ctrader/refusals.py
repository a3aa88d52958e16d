"""The broker's error codes by what they mean for the operator.

retry later       the server is busy or asks for patience: tried again a few times, then the next run
not now           the market or the symbol is closed: entries are skipped, closes stay pending
this order never  the order itself is wrong or too large: the other models trade on
already done      the position is gone: for a close that is success
stop everything   the credentials or the account are refused: somebody has to act before the next run
"""

from __future__ import annotations

from typing import Final, Literal

from oracle_batch.errors import BrokerError

Meaning = Literal["retry later", "not now", "this order never", "already done", "stop everything"]

HARMLESS: Final = frozenset({"ALREADY_LOGGED_IN", "CH_CLIENT_ALREADY_AUTHENTICATED", "ALREADY_SUBSCRIBED"})
"""Refusals of what is so already."""
EXPIRED: Final = "OA_AUTH_TOKEN_EXPIRED"
"""One refresh is tried; only then it stops everything."""
UNAUTHORISED: Final = frozenset({"ACCOUNT_NOT_AUTHORIZED", "CH_CLIENT_NOT_AUTHENTICATED"})
"""The session of the account is gone on the server's side: it is authorised again once."""
THROTTLED: Final = frozenset({"REQUEST_FREQUENCY_EXCEEDED", "BLOCKED_PAYLOAD_TYPE"})

_RETRY_LATER: Final = {
    "SERVER_IS_UNDER_MAINTENANCE": "the server is under maintenance: run again when it is over",
    "CANT_ROUTE_REQUEST": "the server cannot reach the account's broker: run again",
    "CH_SERVER_NOT_REACHABLE": "the server cannot reach the account's broker: run again",
    "CONNECTIONS_LIMIT_EXCEEDED": "end other programs that use this application, then run again",
    "REQUEST_FREQUENCY_EXCEEDED": "end other programs that use this application, then run again",
    "BLOCKED_PAYLOAD_TYPE": "end other programs that use this application, then run again",
    "POSITION_LOCKED": "the position is being changed: run again",
    "PENDING_EXECUTION": "an order is being executed: run again",
    "TIMEOUT_ERROR": "the server was too slow: run again",
}
_NOT_NOW: Final = {
    "MARKET_CLOSED": "the market is closed",
    "SYMBOL_HAS_HOLIDAY": "the market has a holiday",
    "NO_QUOTES": "the symbol has no price now",
    "TRADING_DISABLED": "the broker has stopped trading in the symbol",
}
_NEVER: Final = {
    "NOT_ENOUGH_MONEY": "lower the lots, or add money",
    "TRADING_BAD_VOLUME": "the lots break the symbol's volume rules: change them",
    "TRADING_BAD_STOPS": "the stop or target breaks the symbol's rules: change sl_usd or tp_usd",
    "PROTECTION_IS_TOO_CLOSE_TO_MARKET": "widen sl_usd or tp_usd",
    "MAX_EXPOSURE_REACHED": "the broker's limit for the symbol is reached",
    "SHORT_SELLING_NOT_ALLOWED": "the broker does not let this symbol be sold short",
}
_DONE: Final = {
    "POSITION_NOT_FOUND": "the position is closed already",
    "POSITION_NOT_OPEN": "the position is closed already",
}
_STOP: Final = {
    EXPIRED: "the access token has expired and could not be renewed: run `oracle-batch login`",
    "CH_ACCESS_TOKEN_INVALID": "the access token is not valid: run `oracle-batch login`",
    "RET_ACCOUNT_DISABLED": "the account is disabled: ask the broker",
    "TRADING_NOT_ALLOWED": "the token or the account may not trade: ask the broker, or run `oracle-batch login`",
    "CHANNEL_IS_BLOCKED": "the application is blocked: ask Spotware",
    "CH_CLIENT_AUTH_FAILURE": "correct ORACLE_CTRADER_CLIENT_ID and ORACLE_CTRADER_CLIENT_SECRET",
    "CH_OA_CLIENT_NOT_FOUND": "correct ORACLE_CTRADER_CLIENT_ID",
    "CH_CTID_TRADER_ACCOUNT_NOT_FOUND": "correct [broker.ctrader] account_id",
}
_MEANINGS: Final[tuple[tuple[Meaning, dict[str, str]], ...]] = (
    ("retry later", _RETRY_LATER),
    ("not now", _NOT_NOW),
    ("this order never", _NEVER),
    ("already done", _DONE),
    ("stop everything", _STOP),
)


def meaning_of(code: str) -> Meaning:
    """What a code means; one that is not known concerns this order only.

    >>> meaning_of("POSITION_LOCKED"), meaning_of("SOMETHING_NEW")
    ('retry later', 'this order never')
    """
    return next((meaning for meaning, codes in _MEANINGS if code in codes), "this order never")


def action_of(code: str) -> str | None:
    """What the operator can do, where it is known."""
    return next((codes[code] for _, codes in _MEANINGS if code in codes), None)


class Refused(BrokerError):
    """The server said no. ``code`` is its word; the message says what to do about it."""

    def __init__(self, code: str, description: str = "", *, request: str = "") -> None:
        told = f": {description}" if description and description != code else ""
        super().__init__(f"{request or 'the request'} was refused: {code}{told}", fix=action_of(code))
        self.code = code

    @property
    def meaning(self) -> Meaning:
        return meaning_of(self.code)


class NoAnswer(BrokerError):
    """The server kept silent about a request until its deadline. Run the same command again."""
