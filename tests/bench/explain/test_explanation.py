"""Explanations of real variants of builtin-small."""

from __future__ import annotations

import json
import math
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from tiankong.__main__ import main
from tiankong.bench.commands.explain import _gap, table
from tiankong.bench.explain import ceilings, memory, opening, starts
from tiankong.bench.explain import explanation as explain
from tiankong.bench.explain import subject as subjects
from tiankong.bench.explain.explanation import most_sentences, padding
from tiankong.bench.explain.findings import Share
from tiankong.bench.explain.operators import Group
from tiankong.bench.explain.subject import Profile
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.gate.gold import find_gold
from tiankong.toolkit.models.builtin.catalogue import small_geometry
from tiankong.toolkit.options import numbers

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

NUMBER = {"type": "number"}
POSITIVE = {"type": "number", "exclusiveMinimum": 0}
SHARE = {
    "fraction": POSITIVE,
    "low": POSITIVE,
    "high": POSITIVE,
}
HOT = {
    "type": "object",
    "properties": SHARE,
    "required": list(SHARE),
}  # how large is for a quiet machine


def record(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def many(item: Any) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1}


FLOOR = record(
    ms=POSITIVE, compute_ms=POSITIVE, memory_ms=NUMBER, bound={"enum": ["compute", "memory"]}
)
SCHEMA = record(
    variant={"type": "string"},
    model={"const": "builtin-small"},
    engine={"type": "string"},
    threads={"type": "integer"},
    streams={"type": "integer"},
    rounds={"const": 1},
    summary=record(
        length={"const": 8},
        latency=record(batch={"const": 1}, ms=POSITIVE, hot=HOT, **SHARE),
        saturation=record(batch={"enum": [1, 2]}, sentences_per_second=POSITIVE, hot=HOT, **SHARE),
    ),
    ceilings=many(
        record(
            precision={"enum": ["fp32", "bf16", "int8"]}, cores={"type": "integer"},
            giga_per_second=POSITIVE, best_giga_per_second=POSITIVE, kernel={"type": "string"},
            hot_giga_per_second=POSITIVE, peak_giga_per_second={"type": ["number", "null"]},
            library={"type": "string"},
        )
    ),
    kernels=many(
        record(
            precision={"type": "string"}, cores={"type": "integer"}, library={"type": "string"},
            cold_giga_per_second=POSITIVE, hot_giga_per_second=POSITIVE,
            weights={"type": "integer"},
        )
    ),
    peak=record(units={"type": "array"}, unknown={"type": "string"}),
    starts=many(record(library={"type": "string"}, one_cpu=many({"type": "object"}))),
    levels={"type": "array"},
    not_measured={"type": "object"},
    memory=many(record(cores={"type": "integer"}, gigabytes_per_second=POSITIVE)),
    points=many(
        record(
            length={"type": "integer"}, batch={"type": "integer"},
            giga_operations={"type": "object", "minProperties": 1},
            weight_bytes=POSITIVE, activation_bytes=POSITIVE,
            latency=record(ms=POSITIVE, floor=FLOOR, hot=HOT, **SHARE),
            saturation=record(
                sentences_per_second=POSITIVE, ceiling_sentences_per_second=POSITIVE, floor=FLOOR,
                hot=HOT, **SHARE,
            ),
        )
    ),
    profiles=many(
        record(
            engine_ms=POSITIVE, between_ms=NUMBER,
            groups=many(record(group={"type": "string"}, operators={"type": "integer"},
                               ms=NUMBER, floor_ms=NUMBER)),
        )
    ),
    casts={"type": "object"},
    request=record(total_ms=POSITIVE, tokenization_ms=POSITIVE, engine_ms=POSITIVE,
                   python_ms=NUMBER),
    flags={"type": "array", "items": record(code={"type": "string"}, advice={"type": "string"})},
    others_percent=NUMBER,
    machine={"type": "object"},
    versions={"type": "object"},
)  # fmt: skip


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure for a moment only: these tests check that it measures, not how fast anything is."""
    monkeypatch.setattr(memory, "LEAST_ARRAY", 1 << 22)
    monkeypatch.setattr(memory, "CACHES", 0)
    monkeypatch.setattr(starts, "SECONDS", 0.02)
    monkeypatch.setattr(explain, "PAIRS", 1)
    monkeypatch.setattr(ceilings, "TRY_SECONDS", 0.002)
    monkeypatch.setattr(ceilings, "LARGEST_SHAPES", 1)
    monkeypatch.setattr(explain, "LATENCY_SECONDS", 0.1)
    monkeypatch.setattr(explain, "SATURATION_SECONDS", 0.2)
    monkeypatch.setattr(explain, "REQUEST_CALLS", 3)
    monkeypatch.setattr(subjects, "PROFILE_SECONDS", 0.1)


@pytest.fixture
def pinned() -> Any:
    """Use one core: PyTorch's threads wait long for each other if cores are busy."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


