"""The article beside us: every claim judged, and its table beside what was measured here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ..facts.article import (
    CONTRADICTORY,
    NOT_MEASURED,
    NOT_REPRODUCED,
    REPRODUCED,
    TOLERANCE,
)
from ..facts.claims.claims import findings
from ..facts.claims.findings import Finding, Statement, Value
from ..facts.estimates import CONFIDENCE_PERCENT, Estimate
from ..facts.points import MeasuredPoint
from ..facts.report import Report
from ..text import figures
from ..text.language import Language
from ..text.phrases import money
from ..text.tables import Entry, Section, Table, columns, milliseconds

TONES = {REPRODUCED: "good", NOT_MEASURED: "muted"}
WHOLE = {"machines", "vcpu", "here_cores", "level", "parameters", "bytes", "kept", "rows"}  # counts


def article_grid(report: Report, language: Language) -> Table:
    """Return the article's table; beside it, its server and the chosen variant as measured here."""
    article = report.article
    here = report.article_points
    chosen = report.chosen_points
    quoted = ("article_qps", "article_per_core", "article_p95", "article_mean", "article_cpu")
    heads = columns(
        language, ("users", *quoted, "here_qps", "here_per_core", "here_p95", "here_cpu")
    )
    if chosen:
        name = next(iter(chosen.values())).variant
        heads += columns(language, ("chosen_qps", "chosen_per_core", "chosen_p95"), variant=name)
    rows = []
    for row in article.rows:
        entries = [
            Entry(str(row.users)),
            Entry(figures.unrounded(row.qps)),
            Entry(figures.significant(row.qps / article.cores)),
            Entry(figures.unrounded(row.p95_ms)),
            Entry(figures.significant(row.mean_ms), tone="" if row.plausible else "bad"),
            Entry(figures.percent(row.cpu_percent)),
            *_measured(here.get(row.users), language, cpu=True),
        ]
        if chosen:
            entries += _measured(chosen.get(row.users), language, cpu=False)
        rows.append(tuple(entries))
    return Table(heads, tuple(rows), language.say("article.table"), words=frozenset())


def _measured(point: MeasuredPoint | None, language: Language, *, cpu: bool) -> list[Entry]:
    if point is None:
        return [Entry(figures.NONE, tone="muted")] * (4 if cpu else 3)
    texts = [
        figures.significant(point.qps.value),
        figures.significant(point.qps_per_core),
        milliseconds(point.p95_ms, language),
    ]
    if cpu:
        used = point.server_cpu_percent
        texts.append(figures.NONE if used is None else figures.percent(used))
    if point.valid:
        return [Entry(text) for text in texts]
    return [Entry(text, language.say("cell.invalid"), "bad") for text in texts]


def claims_grid(report: Report, language: Language) -> Table:
    """Return every claim, the verdict on it, what was found here, and the arithmetic."""
    say = language.say
    rows = tuple(_claim(finding, language) for finding in findings(report))
    heads = columns(language, ("claim", "judged", "article", "here", "arithmetic"))
    return Table(heads, rows, say("article.caption"), words=frozenset(range(len(heads))))


def _claim(finding: Finding, language: Language) -> tuple[Entry, ...]:
    say, quoted = language.say, _texts(finding.quoted, language)
    ours = str(language.words["list"]).join(_line("found", line, language) for line in finding.ours)
    arithmetic = language.join(_line("sum", line, language) for line in finding.sums)
    return (
        Entry(say(f"claims.{finding.claim}", **quoted)),
        Entry(say(f"judged.{finding.verdict}"), tone=TONES.get(finding.verdict, "bad")),
        Entry(say(f"claimed.{finding.claim}", **quoted)),
        Entry(ours or figures.NONE, tone="" if ours else "muted"),
        Entry(arithmetic or figures.NONE, tone="muted"),
    )


def _line(group: str, line: Statement, language: Language) -> str:
    return language.say(f"{group}.{line.key}", **_texts(line.values, language))


def _texts(values: Mapping[str, Value], language: Language) -> dict[str, str]:
    """Return numbers as text; what kind of number each is stands in its name.

    An estimate is two texts: its value, and at ``NAME_span`` its interval in brackets.
    """
    texts = {}
    for name, value in values.items():
        if isinstance(value, Estimate):
            texts[name] = figures.significant(value.value)
            span = value.ends and language.say("found.span", span=figures.span(*value.ends))
            texts[f"{name}_span"] = span or ""
        else:
            texts[name] = _text(name, value, str(values.get("currency", "")), language)
    return texts


def _text(name: str, value: float | str | None, currency: str, language: Language) -> str:
    if value is None:
        return figures.NONE
    if isinstance(value, str):  # a machine's name begins with its cloud
        return " ".join(map(language.known, value.split(" ", 1)))
    if name == "users":
        return language.count(int(value))
    if name.endswith("_month"):
        return money(currency, value, language)
    if name.endswith("_percent"):
        quoted = name.startswith("quoted")
        return f"{figures.unrounded(value)} %" if quoted else figures.percent(value, 1)
    if name.startswith("quoted") or name in WHOLE:
        return figures.unrounded(value)
    return figures.significant(value)


def article(report: Report, language: Language) -> Section | None:
    """Show every claim of the article, judged, and its table beside what was measured here."""
    if not report.points:
        return None
    quoted, say = report.article, language.say
    verdicts = Counter(finding.verdict for finding in findings(report))
    counts = {
        "claims": verdicts.total(),
        "reproduced": verdicts[REPRODUCED],
        "not_reproduced": verdicts[NOT_REPRODUCED],
        "contradictory": verdicts[CONTRADICTORY],
        "not_measured": verdicts[NOT_MEASURED],
    }
    rule = say(
        "article.rule",
        tolerance=figures.percent(TOLERANCE * 100),
        level=figures.percent(CONFIDENCE_PERCENT),
    )
    cores = say("article.cores", cores=quoted.cores, here=report.bench.cores)
    return Section(
        "article",
        say("heading.article"),
        (say("article.note", date=quoted.date, **counts),),
        (claims_grid(report, language), article_grid(report, language)),
        notes=(rule, cores, say("article.quoted")),
        gist=say("article.gist", **counts),
    )
