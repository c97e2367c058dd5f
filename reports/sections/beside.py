"""Machines beside each other: each with its label and its best points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..facts.report import Report
from ..text.language import Language
from ..text.tables import Table
from .page import lead, model_name
from .points import best_grid

KEYS = ("users", "qps", "p50", "p95", "kept", "server_cpu")


@dataclass(frozen=True)
class Machine:
    """One machine and model: the folder of its pages, its label, its best points if it has any."""

    folder: str
    label: str
    lead: str
    table: Table | None


@dataclass(frozen=True)
class Beside:
    """Machines beside each other, in one language; ``note`` says what must not be concluded."""

    language: Language
    title: str
    note: str
    machines: tuple[Machine, ...]


def beside(reports: Mapping[str, Report], language: Language) -> Beside:
    """Return the machines of reports, by folder, in their order."""
    return Beside(
        language,
        language.say("beside.title", count=len(reports)),
        language.say("beside.note"),
        tuple(_machine(folder, report, language) for folder, report in reports.items()),
    )


def _machine(folder: str, report: Report, language: Language) -> Machine:
    return Machine(
        folder,
        language.say(
            "beside.label",
            number=folder,
            model=model_name(report, language),
            cpu=report.header.machine["cpu"],
        ),
        lead(report, language),
        best_grid(report, language, KEYS) if report.points else None,
    )
