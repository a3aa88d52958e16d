"""Legs on the wire: closes, amendments and free entries in one write, dependent entries as their closes confirm.

An order crosses the wire again only after a definite refusal that asks for patience. A lost line or silence leaves its
outcome open until the broker has been asked; what even then nobody can tell is UNKNOWN, for the next run to ask.
A close is sent once more where the broker shows the position still there after the line was lost: the second of two
closes finds no position.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from oracle_batch import trace
from oracle_batch.broker.base import AmendIntent, CloseIntent, Gate, OpenIntent, Request
from oracle_batch.broker.ctrader import reports
from oracle_batch.broker.ctrader.line import LineError
from oracle_batch.broker.ctrader.outcomes import Answers, Leg
from oracle_batch.broker.ctrader.refusals import THROTTLED, action_of, meaning_of
from oracle_batch.broker.ctrader.reports import Report
from oracle_batch.broker.ctrader.session import LOST, Session, refusal_in
from oracle_batch.errors import BrokerError, OracleBatchError
from oracle_batch.openapi.messages import Envelope, Packed

_log = logging.getLogger(__name__)

TRIES: Final = 4
"""How often one leg is sent at most, each time after a definite refusal."""
ASKS: Final = 3
"""How often the broker is asked what became of a leg."""
CLOSE_NOT_CONFIRMED: Final = "CLOSE_NOT_CONFIRMED"
NO_CONNECTION: Final = "NO_CONNECTION"
NOT_AUTHORISED: Final = "NOT_AUTHORISED"

State = Literal["waiting", "ready", "sent"]


@dataclass(slots=True)
class _Course:
    """A leg and where it is."""

    leg: Leg
    message: Any
    state: State = "ready"
    not_before: float = 0.0
    deadline: float = 0.0
    tries: int = 0
    asks: int = 0
    repeated: bool = False
    sent_at: float = 0.0

    @property
    def rank(self) -> int:
        """Closes leave first, then amendments, then entries."""
        intent = self.leg.intent
        return 0 if isinstance(intent, CloseIntent) else 1 if isinstance(intent, AmendIntent) else 2


class Burst:
    """One execution of some legs. ``ask`` is how the broker is asked, ``prepare`` turns an intent into its message."""

    def __init__(
        self,
        session: Session,
        prepare: Callable[[Leg], Any],
        ask: Callable[[], Any],
        name_of: Callable[[int], str],
        money_digits: int,
        gate: Gate,
    ) -> None:
        self._session = session
        self._prepare = prepare
        self._ask = ask
        self._name_of = name_of
        self._money_digits = money_digits
        self._gate = gate
        self._loop = asyncio.get_running_loop()
        self._courses: list[_Course] = []
        self._news = asyncio.Event()
        self._lost = False
        self.last_sent: float | None = None
        """When the last write was handed on, on the monotonic clock."""

    async def run(self, intents: Sequence[Request], gone: frozenset[int], ours: frozenset[int]) -> list[Leg]:
        """Send all legs and see them through; ``gone`` are positions known to be closed, ``ours`` those closed by us.

        Every leg has its ack afterwards, in the same order.
        """
        legs = [Leg(intent) for intent in intents]
        self._courses = [_Course(leg, self._prepare(leg)) for leg in legs]
        closing = {leg.intent.position_id for leg in legs if isinstance(leg.intent, CloseIntent)}
        for course in self._courses:
            intent = course.leg.intent
            if course.leg.ack is None and isinstance(intent, OpenIntent) and intent.after_close is not None:
                if intent.after_close in closing:
                    course.state = "waiting"
                elif intent.after_close not in (ours if intent.same_side else gone):
                    course.leg.fail(CLOSE_NOT_CONFIRMED)
        stop = self._session.listen(self._heard)
        try:
            await self._see_through()
        finally:
            stop()
            for course in self._courses:
                for identity in course.leg.ids:
                    self._session.done(identity)
                course.leg.unknown()
        return legs

    async def _see_through(self) -> None:
        while True:
            await self._send()
            under_way = [course for course in self._courses if course.leg.ack is None]
            if not under_way:
                return
            now = self._loop.time()
            sent = [course for course in under_way if course.state == "sent"]
            overdue = [course for course in sent if self._lost or course.deadline <= now]
            moments = [
                course.deadline if course.state == "sent" else course.not_before
                for course in under_way
                if course.state != "waiting"
            ]
            if overdue:
                await self._find_out(overdue)
            elif moments:
                await self._wait(min(moments) - now)
            self._repeat_refused()
            self._release()
            self._stop_everything()

    async def _wait(self, seconds: float) -> None:
        """Until something is heard, at most so long."""
        try:
            async with asyncio.timeout(max(seconds, 0.001)):
                await self._news.wait()
        except TimeoutError:
            return
        finally:
            self._news.clear()

    # what leaves

    def _release(self) -> None:
        """Entries whose close is confirmed may leave; those whose close has failed never do."""
        closes = {
            course.leg.intent.position_id: course.leg
            for course in self._courses
            if isinstance(course.leg.intent, CloseIntent)
        }
        for course in self._courses:
            intent = course.leg.intent
            if course.state == "waiting" and course.leg.ack is None and isinstance(intent, OpenIntent):
                close = closes[intent.after_close or 0]
                if close.closed_by_us if intent.same_side else close.confirmed:
                    course.state = "ready"
                elif close.ack is not None:
                    course.leg.fail(CLOSE_NOT_CONFIRMED)

    def _repeat_refused(self) -> None:
        """Refusals that ask for patience, or for a new authorisation, let a leg leave again."""
        now = self._loop.time()
        for course in self._courses:
            code = course.leg.again
            if code is None:
                continue
            course.leg.again = None
            lapsed = self._session.lapse(code)
            if course.tries >= TRIES or not (lapsed or meaning_of(code) == "retry later"):
                _log.warning("%s refused: %s%s", course.leg.intent.intent_id, code, _advice(code))
                continue
            fresh = Leg(course.leg.intent)
            fresh.ids, fresh.quote = course.leg.ids, course.leg.quote
            _replace(course.leg, fresh)
            course.state = "ready"
            course.not_before = now if lapsed else now + self._session.pause_s(code, course.tries - 1)
            if code in THROTTLED:
                _log.warning("the server says that requests come too fast; waiting")

    def _stop_everything(self) -> None:
        """After a refusal of the account or the token, nothing more is tried."""
        codes = [
            course.leg.ack.reason or ""
            for course in self._courses
            if course.leg.ack is not None and course.leg.ack.status == "FAIL"
        ]
        code = next((one for one in codes if meaning_of(one) == "stop everything"), None)
        if code is not None:
            for course in self._courses:
                if course.leg.ack is None and course.state != "sent":
                    course.leg.fail(code)

    async def _send(self) -> None:
        """Everything that may leave now, in one write as far as the rate lets it."""
        while True:
            now = self._loop.time()
            due = [
                course
                for course in self._courses
                if course.leg.ack is None and course.state == "ready" and course.not_before <= now
            ]
            if not due:
                return
            try:
                await self._session.restore()
            except BrokerError as error:
                _log.error("no connection: %s", error)
                self._fail_unsent(due, NO_CONNECTION)
                continue
            except OracleBatchError as error:
                _log.error("the session was refused: %s", error)
                self._fail_unsent(due, NOT_AUTHORISED)
                continue
            now = self._loop.time()
            places = self._session.limiter.free(now)
            if places <= 0:
                await self._wait(self._session.limiter.wait_s(now, historical=False))
                continue
            try:
                self._write(sorted(due, key=lambda course: course.rank)[:places])
            except LineError:
                continue  # nothing has left; the session is made anew a bounded number of times

    def _write(self, courses: Sequence[_Course]) -> None:
        entries = [course.leg.intent for course in courses if isinstance(course.leg.intent, OpenIntent)]
        held = self._gate(entries) if entries else {}
        leaving = []
        for course in courses:
            reason = held.get(course.leg.intent.intent_id)
            if reason is not None:
                course.leg.skip(reason)
                continue
            leaving.append((self._identity(course), course))
        if not leaving:
            return
        self._session.post([(identity, course.message) for identity, course in leaving])
        self.last_sent = time.monotonic()
        deadline = self._loop.time() + self._session.patience.order_s
        for identity, course in leaving:
            course.sent_at = self.last_sent
            course.leg.ids.add(identity)
            course.state, course.deadline = "sent", deadline
            course.tries += 1

    def _identity(self, course: _Course) -> str:
        """The id that a message goes out with: its own, the first time, if it was packed with one."""
        own = course.message.client_msg_id if isinstance(course.message, Packed) and not course.tries else ""
        return own or self._session.new_id()

    def _fail_unsent(self, courses: Sequence[_Course], code: str) -> None:
        for course in courses:
            if course.leg.ack is None:
                course.leg.fail(code)

    # what is heard

    def _heard(self, envelope: Envelope) -> None:
        if envelope is LOST:
            self._lost = any(course.state == "sent" and course.leg.ack is None for course in self._courses)
            self._news.set()
            return
        report = reports.report(envelope.message, self._name_of, self._money_digits)
        if report is None:
            refusal = refusal_in(envelope.message)
            if refusal is None or not envelope.client_msg_id:
                return
            report = Report("refused", refusal.code)
        for course in self._courses:
            if course.state == "sent" and course.leg.concerns(report, envelope.client_msg_id):
                course.leg.hear(report)
                if trace.is_on():
                    leg = course.leg.intent.intent_id
                    trace.span(f"{leg} {report.kind}", course.sent_at, time.monotonic(), leg)
                if course.leg.confirmed:  # at most its deals are missing
                    settled = self._loop.time() + self._session.patience.settle_s
                    course.deadline = min(course.deadline, settled)
                self._news.set()

    async def _find_out(self, courses: Sequence[_Course]) -> None:
        """Ask the broker what became of legs that it is silent about."""
        lost, self._lost = self._lost, False
        for course in courses:
            course.leg.conclude()
        courses = [course for course in courses if course.leg.ack is None]
        if not courses:
            return
        _log.warning("asking the broker what became of %s", ", ".join(one.leg.intent.intent_id for one in courses))
        try:
            answers: Answers = await self._ask()
        except OracleBatchError as error:
            _log.error("the broker cannot be asked: %s", error)
            for course in courses:
                course.leg.unknown()
            return
        until = self._loop.time() + self._session.patience.settle_s
        for course in courses:
            course.leg.take(answers)
            course.asks += 1
            course.deadline = until
            if course.leg.ack is not None:
                continue
            still_there = isinstance(course.leg.intent, CloseIntent)
            if still_there and lost and not course.repeated:
                course.repeated, course.state, course.asks = True, "ready", 0
            elif course.asks >= ASKS:
                course.leg.unknown()


def _replace(leg: Leg, fresh: Leg) -> None:
    """Start a leg anew, as the same object."""
    for name in Leg.__slots__:
        setattr(leg, name, getattr(fresh, name))


def _advice(code: str) -> str:
    action = action_of(code)
    return f" ({action})" if action else ""
