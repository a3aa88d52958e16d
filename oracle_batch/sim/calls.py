"""A request on its way through the server, and what a handler of one is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from oracle_batch.sim.session import Session

if TYPE_CHECKING:
    from oracle_batch.sim.events import Event
    from oracle_batch.sim.line import Line
    from oracle_batch.sim.server import Server


@dataclass(frozen=True, slots=True)
class Call:
    """One request: the line it came on, its message and id."""

    server: Server
    line: Line
    message: Any
    client_msg_id: str

    @property
    def session(self) -> Session:
        return self.line.session

    @property
    def account(self) -> int:
        """The account that the request names."""
        number: int = self.message.ctidTraderAccountId
        return number

    def reply(self, message: Any) -> None:
        """Answer with the request's own id."""
        self.line.send(message, self.client_msg_id)

    def publish(self, events: Iterable[Event]) -> None:
        """Tell everybody concerned what the request caused; on this line with the request's id."""
        self.server.publish(events, self.line, self.client_msg_id)


Needs = Literal["nothing", "application", "account", "trade"]
"""What must have been authorised before: ``trade`` is an account whose token may trade."""


class Route(NamedTuple):
    """Who handles a kind of request. Historical ones have the smaller rate. Handlers raise Refused to say no."""

    handle: Callable[[Call], None]
    needs: Needs = "account"
    historical: bool = False


Routes = Mapping[type[Any], Route]
"""By the class of the request."""
