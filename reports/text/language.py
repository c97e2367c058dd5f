"""Languages: the words of a page, one TOML file each; every figure comes in by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...toolkit.fields import read_toml
from ...toolkit.files import package_path

FOLDER = package_path("reports/words")
LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Language:
    """A language's words; ``code`` names its file, ``tag`` is what HTML calls it."""

    code: str
    words: Mapping[str, Any]

    @property
    def tag(self) -> str:
        """The language tag (BCP 47)."""
        return str(self.words["tag"])

    def say(self, key: str, /, **values: object) -> str:
        """Return the text at ``"group.name"`` with its values filled in."""
        group, name = key.split(".", 1)
        return str(self.words[group][name]).format(**values)

    def say_or(self, key: str, otherwise: str, /, **values: object) -> str:
        """Return the text at ``"group.name"``, ``otherwise`` where the language has none."""
        group, name = key.split(".", 1)
        text = self.words.get(group, {}).get(name)
        return otherwise if text is None else str(text).format(**values)

    def count(self, users: int) -> str:
        """Return a number of users as a phrase."""
        return self.say("count.one" if users == 1 else "count.many", count=users)

    def join(self, sentences: Iterable[str]) -> str:
        """Return sentences as one paragraph."""
        return str(self.words["join"]).join(sentences)

    def pick(self, data: Mapping[str, Any], key: str) -> str:
        """Return ``data``'s text in this language (``key_zh``) where it has one, else ``key``."""
        return str(data.get(f"{key}_{self.code}") or data.get(key) or "")


def read_language(code: str) -> Language:
    """Return one of LANGUAGES."""
    return Language(code, read_toml(FOLDER / f"{code}.toml"))
