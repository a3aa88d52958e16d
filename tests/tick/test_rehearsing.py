"""A stand-in does what its desk would do, with all that the desk has to tell, and the desk never sees it (§8)."""

from __future__ import annotations

import asyncio
import logging

import pytest
from msgspec.structs import replace

from oracle_batch.bundle.compiled import load_models
from oracle_batch.opening import open_desks
from oracle_batch.rehearsing import held_back, stand_in
from oracle_batch.store.records import Event
from oracle_batch.world import Job, World
from tests.tick.lab import Lab, run

NAME = "EURUSD_M15"


def test_a_stand_in_tells_what_its_desk_has_to_tell_and_keeps_its_own_doings_to_itself(lab: Lab) -> None:
    lab.add("EURUSD", "M15", "W L1 W")
    lab.tick(0)
    models, _ = load_models(lab.workspace.models, lab.workspace.compiled, write_cache=False)
    world = World(lab.close_of(1) + 1, models=models)
    run(open_desks(Job(lab.workspace, lab.settings, lab.clock), world))
    (desk,) = world.desks
    seen = Event("position_adopted", NAME)
    desk.before_send.append(seen)
    desk.book(NAME, replace(desk.books(NAME), last_bar=7))

    other = stand_in(desk)
    assert other.before_send == [seen]
    other.book(NAME, replace(other.books(NAME), last_bar=8))
    other.before_send.append(Event("decision", NAME))
    other.journalled.add("one")
    other.settled.add("one")

    assert desk.books(NAME).last_bar == 7
    assert desk.before_send == [seen]
    assert not desk.journalled | desk.settled


def test_only_what_the_rehearsal_and_its_own_tasks_say_is_held_back(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("oracle_batch.test")

    async def say(text: str) -> None:
        log.warning(text)

    async def rehearsal() -> list[str]:
        other = asyncio.ensure_future(say("the line is lost"))
        with held_back() as kept:
            log.warning("a plan")
            await asyncio.gather(say("a part of it"), other)
        log.warning("over")
        return [record.getMessage() for record in kept]

    assert asyncio.run(rehearsal()) == ["a plan", "a part of it"]
    assert caplog.messages == ["the line is lost", "over"]
