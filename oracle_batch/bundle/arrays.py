"""NumPy arrays out of a pickle: raw bytes, a plain numeric type and a shape that fits them exactly."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oracle_batch.bundle.inert import Buildable, Builder, Name
from oracle_batch.bundle.problems import shorten
from oracle_batch.errors import BundleError

NDARRAY: Final = "numpy.ndarray"
_PLAIN: Final = re.compile(r"[<>|=]?(f[248]|[iu][1248]|b1)")
_STATE_VERSION: Final = 1


@dataclass(slots=True, eq=False)
class PickledType(Buildable):
    """A ``numpy.dtype`` under construction; booleans, integers and floats only."""

    code: str
    order: str = "<"

    def build(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "="):
            raise BundleError("gives an array type an unknown state")
        if any(part is not None for part in state[2:5]):
            raise BundleError("uses a structured array type; only plain numbers are data")
        self.order = state[1]

    def to_numpy(self) -> np.dtype[Any]:
        order = self.order if self.order in "<>" else "<"
        return np.dtype(order + self.code[-2:])


@dataclass(slots=True, eq=False)
class PickledArray(Buildable):
    """A ``numpy.ndarray`` under construction; ``values`` once its state has come."""

    values: NDArray[Any] | None = None

    def build(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or state[0] != _STATE_VERSION:
            raise BundleError("gives an array an unknown state")
        _, shape, kind, fortran, raw = state
        if not _is_shape(shape):
            raise BundleError(f"gives an array the shape {shorten(shape)}")
        if not isinstance(kind, PickledType) or not isinstance(raw, bytes):
            raise BundleError("fills an array with something that is not numbers")
        dtype = kind.to_numpy()
        needed = math.prod(shape) * dtype.itemsize
        if needed != len(raw):
            raise BundleError(f"has {len(raw)} bytes for an array of shape {shape}, which needs {needed}")
        flat = np.frombuffer(raw, dtype=dtype).astype(dtype.newbyteorder("="))
        self.values = flat.reshape(shape, order="F" if fortran is True else "C")


def _is_shape(shape: object) -> bool:
    return (
        isinstance(shape, tuple)
        and len(shape) <= 8
        and all(isinstance(length, int) and 0 <= length < 2**31 for length in shape)
    )


def _empty_array(arguments: tuple[Any, ...]) -> PickledArray:
    """``_reconstruct(ndarray, (0,), b'b')``: the shell that every pickled array starts as."""
    if len(arguments) != 3 or arguments[0] != Name(NDARRAY):
        raise BundleError("rebuilds something that is not a plain numpy.ndarray")
    return PickledArray()


def _type_of(arguments: tuple[Any, ...]) -> PickledType:
    code = arguments[0] if arguments else None
    if not isinstance(code, str) or not _PLAIN.fullmatch(code):
        raise BundleError(f"uses the array type {shorten(code)}; only plain numbers are data")
    return PickledType(code, code[0] if code[0] in "<>" else "<")


def _scalar_of(arguments: tuple[Any, ...]) -> float | int | bool:
    if len(arguments) != 2 or not isinstance(arguments[0], PickledType) or not isinstance(arguments[1], bytes):
        raise BundleError("holds a numpy scalar that is not a plain number")
    dtype = arguments[0].to_numpy()
    if len(arguments[1]) != dtype.itemsize:
        raise BundleError(f"has {len(arguments[1])} bytes for a numpy scalar of {dtype.itemsize}")
    value: float | int | bool = np.frombuffer(arguments[1], dtype=dtype)[0].item()
    return value


def numpy_builders() -> dict[str, Builder]:
    """What a pickle may "call" to bring NumPy data: arrays, their types, scalars."""
    return {
        "numpy._core.multiarray._reconstruct": _empty_array,
        "numpy.core.multiarray._reconstruct": _empty_array,
        "numpy._core.multiarray.scalar": _scalar_of,
        "numpy.core.multiarray.scalar": _scalar_of,
        "numpy.dtype": _type_of,
    }


def float_array(value: object) -> NDArray[np.float64] | None:
    """Float64 numbers of a rebuilt array, or None when it is no finished array of real numbers."""
    values = value.values if isinstance(value, PickledArray) else None
    if values is None or values.dtype.kind == "b":
        return None
    return np.ascontiguousarray(values, dtype=np.float64)
