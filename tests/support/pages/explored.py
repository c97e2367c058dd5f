"""Reports of every kind, and the questions that the explorer on their pages is asked."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pages import numbered

from tiankong.reports.facts.answer import Answer, answer
from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.prices import Price, read_prices
from tiankong.reports.facts.question import NO_WISHES, Wishes, question
from tiankong.reports.facts.report import Report, compose
from tiankong.toolkit.runs.run_file import Cell, Run, read_run

Texts = Mapping[str, str]  # of the explorer's form, by field

COMMITTED = Path(__file__).parents[3] / "reports" / "pages"
SERIES = {
    "fast": {1: 16.0, 4: 32.0, 8: 50.0, 16: 100.0},
    "near": {1: 16.4, 4: 33.0, 8: 51.0, 16: 104.0},
    "slow": {1: 25.0, 4: 80.0, 8: 160.0, 16: 320.0},
}
STEADY, UNSTEADY, ONCE = (0.99, 1.0, 1.01), (0.9, 1.0, 1.12), (1.0,)
LIMITS = ("0.1", "16", "25", "32", "50", "51.5", "80", "99.9", "100", "130", "200", "400", "5000")
LOADS = ("", "0", "0.004", "1", "61.2", "300", "12345.678", "100000000")
HEADROOMS = ("0", "12.5", "30", "50", "95")
UTILISATIONS = ("1", "33.3", "50", "100")
INSTANCES = ("1", "2", "7")
OWN_PRICES = """
[sources.me]
title = "my invoice, \\"quoted\\" </script>"
[[price]]
cloud = "Mine"
type = "box"
kind = "quoted"
currency = "EUR"
per_month = 1234.565
vcpu = 3
architecture = "x86_64"
threads_per_core = 1
source = "me"
[[price]]
cloud = "Mine"
type = "box"
kind = "quoted"
currency = "EUR"
region = "north"
per_hour = 0.0725
vcpu = 3
architecture = "x86_64"
source = "me"
[[price]]
cloud = "Mine"
type = "GPU"
kind = "quoted"
currency = "EUR"
per_month = 9999.995
accelerator = "H100"
source = "me"
"""


class Kinds:
    """Makes reports; ``make_*`` are the fixtures of tests/reports/conftest.py."""

    def __init__(
        self,
        make_run: Callable[..., Run],
        make_cell: Callable[..., Cell],
        make_open_cell: Callable[..., Cell],
        make_variant: Callable[..., dict[str, Any]],
        make_gate: Callable[..., dict[str, Any]],
        make_header: Callable[..., Any],
    ) -> None:
        self.run, self.cell, self.open_cell = make_run, make_cell, make_open_cell
        self.variant, self.gate, self.machine = make_variant, make_gate, make_header().machine

    def all(self, own_prices: Path) -> dict[str, Report]:
        """Return a report of each kind by its name; ``own_prices`` is a price file."""
        failed, whole = self.gate(False), self.gate()
        committed = [read_run(COMMITTED / f"{name}.jsonl") for name in ("run", "scaling")]
        threads = dict(self.machine) | {"threads_per_core": 1, "usable_cores": 4}
        arm = dict(self.machine) | {"architecture": "aarch64"}
        two = {"threads_per_core": 2}
        wishes = Wishes("p50=50ms", 300.0, 0.2, 0.25, 2, "ecs.c6.large=500")
        guessing = self.gate(guessing={"hit_at_5": 1.0, "at_chance": True})
        return {
            "once": report_of(self.run()),
            "clear": report_of(self.table(skip=("near",))),
            "tie": report_of(self.table()),
            "noisy": report_of(self.table(UNSTEADY, machine=dict(self.machine) | two)),
            "threads": report_of(self.table(machine=threads)),
            "failing": report_of(self.table(gates={"fast": failed, "near": None, "slow": whole})),
            "all failing": report_of(self.table(gates=dict.fromkeys(SERIES, failed))),
            "guessing": report_of(self.table(gates=dict.fromkeys(SERIES, guessing))),
            "unjudged": report_of(
                self.table(gates={**dict.fromkeys(SERIES, whole), "slow": self.gate(judged=False)})
            ),
            "invalid": report_of(self.table(spoil={("near", 8): {"wrong": 3}})),
            "infinite": report_of(self.table(spoil={("fast", 16): {"failures": {"503": 40_000}}})),
            "missing": report_of(self.table(without={("near", 8), ("slow", 1)})),
            "few": report_of(
                self.table(spoil={("slow", 1): {"latencies_ms": [25.0] * 100, "seconds": 2.5}})
            ),
            "search": report_of(self.table(ONCE), self.search("fast", 90.0)),
            "only search": report_of(self.search("fast", 90.0)),
            "own prices": report_of(self.table(), prices=read_prices(own_prices)),
            "no price": report_of(self.table(), prices=[_arm_only(read_prices()[0])]),
            "arm": report_of(self.table(machine=arm)),
            "wishes": report_of(self.table(), wishes=wishes),
            "names": report_of(self.table(rename="it's {odd} <b>", model=self._model("a b/c"))),
            "committed": compose(committed, read_article(), read_prices()),
        }

    def table(
        self,
        repeats: tuple[float, ...] = STEADY,
        gates: Mapping[str, Any] | None = None,
        skip: Sequence[str] = (),
        spoil: Mapping[tuple[str, int], dict[str, Any]] | None = None,
        without: set[tuple[str, int]] | frozenset[tuple[str, int]] = frozenset(),
        rename: str = "",
        **changes: Any,
    ) -> Run:
        """Return a run of three series at four levels, with its plan."""
        names = [rename + name for name in SERIES if name not in skip]
        gates = gates or dict.fromkeys(SERIES, self.gate())
        cells = [
            cell
            for name, levels in SERIES.items()
            for users, latency in levels.items()
            if name not in skip and (name, users) not in without
            for cell in numbered(
                [
                    self.cell(rename + name, "reference", users, latency * share,
                              **(spoil or {}).get((name, users), {}))
                    for share in repeats
                ]
            )
        ]  # fmt: skip
        grids = [{"levels": [1, 4, 8, 16], "rates": [], "tokens": [], "batches": []}]
        plan = {
            "name": "table", "variants": names, "repeats": len(repeats), "grids": grids,
            "seconds": 20.0, "warmup_seconds": 3.0, "yardstick": "",
        }  # fmt: skip
        variants = {
            rename + name: self.variant(place, gate=gates[name])
            for place, name in enumerate(SERIES, start=1)
        }
        return self.run({}, tuple(cells), **{"plan": plan, "variants": variants, **changes})

    def search(self, variant: str, rate: float) -> Run:
        """Return a finished capacity search at P95 ≤ 100 ms."""
        cells = numbered(
            [self.open_cell(variant, rate, 60.0, stage="confirmation") for _ in range(3)]
        )
        plan = {"name": "capacity", "slo": "p95=100ms", "mode": "open"}
        variants = {
            name: self.variant(place, gate=self.gate())
            for place, name in enumerate(SERIES, start=1)
        }
        run = self.run({}, cells, run="search", plan=plan, variants=variants)
        return replace(run, is_ended=True)

    def _model(self, name: str) -> dict[str, Any]:
        return {"name": name, "title": "某模型", "parameters": 1_000_000}


def report_of(
    *runs: Run, prices: Sequence[Price] | None = None, wishes: Wishes = NO_WISHES
) -> Report:
    """Return the report of runs, with the shipped prices if there are no others."""
    return compose(runs, read_article(), prices or read_prices(), wishes)


def _arm_only(price: Price) -> Price:
    return replace(price, architecture="aarch64")


def wished(texts: Texts, usual: Texts, wishes: Wishes) -> Wishes:
    """Return the wishes in a form, where it differs from the page's own, over those of the page."""
    changed = {key: text for key, text in texts.items() if text != usual[key]}
    made: dict[str, Any] = {}
    if "slo" in changed:
        made["slo"] = changed["slo"].replace(":", "=") + "ms"
    if "load" in changed:
        made["load"] = float(changed["load"]) if changed["load"] else None
    for field in ("headroom", "utilisation"):
        if field in changed:
            made[field] = float(changed[field]) / 100
    if "instances" in changed:
        made["instances"] = int(changed["instances"])
    if "price" in changed:
        made["price"] = changed["price"]
    if "without" in changed:
        made["without"] = tuple(filter(None, changed["without"].split(",")))
    return replace(wishes, **made)


