"""Hand-made runs: cells whose figures a reader can check by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from answers import reports
from cells import changed

from tiankong.reports import forms
from tiankong.reports.facts.report import Report
from tiankong.reports.sections.pictures import pictures
from tiankong.toolkit.runs.load import Load
from tiankong.toolkit.runs.point import Point
from tiankong.toolkit.runs.run_file import Cell, Header, Run

# Latencies (ms) of a closed loop: with `users` users, QPS = users / latency.
SPEEDS: dict[tuple[str, str], dict[int, float]] = {
    ("onnx-fp32", "article"): {1: 25, 4: 125, 8: 200, 16: 400},
    ("pytorch-fp32", "reference"): {1: 62.5, 4: 200, 8: 400, 16: 800},
    ("onnx-fp32", "reference"): {1: 25, 4: 80, 8: 160, 16: 320},
    ("onnx-fp16", "reference"): {1: 26, 4: 82, 8: 165, 16: 330},
    ("onnx-int8", "reference"): {1: 16, 4: 32, 8: 50, 16: 100},
}


FLIPPED = {
    "id": "p001", "text": "床前明月光,疑是地[MASK]霜。", "answer": "上", "reference": "上",
    "variant": "下",
}  # fmt: skip


def gate(passed: bool = True, **changes: Any) -> dict[str, Any]:
    """A gate result as the header stores it."""
    return {
        "passed": passed,
        "hit_at_1": 0.975,
        "hit_at_5": 1.0,
        "top1_agreement": 0.985,
        "top5_agreement": 0.9,
        "order_agreement": 0.8,
        "max_delta": 0.02,
        "reasons": [] if passed else ["top-1 agreement 0.910 is under 0.970"],
        "flipped": [] if passed else [FLIPPED],
    } | changes


def variant(file: int, **changes: Any) -> dict[str, Any]:
    """A variant as the header stores it."""
    return {
        "digest": f"{file:064x}",
        "size": file + 500_000,
        "model_file_size": file,
        "engine": "onnxruntime",
        "summary": "made for a test",
        "gate": gate(),
        "notes": {},
    } | changes


def header(**changes: Any) -> Header:
    """A header of a small machine; all variants have passed the gate."""
    small = Header(
        run="20260101-test",
        started="2026-01-01T00:00:00+00:00",
        tool="0.1.0",
        model={
            "name": "builtin-base",
            "title": "bert-base geometry, built in",
            "revision": "r1",
            "source": "package",
            "parameters": 102_000_000,
            "layers": 12,
            "hidden": 768,
            "heads": 12,
            "intermediate": 3072,
            "vocabulary": 21128,
            "positions": 512,
            "caveat": "Grown from a small model: fidelity is only indicative.",
        },
        gold={"name": "poems", "sha256": "ab" * 32, "items": 200},
        plan={
            "name": "table",
            "levels": [1, 4, 8, 16],
            "seconds": 20.0,
            "warmup_seconds": 3.0,
            "repeats": 1,
        },
        seed=7,
        machine={
            "cpu": "Test CPU",
            "architecture": "x86_64",
            "isa": ["avx2", "avx512_vnni"],
            "logical_cpus": 2,
            "usable_cores": 2,
            "threads_per_core": None,
            "cgroup_quota_cores": None,
            "memory_bytes": 8 * 1024**3,
            "kernel": "Linux 6",
            "hypervisor": True,
            "python": "3.11.2",
        },
        versions={"tiankong": "0.1.0", "onnxruntime": "1.30"},
        variants={
            "pytorch-fp32": variant(409_000_000),
            "onnx-fp32": variant(409_100_000),
            "onnx-fp16": variant(204_000_000),
            "onnx-int8": variant(119_000_000),
        },
    )
    return replace(small, **changes)


def cell(variant: str, stack: str, users: int, latency: float, **changes: Any) -> Cell:
    """A cell of a closed loop in which every answer took ``latency`` ms."""
    seconds = 20.0
    answers = round(users * 1000 / latency * seconds)
    facts: dict[str, Any] = {
        "latencies_ms": [float(latency)] * answers,
        "server_cpu_percent": 80.0,
        "generator_cpu_percent": 6.0,
        "resident_bytes": 320 * 1024**2,
    }
    point = Point(variant, stack, Load(users))
    made = Cell(point, seconds, [], "2026-01-01T00:00:00+00:00")
    return changed(made, **(facts | changes))


def open_cell(variant: str, rate: float, latency: float, **changes: Any) -> Cell:
    """A cell of an open loop that kept up: as many answers as arrivals, each ``latency`` ms."""
    answers = round(rate * 20)
    facts: dict[str, Any] = {
        "rate": rate,
        "latencies_ms": [float(latency)] * answers,
        "late_ms": [0.5] * answers,
    }
    return cell(variant, "reference", 0, latency, **(facts | changes))


def scaling_cells(variant: str = "onnx-int8", slower: float = 1.0) -> tuple[Cell, ...]:
    """Cells of every scaling axis: latency is proportional to tokens, halved in batches."""

    def scaled_cell(users: int, latency: float, **load: Any) -> Cell:
        return cell(variant, "reference", users, latency * slower, **load)

    lengths = [scaled_cell(1, tokens * 0.5, tokens=tokens) for tokens in (8, 16, 32, 64)]
    batches = [scaled_cell(1, 8 * batch / 2, tokens=16, batch=batch) for batch in (2, 4)]
    pinned = [scaled_cell(4, 32 / cores, tokens=16, cores=cores) for cores in (1, 2)]
    crowded = [scaled_cell(users, 5.0 * users, tokens=16) for users in (2, 4, 8)]
    return (*lengths, *batches, *pinned, *crowded)


def run(
    speeds: Mapping[tuple[str, str], Mapping[int, float]] = SPEEDS,
    cells: tuple[Cell, ...] = (),
    **changes: Any,
) -> Run:
    """A run of the given latencies, with extra cells and changes to the header."""
    standard = [
        cell(name, stack, users, latency)
        for (name, stack), levels in speeds.items()
        for users, latency in levels.items()
    ]
    return Run(header(**changes), (*standard, *cells))


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Run]:
    return run


@pytest.fixture(scope="session")
def make_cell() -> Callable[..., Cell]:
    return cell


@pytest.fixture(scope="session")
def make_header() -> Callable[..., Header]:
    return header


@pytest.fixture(scope="session")
def make_variant() -> Callable[..., dict[str, Any]]:
    return variant


@pytest.fixture(scope="session")
def make_gate() -> Callable[..., dict[str, Any]]:
    return gate


@pytest.fixture(scope="session")
def make_open_cell() -> Callable[..., Cell]:
    return open_cell


@pytest.fixture(scope="session")
def make_scaling() -> Callable[..., tuple[Cell, ...]]:
    return scaling_cells


@pytest.fixture(scope="session")
def every() -> dict[str, Report]:
    """One report for each status that an answer can have, and two odd ones."""
    return reports(run, cell, variant, gate, scaling_cells)


@pytest.fixture
def quick_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures and forms have their own tests, and take a while each."""
    for form in ("card_png", "sheet_pdf"):
        monkeypatch.setattr(forms, form, lambda *_: b"drawn")
    for draw in ("line_picture", "cost_picture", "bar_picture"):
        monkeypatch.setattr(pictures, draw, lambda *_, **_more: "<svg><desc></desc></svg>")


@pytest.fixture
def doubtful(make_run: Callable[..., Run], make_cell: Callable[..., Cell]) -> Run:
    return make_run(
        cells=(
            make_cell("onnx-int8", "article", 1, 900),
            make_cell("onnx-int8", "article", 8, 60, wrong=2),
            make_cell("onnx-fp16", "article", 8, 60, failures={"<b>503</b>": 9}),
        )
    )


@pytest.fixture
def repeated(make_run: Callable[..., Run], make_cell: Callable[..., Cell]) -> Run:
    cells = [
        make_cell(name, "reference", 8, latency, repeat=repeat)
        for name, latency in (("onnx-int8", 50.0), ("onnx-fp16", 51.0))
        for repeat, latency in enumerate((latency, latency * 1.04), start=1)
    ]
    return make_run({}, tuple(cells))
