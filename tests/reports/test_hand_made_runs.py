"""Run files made by hand, whose right answer a reader can tell: the page says that answer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.question import NO_WISHES, Wishes
from tiankong.reports.facts.report import Report, compose
from tiankong.reports.sections.answer import card
from tiankong.reports.text.language import read_language
from tiankong.toolkit.runs.run_file import Cell, Header, append_cell, create_run, read_run

BEFORE = Path(__file__).parents[1] / "data" / "before"
LEVELS = (1, 4, 8, 16)
# Latency (ms) of every answer by users: QPS = users / latency.
FAST = {1: 16.0, 4: 32.0, 8: 50.0, 16: 100.0}
SLOW = {1: 25.0, 4: 80.0, 8: 160.0, 16: 320.0}
NEAR = {1: 16.4, 4: 33.0, 8: 51.0, 16: 102.0}
STEADY, UNSTEADY = (0.99, 1.0, 1.01), (0.9, 1.0, 1.12)

Save = Callable[..., Path]


@pytest.fixture
def save(
    make_header: Callable[..., Header], make_cell: Callable[..., Cell],
    make_variant: Callable[..., dict[str, Any]], tmp_path: Path,
) -> Save:  # fmt: skip
    """Write a run file of series with three repeats; ``skip`` leaves cells out, ``spoil`` edits."""

    def made(
        series: Mapping[str, Mapping[int, float]],
        repeats: tuple[float, ...] = STEADY,
        gates: Mapping[str, Mapping[str, Any]] | None = None,
        skip: Callable[[str, int, int], bool] = lambda *_: False,
        spoil: Callable[[str, int], dict[str, Any]] = lambda *_: {},
        name: str = "run",
        **changes: Any,
    ) -> Path:
        variants = {
            variant: make_variant(place, **({"gate": gates[variant]} if gates else {}))
            for place, variant in enumerate(series, start=1)
        }
        plan = {
            "name": "table", "variants": list(series), "repeats": len(repeats),
            "grids": [{"levels": list(LEVELS), "rates": [], "tokens": [], "batches": []}],
            "seconds": 20.0, "warmup_seconds": 3.0, "yardstick": "",
        }  # fmt: skip
        path = tmp_path / f"{name}.jsonl"
        create_run(path, make_header(run=name, plan=plan, variants=variants, **changes))
        for variant, levels in series.items():
            for users, latency in levels.items():
                for number, factor in enumerate(repeats, start=1):
                    if not skip(variant, users, number):
                        more = spoil(variant, users)
                        cell = make_cell(variant, "reference", users, latency * factor,
                                         repeat=number, **more)  # fmt: skip
                        append_cell(path, cell)
        return path

    return made


def reported(*paths: Path, wishes: Wishes = NO_WISHES) -> Report:
    return compose([read_run(path) for path in paths], read_article(), read_prices(), wishes)


def headline(report: Report, code: str = "en") -> str:
    return card(report, read_language(code)).headline


def line(report: Report, key: str, code: str = "en") -> str:
    return " ".join(x.text for x in card(report, read_language(code)).lines if x.key == key)


def test_a_clear_winner(save: Save) -> None:
    report = reported(save({"onnx-fp32": SLOW, "onnx-int8": FAST}))
    assert report.answer.status == "decided"
    # 16 users in 100 ms are 160 a second; 30 % stay free.
    assert headline(report) == (
        "For 111 requests/s at P95 ≤ 130 ms: 1 instance of onnx-int8 on Alibaba ecs.c6.large"
        " (2 vCPU), ¥700 a month (¥700–2,100)."
    )
    assert headline(report, "zh").startswith("每秒 111 次请求、P95 ≤ 130 毫秒：用 1 个阿里云")
    assert "lies wholly below" in line(report, "sure")
    # onnx-fp32 holds 130 ms at 4 users only: 50 a second, 35 after headroom.
    assert line(report, "runner_up") == ("onnx-fp32: 4 instances, ¥2,800 a month (¥2,800–4,900).")
    assert card(report, read_language("en")).commands == (
        "tiankong serve --model builtin-base --variant onnx-int8",
        "tiankong bundle onnx-int8 deploy --model builtin-base",
    )


def test_a_tie_is_called_a_tie(save: Save) -> None:
    report_path = save({"onnx-int8": NEAR, "openvino-int8": FAST}, UNSTEADY)
    report = reported(report_path)
    assert report.answer.status == "tie"
    assert "1 instance of openvino-int8 or onnx-int8 on" in headline(report)
    assert "too close to call; openvino-int8 has the lower P95" in headline(report)
    assert report.answer.runner_up is None
    assert "may be chance" in line(report, "sure")
    # One instance of each suffices by default; at a load where that is not so, both are named.
    assert {each.instances and each.instances[0] for each in report.answer.candidates} == {1}
    more = reported(report_path, wishes=Wishes(load=111.0))
    assert "1 instance of openvino-int8 on Alibaba" in headline(more)
    assert "; or 2 instances of onnx-int8 on Alibaba" in headline(more)


def test_a_winner_whose_upper_bound_breaks_the_objective_is_none(save: Save) -> None:
    # At 16 users 125 a second, but the interval of the P95 passes 130 ms; at 8 users 89 a second.
    edge = {1: 16.0, 4: 50.0, 8: 90.0, 16: 128.0}
    report = reported(save({"onnx-fp32": SLOW, "onnx-int8": edge}, UNSTEADY))
    leading = report.answer.leading
    assert leading is not None
    assert leading.capacity is not None
    assert leading.capacity.point is not None
    assert (leading.variant, leading.capacity.point.users) == ("onnx-int8", 8)
    (note,) = report.answer.notes
    assert (note.code, note.about["users"]) == ("unsure", [16])
    assert note.about["value"] < 130 < note.about["high"]
    assert "onnx-int8 may carry more: at 16 users" in line(report, "mind")
    everywhere = dict.fromkeys(LEVELS, 128.0)
    alone = reported(save({"onnx-int8": everywhere}, UNSTEADY, name="alone"))
    assert alone.answer.status == "undecided"
    assert alone.answer.leading is None
    assert "onnx-int8 keeps it at 16 users only by chance" in headline(alone)


def test_an_invalid_rival_leaves_the_question_open(save: Save) -> None:
    def spoil(variant: str, users: int) -> dict[str, Any]:
        return {"wrong": 3} if (variant, users) == ("openvino-int8", 16) else {}

    report = reported(save({"onnx-int8": FAST, "openvino-int8": NEAR}, spoil=spoil))
    assert report.answer.status == "undecided"
    assert headline(report).startswith(
        "Not decided, because openvino-int8 has no valid measurement at 16 users."
    )
    assert "What speaks for itself so far" in headline(report)
    assert headline(report, "zh").startswith("尚无定论：openvino-int8 在 16 个用户时没有有效测量。")


def test_a_missing_level_leaves_the_question_open(save: Save) -> None:
    report = reported(
        save({"onnx-int8": FAST, "openvino-int8": NEAR}, skip=lambda v, u, _: (v, u) == (
            "openvino-int8", 8))
    )  # fmt: skip
    assert report.answer.status == "undecided"
    assert "21 of 24 planned cells were measured" in headline(report)
    assert "openvino-int8 was not measured at 8 users" in headline(report)


def test_a_cut_run_says_how_far_it_came(save: Save) -> None:
    report = reported(save({"onnx-fp32": SLOW, "onnx-int8": FAST}, skip=lambda v, u, n: n == 3))
    assert report.answer.status == "undecided"
    assert headline(report).startswith("Not decided, because 16 of 24 planned cells were measured.")
    assert report.answer.leading is not None


def test_a_variant_that_was_planned_and_never_measured_is_missed(save: Save) -> None:
    report = reported(
        save({"onnx-int8": FAST, "openvino-int8": NEAR}, skip=lambda v, *_: v == "openvino-int8")
    )
    assert report.answer.status == "undecided"
    assert "openvino-int8 was not measured at 1, 4, 8, 16 users" in headline(report)


def test_all_fail_the_gate(save: Save, make_gate: Callable[..., dict[str, Any]]) -> None:
    gates = {"onnx-fp32": make_gate(False), "onnx-int8": make_gate(False)}
    report = reported(save({"onnx-fp32": SLOW, "onnx-int8": FAST}, gates=gates))
    assert report.answer.status == "nothing"
    assert headline(report) == (
        "No variant can be recommended: onnx-fp32 failed the gate (top-1 agreement 0.910 is under"
        " 0.970); onnx-int8 failed the gate (top-1 agreement 0.910 is under 0.970)."
    )
    assert card(report, read_language("en")).commands == ()


def test_a_reference_that_knows_nothing(
    save: Save, make_gate: Callable[..., dict[str, Any]]
) -> None:
    guessing = {"items": 200, "hit_at_5": 0.04, "at_chance": True}
    gates = {name: make_gate(guessing=guessing) for name in ("onnx-fp32", "onnx-int8")}
    report = reported(save({"onnx-fp32": SLOW, "onnx-int8": FAST}, gates=gates))
    assert report.answer.status == "nothing"
    assert "onnx-int8 hits no more of the gold answers than guessing would" in headline(report)


def test_an_objective_that_nobody_holds(save: Save) -> None:
    report = reported(save({"onnx-fp32": SLOW, "onnx-int8": FAST}), wishes=Wishes(slo="p95=10ms"))
    assert report.answer.status == "nothing-holds"
    assert headline(report) == (
        "No variant keeps P95 ≤ 10 ms on this machine. Closest is onnx-int8: P95 of 16.0 ms at 1"
        " user."
    )


def test_measured_once_is_no_decision(save: Save) -> None:
    report = reported(save({"onnx-fp32": SLOW, "onnx-int8": FAST}, (1.0,)))
    assert report.answer.status == "undecided"
    assert "each point was measured once" in headline(report)
    assert "1 instance of onnx-int8" in headline(report)


def test_a_winner_without_an_interval_is_no_decision(save: Save) -> None:
    # 5.5 s at 62.5 a second are 343 answers: enough for a P99 only together, without an interval.
    levels = {users: 16.0 * users for users in LEVELS}
    report = reported(
        save({"onnx-int8": levels}, (1.0, 1.0),
             spoil=lambda _, users: {"seconds": 5.5, "latencies_ms": [16.0 * users] * 343}),
        wishes=Wishes(slo="p99=300ms"),
    )  # fmt: skip
    assert report.answer.status == "undecided"
    assert "may be off" in headline(report)
    assert "measured once" not in headline(report)


def test_a_percentile_with_too_few_answers_matters_only_near_the_top(save: Save) -> None:
    # P99 needs 660 answers in all: 3 x 20 s of FAST at 1 user have 3,750, of this one 60.
    slow = dict.fromkeys(LEVELS, 1000.0) | {16: 16_000.0}
    asked = Wishes(slo="p99=130ms")
    report = reported(save({"onnx-fp32": slow, "onnx-int8": FAST}), wishes=asked)
    assert report.answer.status == "decided"
    few = reported(
        save({"onnx-int8": FAST, "openvino-int8": FAST}, name="few",
             spoil=lambda v, _: {"latencies_ms": [50.0] * 150, "seconds": 0.9, "ends_ms": ()}
             if v == "openvino-int8" else {}),
        wishes=asked,
    )  # fmt: skip
    assert few.answer.status == "undecided"
    assert "too few answers for a P99" in headline(few) or "no valid measurement" in headline(few)


def test_two_machines_are_not_mixed(save: Save, make_header: Callable[..., Header]) -> None:
    other = {**make_header().machine, "cpu": "Other CPU"}
    one = save({"onnx-int8": FAST}, name="one")
    two = save({"onnx-int8": FAST}, name="two", machine=other)
    done = report_command(one, two)
    assert done.returncode == 2
    assert "machine.cpu differs" in done.stderr


def test_an_older_format_is_answered_as_far_as_it_goes() -> None:
    report = reported(BEFORE / "run_format_1.jsonl")
    assert headline(report).startswith(
        "Not decided, because 8 of 20 planned cells were measured; each point was measured once"
    )


def test_an_empty_a_headless_and_a_cellless_file_are_refused(save: Save, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    cellless = save({"onnx-int8": FAST}, name="none", skip=lambda *_: True)
    for path, said in ((empty, "has no header"), (cellless, "no cell was measured")):
        done = report_command(path)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "pages").exists()


def test_a_truncated_file_is_answered_from_what_is_whole(save: Save) -> None:
    path = save({"onnx-fp32": SLOW, "onnx-int8": FAST})
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: len(text) - 300], encoding="utf-8")  # the last line is torn
    report = reported(path)
    assert headline(report).startswith("Not decided, because 23 of 24 planned cells were measured")
    path.write_text(text[:200], encoding="utf-8")  # the header itself is torn
    done = report_command(path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def report_command(*paths: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "tiankong", "report", *map(str, paths)]
    out = paths[0].parent / "pages"
    return subprocess.run([*words, "--out", str(out)], capture_output=True, text=True, check=False)


def test_a_variant_that_is_left_out_is_no_answer_and_leaves_nothing_open(save: Save) -> None:
    path = save(
        {"onnx-fp32": SLOW, "onnx-int8": FAST, "openvino-int8": FAST},
        spoil=lambda variant, _: {"wrong": 1} if variant == "openvino-int8" else {},
    )
    assert reported(path).answer.status == "undecided"
    report = reported(path, wishes=Wishes(without=("openvino-int8",)))
    assert report.answer.status == "decided"
    assert "of onnx-int8 on" in headline(report)
    assert len({point.variant for point in report.points}) == 3  # evidence stays whole
    assert line(report, "left") == "openvino-int8"
    left = reported(path, wishes=Wishes(without=("openvino-int8", "onnx-int8")))
    assert "of onnx-fp32 on" in headline(left)
    assert "None of the other variants that count" in line(left, "sure")


def test_a_measured_gpu_tells_from_which_load_it_pays(
    save: Save, make_header: Callable[..., Header], make_gate: Callable[..., dict[str, Any]]
) -> None:
    path = save({"onnx-fp32": SLOW, "onnx-int8": FAST})
    assert "cannot pay for itself up to 277 requests/s, however fast" in line(reported(path), "gpu")
    machine = {**make_header().machine, "cpu": "GPU host"}
    rapid = {users: users * 1000 / 1300 for users in LEVELS}  # 1,300 a second
    fast = read_run(save({"pytorch-fp16-cuda": rapid}, name="gpu", machine=machine))
    for beside, said in (
        (fast, "It first costs less above 560 requests/s"),
        (read_run(save({"pytorch-fp16-cuda": SLOW}, name="slow", machine=machine)), "at no load"),
        (read_run(save({"pytorch-fp16-cuda": rapid}, name="failed", machine=machine,
                       gates={"pytorch-fp16-cuda": make_gate(False)})), "however fast"),
    ):  # fmt: skip
        report = compose([read_run(path)], read_article(), read_prices(), gpu=beside)
        assert said in line(report, "gpu")
        assert line(report, "gpu", "zh")
        assert report.answer.leading is not None
        assert report.answer.leading.variant == "onnx-int8"


def test_the_command_takes_the_readers_question(save: Save, tmp_path: Path) -> None:
    path = save({"onnx-fp32": SLOW, "onnx-int8": FAST})
    words = [sys.executable, "-m", "tiankong", "report", str(path), "--out", str(tmp_path / "out")]
    asked = ["--slo", "p95=100ms", "--load", "300", "--headroom", "50%", "--instances", "2",
             "--price", "ecs.c6.large=500", "--utilisation", "100%"]  # fmt: skip
    done = subprocess.run([*words, *asked], check=True, capture_output=True, text=True)
    assert "answer: For 300 requests/s at P95 ≤ 100 ms: 4 instances of onnx-int8" in done.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    first = summary["answer"]["candidates"][0]
    # 8 users in 50 ms, and 16 users in 100 ms (whose bound breaks 100 ms): 160 a second, half free.
    assert (first["variant"], first["users"]) == ("onnx-int8", 8)
    assert first["instances"]["value"] == 4
    assert first["monthly"]["value"] == 2000
    assert first["per_million"]["value"] == pytest.approx(2000 / (300 * 2.628))
    assert summary["question"]["price"]["kind"] == "given"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--slo", "p95"], "is no objective"),
        (["--slo", "p50=10ms,p95=20ms"], "one objective"),
        (["--load", "-1"], "requests a second"),
        (["--headroom", "200%"], "share"),
        (["--headroom", "99%"], "share from 0% to 95%"),
        (["--utilisation", "0"], "share"),
        (["--instances", "0"], "from 1"),
        (["--load", "1e30"], "requests a second, from 0 to"),
        (["--price", "ecs.c6.large=1e300"], "a month's price"),
        (["--without", "nobody"], "'nobody' was not measured; measured: onnx-int8"),
        (["--without", "onnx-int8"], "no variant is left"),
        (["--price", "c9.huge"], "is in no price file; known: ecs.c6.large"),
        (["--price", "g4dn.xlarge"], "says nothing of that machine"),
        (["--price", "ecs.c6.large=cheap"], "a month's price"),
    ],
)
def test_a_wish_that_is_none_is_one_line(save: Save, asked: list[str], said: str) -> None:
    path = save({"onnx-int8": FAST})
    words = [sys.executable, "-m", "tiankong", "report", str(path), *asked]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
