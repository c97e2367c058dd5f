"""The article's figures and claims, quoted beside what was measured here."""

from __future__ import annotations

from ..facts.costs import cheaper_percent
from ..facts.points import MeasuredPoint
from ..facts.report import Report
from ..text import figures
from ..text.language import Language
from ..text.tables import Entry, Section, Table, columns, milliseconds


def article(report: Report, language: Language) -> Section | None:
    """Show the article's table and claims, quoted beside what was measured here."""
    if not report.points:
        return None
    quoted, say = report.article, language.say
    notes = [say("article.quoted")]
    for row in quoted.implausible:
        notes.append(
            say(
                "article.implausible",
                users=language.count(row.users),
                qps=figures.unrounded(row.qps),
                mean=figures.significant(row.mean_ms),
                p95=figures.unrounded(row.p95_ms),
                tail=figures.significant(row.tail_ms),
            )
        )
    if not quoted.implausible:
        notes.append(say("article.plausible"))
    return Section(
        "article",
        say("heading.article"),
        (say("article.note", date=quoted.date, cores=quoted.cores, here=report.bench.cores),),
        (article_grid(report, language), claims_grid(report, language)),
        notes=tuple(notes),
        gist=say("gist.article", levels=figures.levels(row.users for row in quoted.rows)),
    )


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
    return Table(heads, tuple(rows), words=frozenset())


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
    """Return the claims outside the article's table, each beside what was measured here."""
    claims, say = report.article.claims, language.say
    absent = say("cell.not_measured")
    half = say(
        "claim.arrow",
        one=say("claim.mb", value=figures.unrounded(claims.full_file_mb)),
        two=say("claim.mb", value=figures.unrounded(claims.half_file_mb)),
    )
    distilbert = say(
        "claim.about",
        value=figures.unrounded(claims.distilbert_mb),
        other=figures.unrounded(claims.distilbert_ms),
    )
    image = say("claim.mb", value=figures.unrounded(claims.image_mb))
    average = say("claim.below", value=figures.unrounded(claims.average_ms_below))
    cheaper = say("claim.over", value=figures.percent(claims.cheaper_percent_over))
    rows = (
        ("image", image, absent),
        ("half", half, _files(report, language) or absent),
        ("average", average, _means(report, language) or absent),
        ("distilbert", distilbert, absent),
        ("cheaper", cheaper, _cheaper(report, language) or figures.NONE),
    )
    return Table(
        columns(language, ("claim", "article", "here")),
        tuple((Entry(say(f"claim.{key}")), Entry(claim), Entry(here)) for key, claim, here in rows),
        words=frozenset({0, 1, 2}),
    )


def _files(report: Report, language: Language) -> str:
    sizes = {row.name: row.file_bytes for row in report.variants}
    full = sizes.get(report.article.variant)
    half = sizes.get(report.article.half_variant)
    if full is None or half is None:
        return ""
    return language.say(
        "claim.arrow",
        one=language.say("claim.mb", value=figures.megabytes(full)),
        two=language.say("claim.mb", value=figures.megabytes(half)),
    )


def _means(report: Report, language: Language) -> str:
    every = report.article_points
    here = {users: point for users, point in every.items() if point.valid}
    if not here:
        return language.say("claim.invalid") if every else ""
    means = [point.mean_ms for point in here.values()]
    low, high = figures.significant(min(means)), figures.significant(max(means))
    if len(here) == 1:
        return language.say("claim.mean", low=low, first=language.count(min(here)))
    return language.say(
        "claim.means", low=low, high=high, first=min(here), last=language.count(max(here))
    )


def _cheaper(report: Report, language: Language) -> str:
    phrases = [
        language.say(
            "claim.by_price",
            percent=figures.percent(percent, 1),
            kind=language.say(f"kind.{price.kind}"),
        )
        for price in report.yardsticks
        if (percent := cheaper_percent(price, report.prices)) is not None
    ]
    return str(language.words["list"]).join(phrases)
