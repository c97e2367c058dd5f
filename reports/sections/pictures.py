"""Pictures: the sections that show them, and what is to be seen in each."""

from __future__ import annotations

from collections.abc import Sequence

from ..facts.points import MeasuredPoint
from ..facts.report import Report
from ..plots.panels import scaling_plot
from ..plots.plots import cost_plot, latency_plot
from ..text import figures, phrases
from ..text.language import Language
from ..text.tables import Picture, Section

NAMES = ("latency", "cost", "scaling")


def file_name(name: str, language: Language) -> str:
    """Return the file of a picture in a language."""
    return f"{name}.svg" if language.code == "en" else f"{name}.{language.code}.svg"


def growth(report: Report, language: Language) -> tuple[Picture, ...]:
    """Return the picture of how speed grows along the scaling axes, if there are any."""
    facts, say = report.scaling, language.say
    if not facts.axes:
        return ()
    names = str(language.words["list"]).join(phrases.axis(axis, language) for axis in facts.axes)
    title = say("heading.scaling")
    alt = say("plot.scaling_alt", axes=names, series=_series_names(facts.points))
    markup = scaling_plot(facts.axes, title, alt)
    return (Picture(file_name("scaling", language), title, alt, markup),)


def _series_names(points: Sequence[MeasuredPoint]) -> str:
    return ", ".join(dict.fromkeys(" / ".join(point.series) for point in points))


def latency(report: Report, language: Language) -> Section | None:
    """Show the plot of latency against users."""
    if not report.points:
        return None
    title = language.say("heading.latency")
    alt = language.say("plot.latency_alt", series=_series_names(report.points))
    markup = latency_plot(report.points, title, alt)
    return Section(
        "latency",
        title,
        pictures=(Picture(file_name("latency", language), title, alt, markup),),
        notes=(language.say("plot.latency_note"),),
        gist=language.say(
            "gist.latency", users=figures.levels(point.users for point in report.points)
        ),
    )


def costs_plot(report: Report, language: Language) -> Section | None:
    """Show the plot of cost against latency."""
    if not report.points:
        return None
    currency = report.yardsticks[0].currency if report.yardsticks else figures.NONE
    alt = language.say("plot.cost_alt", currency=currency, series=_series_names(report.points))
    title = language.say("heading.cost")
    markup = cost_plot(report.points, report.yardsticks, report.bench, title, alt)
    prices = "; ".join(
        f"{price.name}, {language.say(f'kind.{price.kind}')},"
        f" {figures.monthly(price.currency, price.monthly)}"
        for price in report.yardsticks
    )
    return Section(
        "cost",
        title,
        pictures=(Picture(file_name("cost", language), title, alt, markup),),
        notes=(language.say("plot.cost_note", prices=prices or figures.NONE),),
        gist=language.say("gist.cost", currency=currency),
    )
