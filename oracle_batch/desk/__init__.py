"""One account's hands during a tick: its broker, its journal, its books, and the steps they go through."""

from __future__ import annotations

from oracle_batch.desk.recovery import Recovering
from oracle_batch.desk.sending import Sending


class Desk(Recovering, Sending):
    """An account between the opening of its session and the commit of its books.

    It is opened, recovers, journals its intents, sends them, concludes, journals the answers and commits; what it
    knows meanwhile is told in ``Keeping``.
    """

    __slots__ = ()