ARGUMENTS = ("--model", "builtin-small", "--lengths", "8", "--batches", "1,2", "--rounds", "1")


@pytest.mark.usefixtures("quick", "pinned", "small_variants")
@pytest.mark.parametrize("variant", ["onnx-fp32", "onnx-int8", "pytorch-fp32"])
def test_a_variant_explained(variant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", variant, *ARGUMENTS, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    jsonschema.validate(report, SCHEMA)
    assert [(p["length"], p["batch"]) for p in report["points"]] == [(8, 1), (8, 2)]
    for point in report["points"]:
        latency, work = point["latency"], point["giga_operations"]
        assert latency["fraction"] == pytest.approx(latency["floor"]["ms"] / latency["ms"])
        giga = {c["precision"]: c["giga_per_second"] for c in report["ceilings"]}
        least = point["batch"] * sum(each / giga[name] for name, each in work.items()) * 1000
        assert latency["floor"]["compute_ms"] == pytest.approx(least)
    best = {(c["precision"], c["cores"]): c["giga_per_second"] for c in report["ceilings"]}
    for kernel in report["kernels"]:  # a ceiling is never below one kernel's usual rate
        assert kernel["cold_giga_per_second"] <= best[kernel["precision"], kernel["cores"]]
    assert [level["level"] for level in report["levels"]] == (
        ["all", "extended", "basic", "none"] if variant.startswith("onnx") else []
    )
    for profile in report["profiles"]:
        spent = sum(group["ms"] for group in profile["groups"])
        assert spent + profile["between_ms"] == pytest.approx(profile["engine_ms"])


@pytest.mark.usefixtures("quick", "pinned", "small_variants")
def test_pytorch_multiplies_what_its_geometry_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "pytorch-fp32", *ARGUMENTS, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    g, length = small_geometry(), 8
    layer = length * (4 * g.hidden**2 + 2 * g.hidden * g.intermediate)
    layer += 2 * length**2 * g.hidden
    whole = 2 * (g.layers * layer + length * (g.hidden**2 + g.hidden * g.vocabulary))
    for point in report["points"]:
        assert point["giga_operations"] == {"fp32": pytest.approx(whole / 1e9)}


@pytest.mark.usefixtures("quick", "pinned", "small_variants")
def test_a_person_reads_the_verdict_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "onnx-int8", *ARGUMENTS, "--threads", "3"]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0].startswith("onnx-int8 of builtin-small, onnxruntime;")
    assert "1 sentence of 8 tokens, 3 threads:" in lines[3]
    assert "% of the ceiling" in lines[3]
    assert lines[4].startswith("  between: ")
    assert any(line.startswith("saturation, 1 streams of batches of") for line in lines[5:8])
    assert max(map(len, lines)) <= 100
    assert "3 threads on 1 CPUs this process may use" in text
    assert "Casts that remain after load: " in text
    for word in (
        "int8 products, GOP/s: peak", "onnxruntime (its own)", "one CPU", "matrix products",
        "inside attention", "tokenization",
    ):  # fmt: skip
        assert word in text
    assert "e+" not in text
    assert "nan" not in text


