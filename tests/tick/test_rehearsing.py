"""A stand-in does what its desk would do, with all that the desk has to tell, and the desk never sees it (§8)."""

from __future__ import annotations

from msgspec.structs import replace

from oracle_batch.bundle.compiled import load_models
from oracle_batch.opening import open_desks
from oracle_batch.rehearsing import stand_in
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
