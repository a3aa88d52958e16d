"""What a pickle may mention and what becomes of it: names and holders without any behaviour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from oracle_batch.bundle.problems import shorten
from oracle_batch.errors import BundleError

Builder = Callable[[tuple[Any, ...]], object]


@dataclass(frozen=True, slots=True)
class Name:
    """A global that the stream mentions, e.g. ``numpy.ndarray``: two strings, never the thing itself."""

    path: str


class Buildable:
    """Something that takes a state, as BUILD hands over."""

    __slots__ = ()

    def build(self, state: object) -> None:
        """Take over the pickled state.

        Raises:
            BundleError: the state is not what such an object has.
        """
        raise NotImplementedError


@dataclass(slots=True, eq=False)
class Inert(Buildable):
    """An object of an allowed class: its name and its attributes, no behaviour."""

    path: str
    state: dict[str, Any] = field(default_factory=dict)

    def build(self, state: object) -> None:
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            raise BundleError(f"gives {self.path} a state that is not a dict of attributes")
        self.state.update(state)


class Sequence(list[Any]):
    """Stands in for ``collections.deque``."""


class Ordered(dict[Any, Any], Buildable):
    """Stands in for ``collections.OrderedDict``; attributes set on it are dropped."""

    def build(self, state: object) -> None:
        if not isinstance(state, dict):
            raise BundleError("gives an OrderedDict a state that is not a dict")


@dataclass(frozen=True, slots=True)
class Allowed:
    """What one kind of stream may mention.

    ``builders`` are the globals that may stand in a REDUCE, ``classes`` those whose objects become :class:`Inert`,
    ``names`` those that are only ever arguments. ``persistent`` resolves persistent ids; without it there are none.
    """

    builders: Mapping[str, Builder]
    classes: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    persistent: Callable[[object], object] | None = None

    def name(self, module: object, name: object) -> Name:
        path = f"{module}.{name}"
        if path in self.builders or path in self.classes or path in self.names:
            return Name(path)
        raise refusal(
            f"uses the global {shorten(path, 100)[1:-1]}, which a model file may not contain",
            "do not open this file with Python; export the model again, with pickle protocol 4",
        )


def deque_of(arguments: tuple[Any, ...]) -> Sequence:
    """``collections.deque(items=(), maxlen=None)`` as a plain list; ``maxlen`` has no meaning for a finished log."""
    if len(arguments) > 2 or (arguments and not isinstance(arguments[0], (list, tuple))):
        raise refusal("builds a deque from something else than a list")
    return Sequence(arguments[0] if arguments else ())


def ordered_of(arguments: tuple[Any, ...]) -> Ordered:
    """``collections.OrderedDict()``, empty; its items follow in the stream."""
    if arguments:
        raise refusal("builds an OrderedDict from arguments")
    return Ordered()


def refusal(message: str, fix: str | None = "export the model again") -> BundleError:
    """The error for a stream that does what data never do."""
    return BundleError(message, fix=fix)
