"""The machine that was measured, and the versions of what decides speed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..facts.report import Report
from ..text import figures
from ..text.language import Language
from ..text.tables import Entry, Table, columns


def machine_tables(report: Report, language: Language) -> tuple[Table, Table]:
    """Return the machine's fingerprint, and the versions of what decides speed."""
    heads = columns(language, ("what", "value"))
    facts = tuple(
        (Entry(language.say_or(f"machine.{key}", key)), Entry(_fact(key, value, language)))
        for key, value in report.header.machine.items()
    )
    versions = tuple(
        (Entry(name), Entry(version)) for name, version in report.header.versions.items()
    )
    words = frozenset({0, 1})
    return (
        Table(heads, facts, language.say("machine_tables.machine"), words),
        Table(heads, versions, language.say("machine_tables.versions"), words),
    )


def _fact(key: str, value: Any, language: Language) -> str:
    if isinstance(value, bool):
        return language.say("cell.yes" if value else "cell.no")
    if key == "cgroup_quota_cores" and value is None:
        return language.say("cell.none")
    if value is None:
        return language.say("cell.unknown")
    if key == "memory_bytes":
        return figures.mebibytes(value)
    if isinstance(value, (list, tuple)):
        return language.listed(value)
    if isinstance(value, Mapping):
        return "; ".join(f"{part} {_fact(part, told, language)}" for part, told in value.items())
    return str(value)