def asked(report: Report, wishes: Wishes) -> Report:
    """Return the report as it answers another question, from the variants that are left."""
    left = report.evidence.left(wishes.without)
    limit_ms = report.article.slowest_p95_ms
    found = answer(question(wishes, limit_ms, report.prices, report.bench), left)
    # Points and searches stay: what a run holds does not depend on a question.
    return replace(report, variants=tuple(left.variants), answer=found)


def questions(report: Report, usual: Texts, keys: Sequence[str], count: int) -> Iterator[Texts]:
    """Yield the page's own question, edges, and so many others at random."""
    source = random.Random(f"{report.header.run} {count}")
    yield usual
    for key in keys:
        yield {**usual, "price": key}
    exact = _exact_loads(report.answer)
    for load in (*LOADS, *exact):
        yield {**usual, "load": load}
    own = list(_own_limits(report))
    names = list(dict.fromkeys(series[0] for series in report.planned.levels))
    for _ in range(count):
        left = source.sample(names, source.choice([0, 0, 0, 1, 2])) if len(names) > 2 else []
        price = source.choice(keys) if keys else ""
        amount = source.choice(["", "", "=500", "=0.37", "=12345.675"]) if keys else ""
        limit = source.choice([*LIMITS, *source.sample(own, min(6, len(own)))])
        yield {
            "slo": f"p{source.choice((50, 90, 95, 95, 99))}:{limit}",
            "load": source.choice([*LOADS, *exact]),
            "headroom": source.choice(HEADROOMS),
            "utilisation": source.choice(UTILISATIONS),
            "instances": source.choice(INSTANCES),
            "price": price + amount,
            "without": ",".join(left),
        }


def _own_limits(report: Report) -> Iterator[str]:
    """Yield limits that a percentile, its upper bound or a search's objective is exactly at."""
    for point in report.points:
        for found in (point.p50_ms, point.p95_ms):
            if found is not None and 0 < found.value < 1e6:
                yield from (repr(part) for part in (found.value, found.high) if part is not None)
    yield from (repr(found.limit_ms) for found in report.searches)


def _exact_loads(found: Answer) -> list[str]:
    """Return loads that a whole number of instances carries exactly, and one just above."""
    if found.leading is None or found.leading.each is None:
        return []
    each = found.leading.each.value
    return [repr(each * count) for count in (1, 3, 5)] + [repr(each * 3 * (1 + 1e-6))]
