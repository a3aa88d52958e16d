"""Which models there are, for those who decide nothing: read from the compiled copies, without NumPy."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from oracle_batch.bundle.files import bundle_paths, read_file
from oracle_batch.bundle.packed import open_packed, read_trusted
from oracle_batch.errors import OracleBatchError, StateError


class Identity(NamedTuple):
    """A model's names and its bundle's SHA-256."""

    model_id: str
    symbol: str
    broker_symbol: str
    timeframe: str
    sha256: str


def identify(path: Path, cache: Path) -> Identity:
    """The identity of a bundle; one without a good compiled copy is read as a whole, and no copy is made.

    Raises:
        BundleError: the bundle is refused; the text names file, field and fix.
    """
    data = read_file(path)
    sha256 = hashlib.sha256(data).hexdigest()
    packed = read_trusted(cache / f"{sha256}.npz")
    if packed is not None:
        try:
            text = open_packed(packed, sha256).header.text
        except StateError:
            pass
        else:
            if text["model_id"] == path.stem:
                return Identity(*(text[name] for name in Identity._fields))
    from oracle_batch.bundle.compiled import load_model

    model = load_model(path, None)
    return Identity(*(getattr(model, name) for name in Identity._fields))


def identify_all(folder: Path, cache: Path) -> tuple[dict[str, Identity], dict[str, OracleBatchError]]:
    """Every ``*.zip`` in a folder by file stem, in order of name: identities, and refusals.

    Raises:
        BundleError: the folder itself cannot be read.
    """
    known: dict[str, Identity] = {}
    refused: dict[str, OracleBatchError] = {}
    for path in bundle_paths(folder):
        try:
            known[path.stem] = identify(path, cache)
        except OracleBatchError as error:
            refused[path.stem] = error
    return known, refused
