"""The ledger of a proof: an append-only file of results, by key and terms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...toolkit.console import say
from ...toolkit.errors import UnusableInputError
from ...toolkit.runs.lines import append_line, read_lines

Key = tuple[str | int | float | None, ...]


class Ledger:
    """A file of JSON lines, each with terms (what the result depends on), a key and a value.

    The file is read once; lines with other terms are ignored, and so is a torn last line.  Raises
    UnusableInputError for any other line that cannot be read.
    """

    def __init__(self, path: Path, terms: Mapping[str, Any]) -> None:
        self.path, self.terms = path, json.loads(json.dumps(terms))
        self._values: dict[Key, Any] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        newest = self.terms
        for number, line in read_lines(path):
            try:
                data = json.loads(line)
                newest, key, value = data["terms"], tuple(data["key"]), data["value"]
                if newest == self.terms:
                    self._values[key] = value
            except (ValueError, KeyError, TypeError) as error:
                raise UnusableInputError(
                    f"{path}, line {number} cannot be read: {error!r}; move the file away to begin"
                    " anew"
                ) from None
        if newest != self.terms:
            differing = sorted(k for k, value in self.terms.items() if newest.get(k) != value)
            what = f"the newest in {path} is not gone on with"
            say(f"{path.stem}: {what}: another {', '.join(differing)}")

    @property
    def values(self) -> Mapping[Key, Any]:
        """The values under these terms, in the order they were measured."""
        return MappingProxyType(self._values)

    def get(self, key: Key) -> Any | None:
        """Return the value of a key; None if it was not measured."""
        return self._values.get(key)

    def append(self, key: Key, value: Any) -> Any:
        """Append a value to the file, and return it as a reader of the file gets it."""
        data = {"terms": self.terms, "key": key, "value": value}
        append_line(self.path, data)
        self._values[key] = stored = json.loads(json.dumps(value))
        return stored
