"""Tensors out of a ``torch.save`` file: raw float32 storages and where each tensor lies in them, without torch."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from oracle_batch.bundle.archive import MEBIBYTE, Archive, refuse_unknown
from oracle_batch.bundle.inert import Allowed, Name, Ordered, ordered_of
from oracle_batch.bundle.problems import shorten
from oracle_batch.bundle.unpickle import MAX_PICKLE_BYTES, unpickle
from oracle_batch.errors import BundleError

MAX_STORAGE_BYTES: Final = 32 * MEBIBYTE
FLOAT_STORAGE: Final = "torch.FloatStorage"

_KNOWN: Final = ("data.pkl", "version", "byteorder")
_STORAGE_KEY: Final = re.compile(r"[0-9]{1,6}")
_LOCATION: Final = re.compile(r"cpu|(cuda|mps)(:[0-9]+)?")
"""Where a tensor lived when it was saved: no more than a hint, the bytes are the same."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of float32 numbers, kept as member ``data/KEY`` of the file."""

    key: str
    count: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage: offset, shape and strides in numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def is_row_major(self) -> bool:
        return self.strides == tuple(math.prod(self.shape[axis + 1 :]) for axis in range(len(self.shape)))


class TensorFile:
    """A state dict in torch's ZIP format. ``tensors`` are by name; their numbers are read only on demand.

    Raises:
        BundleError: no such file, or anything in it that a dict of float32 tensors does not have.
    """

    def __init__(self, data: bytes) -> None:
        self._archive = Archive(data)
        heads = [name for name in self._archive.names if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(heads) != 1:
            raise BundleError("has no data.pkl, so it is not a file of torch.save", field="data.pkl")
        self._prefix = heads[0][: -len("data.pkl")]
        self._refuse_unknown()
        self._order = self._byte_order()
        self.tensors = self._state_dict(heads[0])

    def numbers(self, tensor: Tensor) -> NDArray[np.float32]:
        """A tensor's values, float32, native byte order, row-major.

        Raises:
            BundleError: its storage is missing, damaged or of another size.
        """
        storage = tensor.storage
        name = f"{self._prefix}data/{storage.key}"
        raw = self._archive.read(name, MAX_STORAGE_BYTES)
        if len(raw) != 4 * storage.count:
            raise BundleError(f"has {len(raw)} bytes, not {4 * storage.count}", field=name)
        flat = np.frombuffer(raw, dtype=self._order + "f4")
        if tensor.is_row_major:
            values = flat[tensor.offset : tensor.offset + tensor.size].reshape(tensor.shape)
            return values.astype(np.float32)
        places = np.full(tensor.shape, tensor.offset, dtype=np.int64)
        for axis, (length, stride) in enumerate(zip(tensor.shape, tensor.strides, strict=True)):
            steps = np.arange(length, dtype=np.int64) * stride
            places += steps.reshape([-1 if index == axis else 1 for index in range(len(tensor.shape))])
        return np.ascontiguousarray(flat[places], dtype=np.float32)

    def _refuse_unknown(self) -> None:
        prefix = self._prefix
        plain = [prefix + name for name in _KNOWN]
        for name in self._archive.names:
            tail = name.removeprefix(prefix)
            if tail.startswith(".") or _STORAGE_KEY.fullmatch(tail.removeprefix("data/")):
                plain.append(name)
        for error in refuse_unknown(self._archive.names, plain):
            raise error

    def _byte_order(self) -> str:
        name = self._prefix + "byteorder"
        order = self._archive.read(name, 16) if name in self._archive.names else b"little"
        if order not in (b"little", b"big"):
            raise BundleError(f"is {shorten(order)}, neither little nor big", field=name)
        return "<" if order == b"little" else ">"

    def _state_dict(self, name: str) -> dict[str, Tensor]:
        allowed = Allowed(
            builders={"torch._utils._rebuild_tensor_v2": _tensor_of, "collections.OrderedDict": ordered_of},
            names=frozenset((FLOAT_STORAGE,)),
            persistent=_storage_of,
        )
        data = self._archive.read(name, MAX_PICKLE_BYTES)
        try:
            value = unpickle(data, allowed)
        except BundleError as error:
            error.field = error.field or name
            raise
        if not isinstance(value, (dict, Ordered)):
            raise BundleError(f"holds a {type(value).__name__}, not a dict of tensors", field=name)
        for key, tensor in value.items():
            if not isinstance(key, str) or not isinstance(tensor, Tensor):
                raise BundleError(f"is not a tensor but a {type(tensor).__name__}", field=shorten(key))
        return dict(value)


def _storage_of(identifier: object) -> Storage:
    """``('storage', torch.FloatStorage, key, location, count)``."""
    if not isinstance(identifier, tuple) or len(identifier) != 5:
        raise BundleError("refers to data in an unknown way (its persistent id)")
    tag, kind, key, location, count = identifier
    if tag != "storage" or kind != Name(FLOAT_STORAGE):
        raise BundleError("refers to something that is not a storage of float32 numbers")
    if not isinstance(key, str) or not _STORAGE_KEY.fullmatch(key):
        raise BundleError(f"refers to a storage by the key {shorten(key)}")
    if not isinstance(location, str) or not _LOCATION.fullmatch(location):
        raise BundleError(f"keeps a storage at {shorten(location)}", fix="save the policy on the CPU")
    if type(count) is not int or not 0 <= count <= MAX_STORAGE_BYTES // 4:
        raise BundleError(f"claims a storage of {shorten(count)} numbers")
    return Storage(key, count)


def _tensor_of(arguments: tuple[Any, ...]) -> Tensor:
    """``_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)``, kept within its storage."""
    if len(arguments) not in (6, 7) or not isinstance(arguments[0], Storage):
        raise BundleError("rebuilds a tensor from something that is not a storage")
    storage, offset, shape, strides = arguments[:4]
    if not _naturals(shape) or not _naturals(strides) or len(shape) != len(strides) or not _naturals((offset,)):
        raise BundleError("gives a tensor a shape, stride or offset that is not made of natural numbers")
    tensor = Tensor(storage, offset, shape, strides)
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if tensor.size > storage.count or (tensor.size and last >= storage.count):
        raise BundleError(f"lets a tensor of shape {shape} reach beyond its storage of {storage.count} numbers")
    return tensor


def _naturals(values: object) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) <= 4
        and all(type(value) is int and 0 <= value <= MAX_STORAGE_BYTES for value in values)
    )
