"""The ledger of a proof: lines appended to a file, read again by the next start."""

from __future__ import annotations

from pathlib import Path


def mend(path: Path) -> None:
    """Take a last line that was cut short off a file, so that lines can follow."""
    if path.exists() and (data := path.read_bytes()) and not data.endswith(b"\n"):
        path.write_bytes(data[: data.rfind(b"\n") + 1])
