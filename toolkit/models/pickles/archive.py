"""PyTorch's zip files (since 1.6): ``<root>/data.pkl`` and one stored record a storage.

Format: https://pytorch.org/docs/stable/notes/serialization.html.  Records are not compressed, so a
tensor's numbers are read where they lie.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from typing import BinaryIO
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from .machine import read_pickle
from .stored import Place, RefusedPickleError, StoredWeights, shown
from .values import MAX_PICKLE, tensors_of

BEGINNING = b"PK\x03\x04"
_LOCAL = struct.Struct("<4s5H3I2H")  # the header before a record: name's length, extra's length
_END = struct.Struct("<4s4H2IH")  # the last bytes of a zip file without a comment
_ENCRYPTED = 0x1
_RECORD = re.compile(
    r"(?P<root>[^/]+)/(data\.pkl|version|byteorder|data/(?P<key>\w+)"
    r"|\.data/[\w.]+|\.format_version|\.storage_alignment)"
)


def read_archive(stream: BinaryIO, size: int) -> StoredWeights:
    """Return what a zip file of ``torch.save`` holds; raise RefusedPickleError."""
    try:
        with ZipFile(stream) as archive:
            _require_nothing_behind(stream, size)
            return _read(archive, stream)
    except (
        BadZipFile, struct.error, OSError, ValueError, OverflowError, EOFError, NotImplementedError,
    ):  # fmt: skip
        raise RefusedPickleError("is no whole zip file of torch.save") from None


def _require_nothing_behind(stream: BinaryIO, size: int) -> None:
    stream.seek(max(0, size - _END.size))
    signature, *_, comment = _END.unpack(stream.read(_END.size))
    if signature != b"PK\x05\x06" or comment:
        raise RefusedPickleError("has something behind the end of its zip file")


def _read(archive: ZipFile, stream: BinaryIO) -> StoredWeights:
    places: dict[str, Place] = {}
    roots, end = set(), 0
    for record in sorted(archive.infolist(), key=lambda record: record.header_offset):
        match = _RECORD.fullmatch(record.filename)
        if match is None:
            raise RefusedPickleError(
                f"has the record {shown(record.filename)}, which torch.save does not write"
            )
        if record.filename in places:
            raise RefusedPickleError(f"has the record {shown(record.filename)} twice")
        place = _place(record, stream)
        if record.header_offset < end or place.offset + place.length > archive.start_dir:
            raise RefusedPickleError(f"has records that overlap ({shown(record.filename)})")
        end = place.offset + place.length
        places[record.filename] = place
        roots.add(match["root"])
    if len(roots) != 1 or f"{min(roots)}/data.pkl" not in places:
        raise RefusedPickleError("has no data.pkl, or several: it is no file of torch.save")
    (root,) = roots
    order = _bytes(stream, places.get(f"{root}/byteorder"))
    if order not in (b"", b"little", b"big"):
        raise RefusedPickleError(f"has numbers in an unknown order of bytes ({order[:20]!r})")
    if places[f"{root}/data.pkl"].length > MAX_PICKLE:
        raise RefusedPickleError(f"has a pickle of more than {MAX_PICKLE} bytes")
    pickled = io.BytesIO(_bytes(stream, places[f"{root}/data.pkl"]))
    value = read_pickle(pickled)
    if pickled.read(1):
        raise RefusedPickleError("has something behind the end of its pickle")
    begin = f"{root}/data/"
    storages = {n.removeprefix(begin): p for n, p in places.items() if n.startswith(begin)}
    return StoredWeights(tensors_of(value), storages, swapped=order == b"big")


def _place(record: ZipInfo, stream: BinaryIO) -> Place:
    """Return where a record's bytes are, held to its header, its size and its CRC-32."""
    name = shown(record.filename)
    stream.seek(record.header_offset)
    header = _LOCAL.unpack(stream.read(_LOCAL.size))
    signature, flags, method = header[0], header[2], header[3]
    if signature != BEGINNING:
        raise RefusedPickleError(f"has no record where it says that {name} is")
    if (flags | record.flag_bits) & _ENCRYPTED:
        raise RefusedPickleError(f"has an encrypted record ({name})")
    if {method, record.compress_type} != {ZIP_STORED} or record.file_size != record.compress_size:
        raise RefusedPickleError(f"has a compressed record ({name}); torch.save compresses none")
    local_name = stream.read(header[9])
    if local_name != record.orig_filename.encode("utf-8"):
        raise RefusedPickleError(f"has two names for one record ({name})")
    place = Place(record.header_offset + _LOCAL.size + header[9] + header[10], record.file_size)
    if _crc32(stream, place) != record.CRC:
        raise RefusedPickleError(f"is damaged (the CRC-32 of {name} is another)")
    return place


def _crc32(stream: BinaryIO, place: Place) -> int:
    stream.seek(place.offset)
    left, crc = place.length, 0
    while left:
        block = stream.read(min(left, 1 << 20))
        if not block:
            raise RefusedPickleError("is cut off")
        left -= len(block)
        crc = zlib.crc32(block, crc)
    return crc


def _bytes(stream: BinaryIO, place: Place | None) -> bytes:
    if place is None:
        return b""
    stream.seek(place.offset)
    return stream.read(place.length)
