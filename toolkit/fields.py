"""Fields of a TOML file, read with type checks; a wrong one is a one-line error."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import UnusableInputError
from .files import read_text


def read_toml(path: Path, named: str = "") -> dict[str, Any]:
    """Return a TOML file's content; raise UnusableInputError if it cannot be read.

    ``named`` is what an error calls the file, instead of its path.
    """
    text = read_text(path, named)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UnusableInputError(
            f"{named or path} cannot be read: it is not TOML ({error})"
        ) from None


@dataclass(frozen=True)
class Fields:
    """One table of a TOML file; ``origin`` says where it is.  Methods raise UnusableInputError."""

    data: Mapping[str, Any]
    origin: str

    @classmethod
    def of(cls, data: object, origin: str) -> Fields:
        """Return the table ``data`` as fields."""
        if not isinstance(data, Mapping):
            raise UnusableInputError(f"{origin} is not a table")
        return cls(data, origin)

    def only(self, known: tuple[str, ...]) -> None:
        """Refuse unknown keys: a misspelt key must not be silently ignored."""
        if unknown := sorted(set(self.data) - set(known)):
            raise UnusableInputError(f"{self.origin}: unknown key {unknown[0]!r}")

    def word(self, key: str) -> str:
        """Return a string that is not empty."""
        value = self.data.get(key)
        if not isinstance(value, str) or not value.strip():
            raise UnusableInputError(f"{self.origin}: {key!r} is missing or is not a string")
        return value

    def number(self, key: str) -> float:
        """Return a finite number above zero."""
        value = self.data.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UnusableInputError(f"{self.origin}: {key!r} is missing or is not a number")
        if not math.isfinite(value) or value <= 0:
            raise UnusableInputError(f"{self.origin}: {key!r} = {value} is not above zero")
        return value

    def whole(self, key: str) -> int:
        """Return a whole number above zero."""
        value = self.number(key)
        if not isinstance(value, int):
            raise UnusableInputError(f"{self.origin}: {key!r} = {value} is not a whole number")
        return value

    def optional_word(self, key: str) -> str | None:
        """Return a string, or None if the key is absent."""
        return self.word(key) if key in self.data else None

    def optional_number(self, key: str) -> float | None:
        """Return a number above zero, or None if the key is absent."""
        return self.number(key) if key in self.data else None

    def optional_whole(self, key: str) -> int | None:
        """Return a whole number above zero, or None if the key is absent."""
        return self.whole(key) if key in self.data else None

    def tables(self, key: str) -> list[Fields]:
        """Return an array of at least one table."""
        value = self.data.get(key)
        if not isinstance(value, list) or not value:
            raise UnusableInputError(f"{self.origin}: no [[{key}]]")
        return [
            Fields.of(entry, f"{self.origin}, {key} {number}")
            for number, entry in enumerate(value, start=1)
        ]

    def table(self, key: str) -> Fields:
        """Return a table; the key is required."""
        return Fields.of(self.data.get(key), f"{self.origin}, [{key}]")
