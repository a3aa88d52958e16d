"""A pickle machine without power: it builds plain data and inert holders, and has no instruction that calls anything.

``pickletools`` splits the stream into opcodes; this module gives a meaning to the few that data needs. A global is
only ever a :class:`Name`; "calling" one means looking its path up in a table of builders written here. So a hostile
stream can do nothing but be refused, and what it costs is bounded by its length and ``MAX_OPCODES``.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable
from typing import Any, Final

from oracle_batch.bundle.inert import Allowed, Buildable, Inert, Name, refusal
from oracle_batch.bundle.problems import shorten
from oracle_batch.errors import BundleError

MAX_OPCODES: Final = 200_000
MAX_PICKLE_BYTES: Final = 1024 * 1024


def unpickle(data: bytes, allowed: Allowed) -> object:
    """The data in a pickle (protocols 0 to 5), rebuilt without importing or calling anything it names.

    Raises:
        BundleError: a global outside ``allowed`` (named), an opcode that data does not need (named), a damaged or
            oversized stream.
    """
    if len(data) > MAX_PICKLE_BYTES:
        raise refusal(f"is a pickle of {len(data)} bytes, more than {MAX_PICKLE_BYTES}", None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pickletools passes on what Python thinks of odd escapes in old strings
            return _run(data, _Machine(allowed))
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, RecursionError) as error:
        reason = shorten(str(error), 100).strip("'\"") or type(error).__name__
        raise BundleError(f"is not a readable pickle: {reason}", fix="copy the file again") from None


def _run(data: bytes, machine: _Machine) -> object:
    for count, (opcode, argument, position) in enumerate(pickletools.genops(data)):
        if count >= MAX_OPCODES:
            raise refusal(f"is a pickle of more than {MAX_OPCODES} instructions", None)
        if opcode.name == "STOP":
            if position is not None and position + 1 != len(data):
                raise refusal("has bytes behind the end of its pickle")
            return machine.pop()
        machine.step(opcode.name, argument)
    raise refusal("is a pickle without an end")


# fmt: off
_PUSH: Final = frozenset((
    "INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "SHORT_BINBYTES", "BINBYTES", "BINBYTES8",
))
# fmt: on
_CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_IGNORED: Final = frozenset(("PROTO", "FRAME"))
_FIXED_TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """Stack, marks and memo of one run."""

    def __init__(self, allowed: Allowed) -> None:
        self.allowed = allowed
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise refusal("is not a readable pickle: it takes from an empty stack")
        return self.stack.pop()

    def above_mark(self) -> list[Any]:
        if not self.marks:
            raise refusal("is not a readable pickle: a mark is missing")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def step(self, name: str, argument: Any) -> None:
        if name in _PUSH:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _FIXED_TUPLES:
            items = [self.pop() for _ in range(_FIXED_TUPLES[name])]
            self.stack.append(tuple(reversed(items)))
        elif name not in _IGNORED:
            handler = _HANDLERS.get(name)
            if handler is None:
                raise refusal(f"uses the pickle instruction {name}{_culprit(name, argument)}, which data does not need")
            handler(self, argument)

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def pop_top(self, _: Any) -> None:
        if self.marks and len(self.stack) == self.marks[-1]:
            self.marks.pop()
        else:
            self.pop()

    def pop_mark(self, _: Any) -> None:
        self.above_mark()

    def duplicate(self, _: Any) -> None:
        top = self.pop()
        self.stack += (top, top)

    def put(self, index: Any) -> None:
        top = self.pop()
        self.stack.append(top)
        self.memo[len(self.memo) if index is None else int(index)] = top

    def get(self, index: Any) -> None:
        if int(index) not in self.memo:
            raise refusal("is not a readable pickle: it recalls what it never stored")
        self.stack.append(self.memo[int(index)])

    def empty_list(self, _: Any) -> None:
        self.stack.append([])

    def list_(self, _: Any) -> None:
        self.stack.append(self.above_mark())

    def empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def dict_(self, _: Any) -> None:
        items = self.above_mark()
        self.stack.append({})
        self._set(items)

    def tuple_(self, _: Any) -> None:
        self.stack.append(tuple(self.above_mark()))

    def append(self, _: Any) -> None:
        self._extend([self.pop()])

    def appends(self, _: Any) -> None:
        self._extend(self.above_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self.pop()
        if not isinstance(target, list):
            raise refusal("appends to something that is not a list")
        target.extend(items)
        self.stack.append(target)

    def set_item(self, _: Any) -> None:
        value = self.pop()
        self._set([self.pop(), value])

    def set_items(self, _: Any) -> None:
        self._set(self.above_mark())

    def _set(self, items: list[Any]) -> None:
        target = self.pop()
        if not isinstance(target, dict) or len(items) % 2:
            raise refusal("sets items of something that is not a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if key is not None and not isinstance(key, (str, int, float)):
                raise refusal("uses a dict key that is neither text nor number")
            target[key] = value
        self.stack.append(target)

    def global_(self, argument: Any) -> None:
        module, _, name = str(argument).partition(" ")
        self.stack.append(self.allowed.name(module, name))

    def stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise refusal("names a global with something that is not text")
        self.stack.append(self.allowed.name(module, name))

    def new_object(self, _: Any) -> None:
        arguments, cls = self.pop(), self.pop()
        if not isinstance(cls, Name) or cls.path not in self.allowed.classes or arguments != ():
            raise refusal(f"makes an object of {_path_of(cls)}, which is not one of the model's classes")
        self.stack.append(Inert(cls.path))

    def reduce(self, _: Any) -> None:
        arguments, function = self.pop(), self.pop()
        builder = self.allowed.builders.get(function.path) if isinstance(function, Name) else None
        if builder is None or not isinstance(arguments, tuple):
            raise refusal(f"calls {_path_of(function)}, which is not a constructor of data")
        self.stack.append(builder(arguments))

    def build(self, _: Any) -> None:
        state = self.pop()
        target = self.pop()
        if not isinstance(target, Buildable):
            raise refusal(f"sets the state of {_path_of(target)}")
        target.build(state)
        self.stack.append(target)

    def persistent(self, _: Any) -> None:
        if self.allowed.persistent is None:
            raise refusal("refers to data outside the pickle (a persistent id)")
        self.stack.append(self.allowed.persistent(self.pop()))


def _path_of(value: object) -> str:
    return value.path if isinstance(value, (Name, Inert)) else f"a {type(value).__name__}"


def _culprit(opcode: str, argument: Any) -> str:
    return f" on {shorten(str(argument).replace(' ', '.'), 100)[1:-1]}" if opcode == "INST" else ""


_HANDLERS: Final[dict[str, Callable[[_Machine, Any], None]]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.pop_top,
    "POP_MARK": _Machine.pop_mark,
    "DUP": _Machine.duplicate,
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.put,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "EMPTY_LIST": _Machine.empty_list,
    "LIST": _Machine.list_,
    "EMPTY_DICT": _Machine.empty_dict,
    "DICT": _Machine.dict_,
    "TUPLE": _Machine.tuple_,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "NEWOBJ": _Machine.new_object,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent,
}
