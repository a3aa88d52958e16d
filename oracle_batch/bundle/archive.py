"""Opening ZIP files from strangers: nothing is extracted, nothing in a header is believed, every read is bounded."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable
from typing import Final

from oracle_batch.bundle.problems import EXPORT_AGAIN, shorten
from oracle_batch.errors import BundleError

MEBIBYTE: Final = 1024 * 1024
MAX_ENTRIES: Final = 4096
"""Directory entries, those of archives inside included."""
HARMLESS_BYTES: Final = 8 * MEBIBYTE
"""Below this nobody minds how well a member compresses (a net of zeros does)."""
MAX_RATIO: Final = 200
"""Compressed model weights never come near this; a bomb starts at a thousand."""

_MAGIC: Final = b"PK\x03\x04"
_ENTRY_MAGIC: Final = b"PK\x01\x02"
_ENCRYPTED: Final = 0x1
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Methods that ``zipfile`` unpacks in bounded steps. Its bz2 and lzma readers take whatever comes."""
_ZIP_FAULTS: Final = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    LookupError,
)
"""What ``zipfile`` raises on damaged or hostile input."""


class Archive:
    """A ZIP in memory whose directory has been looked through; ``names`` are its members in order.

    Raises:
        BundleError: no ZIP, damaged, or a directory entry that no honest bundle has; it names the member.
    """

    def __init__(self, data: bytes) -> None:
        if not data.startswith(_MAGIC):
            raise BundleError("is not a ZIP file", fix=EXPORT_AGAIN)
        if data.count(_ENTRY_MAGIC) > MAX_ENTRIES:
            raise BundleError(f"has more than {MAX_ENTRIES} members")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            entries = self._zip.infolist()
        except _ZIP_FAULTS as error:
            raise BundleError(f"is damaged: {_reason(error)}", fix="copy the file again") from None
        self._entries: dict[str, zipfile.ZipInfo] = {}
        for entry in entries:
            _refuse_name(entry.orig_filename)
            if entry.filename in self._entries:
                raise BundleError("stands twice in the archive", field=shorten(entry.filename))
            self._entries[entry.filename] = entry
        self.comment = self._zip.comment

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._entries)

    def stored_bytes(self, name: str) -> int:
        """Size of a member inside the archive, compressed, as its directory says."""
        return self._entries[name].compress_size

    def read(self, name: str, limit: int) -> bytes:
        """A member's bytes, at most ``limit`` of them.

        Raises:
            BundleError: missing, encrypted, larger than the limit, a bomb, truncated, or failing its checksum.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise BundleError("is missing from the archive", field=name)
        if entry.flag_bits & _ENCRYPTED:
            raise BundleError("is encrypted", field=name, fix="export the bundle without a password")
        if entry.compress_type not in _METHODS:
            raise BundleError(
                f"uses compression method {entry.compress_type}", field=name, fix="use stored or deflated members"
            )
        if entry.file_size > limit:
            raise BundleError(f"unpacks to {entry.file_size} bytes, more than {limit}", field=name, fix=None)
        if entry.file_size > HARMLESS_BYTES and entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
            raise BundleError(
                f"unpacks {entry.compress_size} bytes to {entry.file_size}: a ZIP bomb", field=name, fix=None
            )
        try:
            with self._zip.open(entry) as member:
                data = member.read(limit + 1)
        except _ZIP_FAULTS as error:
            raise BundleError(f"is damaged: {_reason(error)}", field=name, fix="copy the file again") from None
        if len(data) != entry.file_size:
            raise BundleError(
                f"is truncated: {len(data)} of {entry.file_size} bytes", field=name, fix="copy the file again"
            )
        return data


def refuse_unknown(names: Iterable[str], known: Iterable[str]) -> list[BundleError]:
    """One refusal for each member that no such archive should have."""
    expected = frozenset(known)
    return [
        BundleError("is not a member that this format knows", field=shorten(name), fix="remove it or export again")
        for name in names
        if name not in expected
    ]


def _refuse_name(name: str) -> None:
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or ".." in parts or (len(name) > 1 and name[1] == ":"):
        raise BundleError("is a member name that points outside the archive", field=shorten(name))
    if not name or len(name) > 200 or not name.isprintable() or not all(parts):
        raise BundleError("is not a proper member name", field=shorten(name))


def _reason(error: Exception) -> str:
    return shorten(str(error), 120).strip("'\"") or type(error).__name__
