"""Exploration: what a browser needs to answer other questions from the same evidence.

The explorer on the page (``templates/explorer_model.js``) computes from it what
:mod:`.answer` computes here; a test holds the two to each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .candidates import refusal_of
from .capacity import Searched, is_usable, percentile_of
from .costs import Range, accelerators, fits
from .estimates import CONFIDENCE_PERCENT, RANKS, Estimate
from .points import MeasuredPoint, Series
from .prices import GIVEN, Price
from .question import LEAST_UTILISATION, MOST, MOST_HEADROOM, MOST_INSTANCES, price_key
from .report import Report

INFINITE = "infinite"  # JSON has no word for it; a percentile among the failures


@dataclass(frozen=True)
class Sources:
    """The files that a report was made from, by the names that a command has for them.

    ``runs`` are the run files beside the page, the GPU's last; () if they do not lie there, and a
    run's file is then called after the run.  ``prices`` is the reader's own price file ("" none).
    """

    runs: tuple[str, ...] = ()
    prices: str = ""


UNKNOWN = Sources()


def exploration(report: Report, sources: Sources = UNKNOWN) -> dict[str, Any]:
    """Return a report's evidence and question as JSON-ready data, every float in full.

    An estimate or range is a list of value, low, high (null: unknown); latencies are in
    milliseconds, rates in requests a second, shares in 0..1.  ``series`` are in the order of their
    points, ``prices`` are those that fit the measured machine, each under the shortest text that
    ``--price`` takes for it.
    """
    prices = [price for price in report.prices if fits(price, report.bench)]
    return {
        "files": _files(report, sources),
        "model": str(report.header.model.get("name")),
        "cores": report.bench.cores,
        "threads_per_core": report.bench.threads_per_core,
        "ranks": list(RANKS),
        "confidence": CONFIDENCE_PERCENT,
        "most_headroom": MOST_HEADROOM,
        "least_utilisation": LEAST_UTILISATION,
        "most": MOST,
        "most_instances": MOST_INSTANCES,
        "series": [_series(series, report) for series in _every_series(report)],
        "variants": [
            {
                "name": row.name,
                "refusal": refusal_of(row),
                "reasons": list(row.gate.reasons) if row.gate else [],
            }
            for row in report.variants
        ],
        "cells": {"planned": report.planned.cells, "measured": report.planned.measured},
        "prices": [_price(price, price_key(price, prices)) for price in prices],
        "accelerated": [
            {
                **_price(price, price_key(price, accelerators(report.prices, price.currency))),
                "accelerator": price.accelerator,
            }
            for price in report.prices
            if price.accelerator
        ],
        "gpu": [_point(point) for point in report.gpu],
        "question": _question(report, prices),
    }


def _files(report: Report, sources: Sources) -> dict[str, Any]:
    """Return the files that a command of the same page names: ``runs``, ``gpu`` and ``prices``."""
    searches = [found.run for found in report.searches]
    runs = dict.fromkeys((*(run.header.run for run in report.runs), *searches))
    names = sources.runs or [f"{run}.jsonl" for run in (*runs, report.gpu_run) if run]
    # A name that begins with a dash would be an option.
    told = [f"./{name}" if name.startswith("-") else name for name in names]
    gpu = told.pop() if report.gpu_run else ""
    return {"runs": told, "gpu": gpu, "prices": sources.prices}


def _every_series(report: Report) -> Iterator[Series]:
    measured = [point.series for point in report.points]
    found = [search.series for search in report.searches]
    yield from dict.fromkeys((*measured, *report.planned.levels, *found))


def _series(series: Series, report: Report) -> dict[str, Any]:
    return {
        "variant": series[0],
        "stack": series[1],
        "levels": list(report.planned.levels.get(series, ())),
        "points": [_point(point) for point in report.points if point.series == series],
        "searches": [_search(found) for found in report.searches if found.series == series],
    }


def _point(point: MeasuredPoint) -> dict[str, Any]:
    found = {f"p{rank}": _estimate(percentile_of(point, rank)) for rank in RANKS}
    qps = _estimate(point.qps)
    return {
        "users": point.users,
        "repeats": point.repeats,
        "usable": is_usable(point),
        "qps": qps,
        **found,
    }


def _search(found: Searched) -> dict[str, Any]:
    return {
        "rank": found.rank,
        "limit": found.limit_ms,
        "qps": _range(found.qps),
        "open": found.rate is not None,
        "repeats": found.repeats,
    }


def _estimate(found: Estimate | None) -> list[Any] | None:
    if found is None:
        return None
    return [
        INFINITE if part == float("inf") else part for part in (found.value, found.low, found.high)
    ]


def _range(found: Range) -> list[float]:
    return [found.value, found.low, found.high]


def _price(price: Price, key: str) -> dict[str, Any]:
    return {
        "key": key,
        "name": price.name,
        "cloud": price.cloud,
        "region": price.region,
        "kind": price.kind,
        "currency": price.currency,
        "monthly": price.monthly,
        "vcpu": price.vcpu,
        "threads_per_core": price.threads_per_core,
    }


def _accelerator(price: Price, report: Report) -> dict[str, Any]:
    """Return the price of the machine with an accelerator that the question names."""
    able = [each for each in report.prices if each.accelerator]
    same = (each for each in able if (each.name, each.region) == (price.name, price.region))
    kind = "" if price.kind == GIVEN else f"/{price.kind}"
    own = f"={price.per_month:.10g}" if price.kind == GIVEN else ""
    key = f"{next(same, price).type}{kind}{own}"
    return {**_price(price, key), "accelerator": price.accelerator}


def _question(report: Report, prices: Sequence[Price]) -> dict[str, Any]:
    asked = report.question
    chosen, own = asked.price, None
    if chosen is not None and chosen.kind == GIVEN:
        own = chosen.per_month
        place = (chosen.cloud, chosen.type, chosen.region)
        chosen = next(p for p in prices if (p.cloud, p.type, p.region) == place)
    return {
        "rank": asked.rank,
        "limit": asked.limit_ms,
        "load": asked.load if "load" in asked.stated else None,
        "headroom": asked.headroom,
        "utilisation": asked.utilisation,
        "instances": asked.instances,
        "price": None if chosen is None else prices.index(chosen),
        "own": own,
        "gpu_price": asked.gpu_price and _accelerator(asked.gpu_price, report),
        "without": list(asked.without),
        "stated": sorted(asked.stated),
    }
