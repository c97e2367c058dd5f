"""Every kernel multiplies, and takes its weights as asked."""

from __future__ import annotations

import pytest

from tiankong.bench.explain.kernels import multiplication
from tiankong.bench.explain.kernels.multiplication import (
    FORMS,
    ONNXRUNTIME,
    OPENVINO,
    TORCH,
    Multiplication,
    forms,
    open_calls,
    prepare,
)
from tiankong.bench.explain.workload import BF16, FP32, INT8

EVERY = [
    (library, precision, form)
    for library, precisions in FORMS.items()
    for precision, names in precisions.items()
    for form in names
]


@pytest.mark.parametrize(("library", "precision", "form"), EVERY)
def test_every_kernel_multiplies(library: str, precision: str, form: str) -> None:
    pytest.importorskip(library)
    cell = Multiplication(precision, library, form, 16, 64, 32, callers=2, threads=1, weights=3)
    prepare(cell)
    turns, same = open_calls(cell)
    assert len(turns) == len(same) == 2
    for call in (*turns * 4, *same):
        call()


def test_operations_and_bytes_of_a_cell() -> None:
    cell = Multiplication(FP32, ONNXRUNTIME, "MatMul", 1000, 500, 1000, callers=1, threads=2)
    assert cell.giga == pytest.approx(1.0)
    assert (cell.weight_bytes, cell.cores) == (2_000_000, 2)


def test_weights_come_in_turn_and_callers_do_not_follow_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[int, int]] = []

    def opened(cell: Multiplication) -> list[list[object]]:
        return [
            [lambda at=(caller, weight): seen.append(at) for weight in range(cell.weights)]
            for caller in range(cell.callers)
        ]

    monkeypatch.setattr(multiplication, "resolve_name", lambda _: opened)
    cell = Multiplication(INT8, ONNXRUNTIME, "MatMulInteger", 1, 1, 1, 2, 1, weights=4)
    (first, second), (same, _) = open_calls(cell)
    for _ in range(5):
        first()
    for _ in range(2):
        second()
    same(), same()
    assert [weight for caller, weight in seen[:5] if caller == 0] == [0, 1, 2, 3, 0]
    assert seen[5:7] == [(1, 2), (1, 3)]
    assert seen[7:] == [(0, 0), (0, 0)]


def test_only_what_is_installed_and_fits_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    every = set(forms(["avx512_bf16"]))
    assert {precision for _, precision, _ in forms([])} == {FP32, INT8}
    assert {precision for _, precision, _ in forms(["amx_bf16"], [BF16])} <= {BF16}
    monkeypatch.setattr(multiplication, "installed", lambda name: name == ONNXRUNTIME)
    alone = set(forms(["avx512_bf16"]))
    assert {library for library, _, _ in alone} == {ONNXRUNTIME}
    assert alone <= every
    assert {TORCH, OPENVINO, ONNXRUNTIME} == set(FORMS)
