"""Append-only files, one JSON object per line; a torn last line (interrupted write) is ignored.

A line may be sealed: its last key, ``crc32``, is the CRC-32 of what stands before it, continued
from that of the line before.  So a line that was changed, moved, repeated or taken out is noticed.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ..files import naming

BLOCK = 64 * 1024
SEAL = re.compile(r',"crc32":"([0-9a-f]{8})"\}\n?$')
SEAL_BYTES = len(',"crc32":"00000000"}\n')


def encoded(data: Mapping[str, Any]) -> str:
    """Return an object as a line of JSON."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n"


def seal(line: str, before: int = 0) -> str:
    r"""Return a line of JSON sealed; ``before`` is the checksum of the line before (0: none).

    >>> seal('{"kind":"end"}\n')
    '{"kind":"end","crc32":"4c5b2dd8"}\n'
    """
    body = line.rstrip("\n").removesuffix("}")
    return f'{body},"crc32":"{zlib.crc32(body.encode(), before):08x}"}}\n'


def checksum(line: str, before: int = 0) -> int:
    """Return the checksum of a sealed line; raise ValueError if it does not fit the line."""
    found = SEAL.search(line)
    if found is None:
        raise ValueError("it has no checksum at its end: it was not written by a measurement")
    if zlib.crc32(line[: found.start()].encode(), before) != int(found[1], 16):
        raise ValueError(
            "its checksum does not fit: this line or the one before was changed, moved or taken out"
            " after it was measured"
        )
    return int(found[1], 16)


def append_line(path: Path, data: Mapping[str, Any], sealed: bool = False) -> None:
    """Append one object to an existing file, sealed or not, and force it to the disk.

    A torn last line is cut off first.
    """
    line = encoded(data)
    with naming(path), path.open("r+b") as stream:
        end = _cut_torn_line(stream)
        if sealed:
            stream.seek(max(0, end - SEAL_BYTES))
            last = SEAL.search(stream.read().decode(errors="replace"))
            line = seal(line, int(last[1], 16) if last else 0)
        stream.write(line.encode())
        stream.flush()
        os.fsync(stream.fileno())


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield every whole line with its number, from 1; raise OSError if the file cannot be read."""
    with path.open(encoding="utf-8", errors="replace", newline="\n") as stream:
        for number, line in enumerate(stream, start=1):
            if line.endswith("\n"):
                yield number, line[:-1]


def _cut_torn_line(stream: BinaryIO) -> int:
    """Cut off the bytes after the last line end; leave the stream there, and return the place."""
    whole = start = stream.seek(0, os.SEEK_END)
    while start:
        start = max(0, start - BLOCK)
        stream.seek(start)
        if ends := stream.read(BLOCK).rfind(b"\n") + 1:
            whole = start + ends
            break
    else:
        whole = 0
    stream.truncate(whole)
    return stream.seek(whole)