@pytest.mark.usefixtures("small_variants")
@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("onnx-int9",), "unknown variant 'onnx-int9'"),
        (("onnx-int8", "--lengths", "16,x"), "--lengths '16,x': give numbers from 1"),
        (("onnx-int8", "--lengths", ""), "--lengths '': give numbers from 1"),
        (("onnx-int8", "--batches", "0"), "--batches '0': give numbers from 1"),
        (("onnx-int8", "--lengths", "2"), "this model takes 3 to 512 tokens"),
        (("onnx-int8", "--lengths", "513"), "this model takes 3 to 512 tokens"),
        (("onnx-int8", "--gold", "nope.jsonl"), "nope.jsonl does not exist"),
    ],
)
def test_unusable_input_is_one_line(
    arguments: tuple[str, ...], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", *arguments, "--model", "builtin-small"]) == 2
    said = capsys.readouterr()
    assert part in said.err
    assert said.out == ""
    assert len([line for line in said.err.splitlines() if line.startswith("tiankong:")]) == 1


def test_padding_of_mixed_lengths() -> None:
    assert padding([8] * 16) == 0
    assert padding([4, 8], batch=2) == pytest.approx(0.25)
    assert padding([4, 8, 16], batch=2) == pytest.approx(4 / 32)
    assert padding([]) == 0


def test_a_share_is_the_median_of_rounds() -> None:
    assert Share.of([0.5, 0.4, 0.9]) == Share(0.5, 0.4, 0.9)


def test_numbers_are_read_once_each_in_order() -> None:
    assert numbers("--lengths", "32, 16,32") == (32, 16)
    with pytest.raises(UnusableInputError):
        numbers("--lengths", "-1")


def test_columns_line_up() -> None:
    lines = list(table(["a", "number"], [["long name", "1"], ["b", "1000"]]))
    assert lines == ["a          number", "long name       1", "b            1000"]


def test_a_process_that_waits_burns_nothing_and_one_that_spins_does() -> None:
    assert explain._spinning(lambda: None) < 0.5
    done = threading.Event()

    def spin() -> None:
        while not done.is_set():
            math.sqrt(2.0)

    spinner = threading.Thread(target=spin)
    spinner.start()
    try:
        cores = explain._spinning(lambda: None)
    finally:
        done.set()
        spinner.join()
    assert cores > explain._spinning(lambda: None)


def test_an_engine_nobody_knows(
    small_variants: dict[str, Built], copied: Callable[[Path], Path]
) -> None:
    folder = copied(small_variants["onnx-int8"].folder)
    manifest = json.loads((folder / "variant.json").read_text())
    manifest["recipe"]["engine"] = "abacus"
    (folder / "variant.json").write_text(json.dumps(manifest))
    with pytest.raises(UnusableInputError, match="abacus"):
        opening.open_subject(folder, folder)


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Path]:
    return lambda folder: Path(shutil.copytree(folder, tmp_path / "variant"))


def test_operators_that_add_up_to_more_than_the_call_leave_a_gap_within_noise() -> None:
    groups = [Group("products", 1, 2.0, 1.0)]
    row = _gap(Profile(16, 1, 1, 1, engine_ms=1.9, groups=groups))
    assert row == ["between operators", "", "within noise", "", ""]
    row = _gap(Profile(16, 1, 1, 1, engine_ms=2.5, groups=groups))
    assert row == ["between operators", "", "0.5", "20 %", ""]


@pytest.mark.parametrize("name", ["onnx-int8", "pytorch-fp32"])
def test_the_most_sentences_are_what_the_products_alone_would_take(
    small_variants: dict[str, Built], name: str
) -> None:
    found = most_sentences(small_variants[name].folder, find_gold("builtin"), rounds=1)
    assert 10 < found["tokens"] < 30  # the gold set's mean
    assert (found["batch"], found["cores"]) == (8, len(os.sched_getaffinity(0)))
    products = found["giga_operations"]
    assert set(products) == ({"fp32"} if name == "pytorch-fp32" else {"fp32", "int8"})
    seconds = sum(giga / found["giga_per_second"][kind] for kind, giga in products.items())
    assert found["bound"] == "compute"
    assert found["sentences_per_second"] == pytest.approx(1 / seconds, rel=0.01)
    own = found["library"]["own"]
    assert own == ("torch" if name == "pytorch-fp32" else "onnxruntime")
    for kind, giga in found["own_giga_per_second"].items():
        assert giga <= found["giga_per_second"][kind]  # the best of any engine's
        assert found["kernels"][kind].startswith(found["library"][kind])
