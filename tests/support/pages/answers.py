"""Reports whose answers have every status that there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pages import numbered

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.question import NO_WISHES, Wishes
from tiankong.reports.facts.report import Report, compose
from tiankong.toolkit.runs.run_file import Run

LONG = "a-variant-with-a-name-that-somebody-thought-about-for-too-long-" * 3
SPREAD = (0.99, 1.0, 1.01)  # of the latencies of three repeats


def report_of(run: Run, wishes: Wishes = NO_WISHES) -> Report:
    """The report of a run with the prices and the article that ship."""
    return compose([run], read_article(), read_prices(), wishes)


def _search(make_run: Callable[..., Run], make_cell: Callable[..., Any]) -> Run:
    """A finished capacity search alone: no table of levels beside it."""
    cells = [
        make_cell("onnx-int8", "reference", 8, 50, stage="confirmation", repeat=repeat)
        for repeat in (1, 2, 3)
    ]
    plan = {"name": "capacity", "slo": "p95=100ms", "mode": "closed"}
    return replace(make_run({}, tuple(cells), plan=plan), is_ended=True)


def reports(
    make_run: Callable[..., Run],
    make_cell: Callable[..., Any],
    make_variant: Callable[..., dict[str, Any]],
    make_gate: Callable[..., dict[str, Any]],
    make_scaling: Callable[..., tuple[Any, ...]],
) -> dict[str, Report]:
    """One report for each status, one without plain points, and one whose names are too long."""

    def thrice(speeds: dict[str, float], **changes: Any) -> Run:
        cells = [
            cell
            for name, latency in speeds.items()
            for cell in numbered(
                [make_cell(name, "reference", 8, latency * share) for share in SPREAD]
            )
        ]
        return make_run({}, tuple(cells), **changes)

    model = {"name": "m", "title": "一个名字很长的模型" * 12, "parameters": 1}
    machine = {"cpu": "A CPU with many words in its name " * 6, "architecture": "x86_64",
               "usable_cores": 2, "threads_per_core": 2}  # fmt: skip
    failing = {name: make_variant(1, gate=make_gate(False)) for name in ("onnx-int8", "onnx-fp16")}
    return {
        "decided": report_of(
            thrice({"onnx-int8": 50.0, "onnx-fp16": 90.0}), Wishes(load=300.0, instances=2)
        ),
        "tie": report_of(thrice({"onnx-int8": 50.0, "onnx-fp16": 50.2})),
        "undecided": report_of(
            make_run(cells=(make_cell("onnx-fp16", "reference", 32, 9, wrong=9),))
        ),
        "nothing-holds": report_of(thrice({"onnx-int8": 50.0}), Wishes(slo="p99=2.5ms")),
        "nothing": report_of(thrice({"onnx-int8": 50.0, "onnx-fp16": 90.0}, variants=failing)),
        "none": report_of(make_run({}, make_scaling())),
        "searched": report_of(_search(make_run, make_cell), Wishes(slo="p95=100ms", load=0.0)),
        "long": report_of(
            thrice(
                {LONG: 50.0, LONG + "2": 50.1},
                variants={LONG: make_variant(1), LONG + "2": make_variant(1)},
                model=model,
                machine=machine,
            ),
            Wishes(load=123456.0, price="ecs.c6.large=987654321.99"),
        ),
    }
