"""Append-only files, one JSON object per line; a torn last line (interrupted write) is ignored."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ..files import naming

BLOCK = 64 * 1024


def encoded(data: Mapping[str, Any]) -> str:
    """Return an object as a line of JSON."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n"


def append_line(path: Path, data: Mapping[str, Any]) -> None:
    """Append one object to an existing file, and force it to the disk.

    A torn last line is cut off first.
    """
    line = encoded(data).encode()
    with naming(path), path.open("r+b") as stream:
        _cut_torn_line(stream)
        stream.write(line)
        stream.flush()
        os.fsync(stream.fileno())


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield every whole line with its number, from 1; raise OSError if the file cannot be read."""
    with path.open(encoding="utf-8", errors="replace", newline="\n") as stream:
        for number, line in enumerate(stream, start=1):
            if line.endswith("\n"):
                yield number, line[:-1]


def _cut_torn_line(stream: BinaryIO) -> None:
    """Cut off the bytes after the last line end, and leave the stream positioned there."""
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
    stream.seek(whole)
