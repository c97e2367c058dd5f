"""Provenance: who measured what with which command, so that it can be trusted and repeated."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from ...toolkit.runs.run_file import Run
from ..facts.provenance import in_force, tally
from ..facts.report import Report
from ..text import figures
from ..text.language import Language
from ..text.tables import Entry, Section, Table, columns, stack
from .machine import machine_tables

RUNS = ("run", "command", "commit", "plan_name", "seed", "started", "counted", "valid_cells",
        "superseded")  # fmt: skip


def provenance(report: Report, language: Language) -> Section:
    """Show command, commit, seed and count of each run; hashes, settings, machine, versions."""
    say, counts, plan = language.say, tally(report.given), report.planned
    lead = [say("provenance.cells", measured=counts.measured, valid=counts.valid,
                superseded=counts.superseded)]  # fmt: skip
    if plan.cells:
        lead.append(say("provenance.planned", planned=plan.cells, measured=plan.measured))
    return Section(
        "provenance",
        say("heading.provenance"),
        (language.join(lead),),
        (
            _runs(report, language),
            _hashes(report, language),
            _settings(report, language),
            *machine_tables(report, language),
        ),
        gist=say(
            "gist.provenance",
            cpu=report.header.machine["cpu"],
            cores=report.bench.cores,
            tool=report.header.tool,
            valid=counts.valid,
            measured=counts.measured,
        ),
    )


def _runs(report: Report, language: Language) -> Table:
    return Table(
        columns(language, RUNS),
        tuple(_run(run, language) for run in report.given),
        language.say("provenance.runs"),
        frozenset({0, 1, 2, 3, 5}),
    )


def _run(run: Run, language: Language) -> tuple[Entry, ...]:
    header, counts = run.header, tally([run])
    absent = Entry(language.say("provenance.not_recorded"), tone="muted")
    return (
        Entry(header.run),
        Entry(shlex.join(header.command)) if header.command else absent,
        Entry(figures.commit(header.commit)) if header.commit else absent,
        Entry(str(header.plan.get("name", figures.NONE))),
        Entry(str(header.seed)),
        Entry(header.started),
        Entry(str(counts.measured)),
        Entry(str(counts.valid), tone="" if counts.valid == counts.measured else "bad"),
        Entry(str(counts.superseded)),
    )


def _hashes(report: Report, language: Language) -> Table:
    gold, model = report.header.gold, report.header.model
    rows = [
        (language.say("provenance.gold", name=gold.get("name", figures.NONE)), gold.get("sha256")),
        (language.say("provenance.model", name=model.get("name")), model.get("revision")),
        *((row.name, row.entry.get("digest")) for row in report.variants),
    ]
    absent = language.say("provenance.not_recorded")
    return Table(
        columns(language, ("what", "digest")),
        tuple((Entry(name), Entry(str(digest or absent))) for name, digest in rows),
        language.say("provenance.hashes"),
        frozenset({0, 1}),
    )


def _settings(report: Report, language: Language) -> Table:
    """Show the server settings of the cells; equal ones stand in one row."""
    rows, comma = [], str(language.words["list"])
    for group in in_force(report.given):
        told = comma.join(_told(group.settings)) or language.say("provenance.not_recorded")
        series = (f"{variant} / {stack(place, language)}" for variant, place in group.series)
        rows.append((Entry(told), Entry(comma.join(series)), Entry(str(group.cells))))
    return Table(
        columns(language, ("settings", "series", "counted")),
        tuple(rows),
        language.say("provenance.settings"),
        frozenset({0, 1}),
    )


def _told(settings: Mapping[str, Any]) -> Iterator[str]:
    for name, value in settings.items():
        yield f"{name} = {value}"
