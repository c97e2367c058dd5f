"""Languages: the words of a page, a TOML file a topic and language, with placeholders."""

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
    """The words of one language; ``code`` ends its files' names, ``tag`` is its HTML tag."""

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
        """Return the text at ``"group.name"``, or ``otherwise`` if the language has none."""
        group, name = key.split(".", 1)
        text = self.words.get(group, {}).get(name)
        return otherwise if text is None else str(text).format(**values)

    def count(self, users: int) -> str:
        """Return a number of users as a phrase."""
        return self.say("count.one" if users == 1 else "count.many", count=users)

    def listed(self, parts: Iterable[object]) -> str:
        """Return the parts of a list, separated as the language does it within a phrase."""
        return str(self.words["comma"]).join(str(part) for part in parts)

    def join(self, sentences: Iterable[str]) -> str:
        """Return sentences as one paragraph."""
        return str(self.words["join"]).join(sentences)

    def known(self, text: str) -> str:
        """Return a text of the project's own data in this language; any other text unchanged."""
        return str(self.words["known"].get(text, text))

    def pick(self, data: Mapping[str, Any], key: str) -> str:
        """Return the text of ``data`` in this language (``key_zh``), else the one under ``key``."""
        return str(data.get(f"{key}_{self.code}") or self.known(str(data.get(key) or "")))


def read_language(code: str) -> Language:
    """Return the language of a code in LANGUAGES: its words of all topics together.

    A group of words may be spread over several files; no word is in two of them.
    """
    words: dict[str, Any] = {}
    for path in sorted(FOLDER.glob(f"*.{code}.toml")):
        for key, value in read_toml(path).items():
            group = words.setdefault(key, {}) if isinstance(value, dict) else words
            added = value if isinstance(value, dict) else {key: value}
            assert not group.keys() & added.keys(), f"{path.name}: {key} is there twice"
            group.update(added)
    return Language(code, words)
