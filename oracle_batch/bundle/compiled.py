"""Bundles as ready arrays: ``load_model`` reads a compiled copy when it has one and makes one when not."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from oracle_batch.bundle.files import bundle_paths, read_file
from oracle_batch.bundle.model import Model, PolicyNet, RegimeModel
from oracle_batch.bundle.packed import CACHE_VERSION, MAGIC, PRELUDE, TEXT, Header, odd, open_packed, read_trusted
from oracle_batch.errors import OracleBatchError, StateError
from oracle_batch.types import ACTIONS


def load_model(path: Path, cache: Path | None, *, write_cache: bool = True) -> Model:
    """The model in a bundle, from ``cache/SHA256.npz`` if there is a good one, else read from the ZIP.

    ``cache`` None means no cache at all; ``write_cache=False`` reads it but writes nothing (dry runs). A cache that
    cannot be written is no error: the next run compiles again.

    Raises:
        BundleError: the bundle is refused; the text names file, field and fix.
    """
    data = read_file(path)
    sha256 = hashlib.sha256(data).hexdigest()
    target = cache / f"{sha256}.npz" if cache is not None else None
    if target is not None:
        model = _cached(target, sha256)
        if model is not None and model.model_id == path.stem:
            return model
    model = _compile(data, path, sha256)
    if target is not None and write_cache:
        _store(target, model)
    return model


def load_models(
    folder: Path, cache: Path | None, *, write_cache: bool = True
) -> tuple[dict[str, Model], dict[str, OracleBatchError]]:
    """Every ``*.zip`` in a folder by file stem, in order of name: models, and refusals. One never stops the others.

    A folder that does not exist holds no models. Hidden files are passed over.

    Raises:
        BundleError: the folder itself cannot be read.
    """
    models: dict[str, Model] = {}
    refused: dict[str, OracleBatchError] = {}
    for path in bundle_paths(folder):
        try:
            models[path.stem] = load_model(path, cache, write_cache=write_cache)
        except OracleBatchError as error:
            refused[path.stem] = error
    return models, refused


def _compile(data: bytes, path: Path, sha256: str) -> Model:
    from oracle_batch.bundle.problems import Problems  # the reader is only needed when the cache is cold
    from oracle_batch.bundle.read import read_bundle

    problems = Problems(path)
    reading = read_bundle(data, path.stem, problems)
    problems.raise_first()
    return reading.model(sha256)


def _arrays(model: Model) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float32]]]:
    regime, policy = model.regime, model.policy
    layers = [array for layer in zip(policy.weights, policy.biases, strict=True) for array in layer]
    return [regime.startprob, regime.transmat, regime.means, regime.whitening, regime.log_norm], layers


def _shapes(n: int, widths: tuple[int, ...]) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    layers: list[tuple[int, ...]] = []
    for inputs, outputs in pairwise(widths):
        layers += [(inputs, outputs), (outputs,)]
    return [(n,), (n, n), (n, 3), (n, 3, 3), (n,)], layers


def pack(model: Model) -> bytes:
    """A compiled model as an ``.npz`` of one byte array: prelude, header (JSON), float64 and float32 numbers."""
    header = Header(
        version=CACHE_VERSION,
        text={name: getattr(model, name) for name in TEXT},
        features=model.features,
        costs=model.costs,
        n_states=model.regime.n_states,
        widths=model.policy.shape,
        activation=model.policy.activation,
    )
    text = msgspec.json.encode(header)
    text += b" " * (-len(text) % 8)
    doubles, singles = _arrays(model)
    body = b"".join(
        [
            text,
            *(array.astype("<f8").tobytes() for array in doubles),
            *(array.astype("<f4").tobytes() for array in singles),
        ]
    )
    prelude = PRELUDE.pack(MAGIC, len(text), len(body), zlib.crc32(body))
    out = io.BytesIO()
    np.savez(out, model=np.frombuffer(prelude + body, dtype=np.uint8))
    return out.getvalue()


def unpack(data: bytes, sha256: str) -> Model:
    """The model that ``pack`` wrote.

    Raises:
        StateError: another version, another bundle's, or damaged.
    """
    header, body, offset = open_packed(data, sha256)
    return _rebuild(header, np.frombuffer(body, np.uint8, offset=offset).copy())


def _rebuild(header: Header, packed: NDArray[np.uint8]) -> Model:
    """The model as read-only views into one buffer."""
    widths = header.widths
    double_shapes, single_shapes = _shapes(header.n_states, widths)
    middle = 8 * sum(map(math.prod, double_shapes))
    if len(packed) != middle + 4 * sum(map(math.prod, single_shapes)):
        odd("arrays of another size")
    if widths[-1] != len(ACTIONS) or widths[0] != header.n_states + 9 or min(widths) < 1:
        odd("arrays of another size")
    packed.flags.writeable = False
    doubles = _split(packed[:middle].view("<f8"), double_shapes)
    layers = _split(packed[middle:].view("<f4"), single_shapes)
    return Model(
        **header.text,  # type: ignore[arg-type]
        features=header.features,
        costs=header.costs,
        regime=RegimeModel(*doubles),
        policy=PolicyNet(tuple(layers[::2]), tuple(layers[1::2]), header.activation),
    )


def _split(numbers: NDArray[Any], shapes: list[tuple[int, ...]]) -> list[NDArray[Any]]:
    if not np.isfinite(numbers).all():
        odd("numbers that are not finite")
    arrays, offset = [], 0
    for shape in shapes:
        size = math.prod(shape)
        arrays.append(numbers[offset : offset + size].reshape(shape))
        offset += size
    return arrays


def _cached(path: Path, sha256: str) -> Model | None:
    """The compiled model at ``path``, or None when there is none that can be trusted and read."""
    data = read_trusted(path)
    if data is None:
        return None
    try:
        return unpack(data, sha256)
    except StateError:
        return None


def _store(path: Path, model: Model) -> None:
    from oracle_batch.store.files import replace_atomically

    with contextlib.suppress(StateError, OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_atomically(path, pack(model))
