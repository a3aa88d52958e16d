"""The hands' half of a run before anything is sent: what every account does (DESIGN §6)."""

from __future__ import annotations

from collections.abc import Mapping

from oracle_batch import exits, own_accounts, unattended
from oracle_batch.judging import judge
from oracle_batch.planning import propose
from oracle_batch.think import Thought
from oracle_batch.world import World


async def plan(world: World, thoughts: Mapping[str, Thought]) -> None:
    """All accounts propose, then the rules judge one after another: what one may enter counts for the next."""
    proposals = {desk.name: await propose(desk, thoughts, world.windows(), world.now) for desk in world.desks}
    plans = {name: one.plans for name, one in proposals.items() if one is not None}
    sides = own_accounts.Sides(world.desks, plans, world.held_by_lost)
    for desk in world.desks:
        proposal = proposals[desk.name]
        if proposal is not None:
            await judge(desk, proposal, thoughts, sides.against(desk), world.now)
            sides.let_pass(desk)
        unattended.retry_pending(desk, world.now)
        await unattended.close_blind(desk, {*desk.failed, *world.warming}, world.now)
        exits.put_off(desk)
    own_accounts.hold_back(world.desks)
    own_accounts.warn_of_twins(world.desks)
