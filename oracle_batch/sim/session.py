"""What one connection is allowed to do and has asked to be told."""

from __future__ import annotations

from dataclasses import dataclass, field

from oracle_batch.sim.tokens import Grant


@dataclass(slots=True)
class Session:
    """State of one connection: first the application is let in, then account after account.

    ``spots``, ``depth`` and ``bars`` are subscriptions: (account, symbol id), for bars with the period as well. A spot
    subscription's value says whether it wants time stamps, a depth subscription's which levels were told.
    """

    application: bool = False
    accounts: dict[int, Grant] = field(default_factory=dict)
    spots: dict[tuple[int, int], bool] = field(default_factory=dict)
    depth: dict[tuple[int, int], frozenset[int]] = field(default_factory=dict)
    bars: set[tuple[int, int, int]] = field(default_factory=set)

    def leave(self, account: int) -> bool:
        """End an account's session with everything it subscribed to; False: it had none."""
        self.spots = {key: stamped for key, stamped in self.spots.items() if key[0] != account}
        self.depth = {key: told for key, told in self.depth.items() if key[0] != account}
        self.bars = {key for key in self.bars if key[0] != account}
        return self.accounts.pop(account, None) is not None

    def unsubscribe_spots(self, account: int, symbol_id: int) -> None:
        """End a symbol's spots, and what rides on them."""
        self.spots.pop((account, symbol_id), None)
        self.depth.pop((account, symbol_id), None)
        self.bars = {key for key in self.bars if key[:2] != (account, symbol_id)}

    def periods(self, account: int, symbol_id: int) -> frozenset[int]:
        """The periods whose live bars an account wants of a symbol."""
        return frozenset(period for owner, symbol, period in self.bars if (owner, symbol) == (account, symbol_id))
