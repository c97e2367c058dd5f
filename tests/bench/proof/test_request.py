from __future__ import annotations

from tiankong.bench.proof.request import HERE, Costs, rows


def costs(*both: float) -> list[Costs]:
    return [{"loop": total - 50.0, "others": 50.0, "both": total} for total in both]


def test_one_code_has_no_ratio() -> None:
    assert list(rows({HERE: costs(300.0, 200.0, 250.0)})) == [f"| {HERE} | 200 | 50 | 250 | – |"]


def test_the_ratio_is_taken_within_rounds() -> None:
    measured = {"abc": costs(400.0, 100.0, 200.0), HERE: costs(200.0, 50.0, 100.0)}
    before, now = rows(measured)
    assert before == "| abc | 150 | 50 | 200 | – |"
    assert now.startswith(f"| {HERE} | 50 | 50 | 100 | 0.500")
