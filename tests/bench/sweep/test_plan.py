from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tiankong.bench.sweep.ground import Ground
from tiankong.bench.sweep.measure import Window
from tiankong.bench.sweep.plan import FOLDER, Grid, Plan, read_plan
from tiankong.server.settings import Settings
from tiankong.toolkit.building import availability
from tiankong.toolkit.errors import InvalidMeasurementError, UnusableInputError
from tiankong.toolkit.runs.load import Load
from tiankong.toolkit.runs.point import Point
from tiankong.toolkit.stats import SUPPORT

NAMES = ["full", "open", "scaling", "smoke", "table"]
TIMES = "seconds = 1\nwarmup_seconds = 0\n"
GOOD = "levels = [1]\n" + TIMES


def parts(*texts: str) -> str:
    return TIMES + "".join(f"[[parts]]\n{text}\n" for text in texts)


@pytest.mark.parametrize("name", NAMES)
def test_the_plans_that_ship_can_be_read(name: str) -> None:
    plan = read_plan(name)
    assert plan.name == name
    assert plan.seconds >= 4
    assert plan.points(plan.variants or ["onnx-fp32"], 1)
    assert json.loads(json.dumps(plan.as_json())) == plan.as_json()


def test_the_table_has_the_articles_levels() -> None:
    plan = read_plan("table")
    assert plan.grids == (Grid(levels=(1, 4, 8, 16)),)
    assert (plan.yardstick, plan.repeats, plan.attempts) == ("onnx-fp32", 2, 2)
    assert {"pytorch-fp32", "onnx-fp32", "onnx-fp16", "onnx-int8"} < set(plan.variants)


@pytest.mark.parametrize("bf16", [True, False])
def test_the_table_has_what_suits_this_cpu(monkeypatch: pytest.MonkeyPatch, bf16: bool) -> None:
    isa = ["avx512_vnni", *(["amx_bf16"] if bf16 else [])]
    monkeypatch.setattr(availability, "processor", lambda: {"isa": isa})
    plan = read_plan("table")
    int8 = ["onnx-int8", "openvino-int8"]
    chosen = [*int8, "openvino-bf16"] if bf16 else int8
    assert plan.variants == ("pytorch-fp32", "onnx-fp32", "onnx-fp16", *chosen)
    assert [entry.variant for entry in plan.not_suited] == ([] if bf16 else ["openvino-bf16"])
    data = json.loads(json.dumps(plan.as_json()))
    assert data == plan.as_json()
    assert data["variants"] == list(plan.variants)
    assert list(data["suited"]) == chosen
    assert data["suited"]["onnx-int8"] == "8-bit products (avx512_vnni)"
    others = {} if bf16 else {"openvino-bf16": availability.BF16}
    assert data["not_suited"] == others


def test_the_word_stands_among_names_in_a_plan_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + 'variants = ["openvino-int8", "@suited", "onnx-fp32"]\n')
    plan = read_plan(str(path))
    first, *rest, last = plan.variants
    assert (first, last) == ("openvino-int8", "onnx-fp32")
    assert {"onnx-int8"} <= set(rest) <= {"onnx-int8", "openvino-bf16"}


def test_a_plan_that_names_its_variants_is_written_as_before(tmp_path: Path) -> None:
    named = read_plan("table").of(["onnx-int8"])
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + 'variants = ["onnx-int8"]\n')
    for plan in (named, read_plan(str(path)), read_plan("full")):
        assert not {"suited", "not_suited"} & plan.as_json().keys()
        assert plan.not_suited == ()


def test_full_is_the_table_in_longer_windows() -> None:
    full, table = read_plan("full"), read_plan("table")
    (levels,), (fewer,) = ([grid.levels for grid in plan.grids] for plan in (full, table))
    assert set(levels) == {*fewer, 2}
    assert full.yardstick == table.yardstick
    assert full.seconds > table.seconds
    assert full.repeats > table.repeats
    assert full.repeats * full.seconds * 14 > SUPPORT[99]


def test_a_plan_without_evidence_is_written_as_before_there_was_any() -> None:
    assert "evidence" not in read_plan("table").as_json()
    assert read_plan("full").as_json()["evidence"] == ["ceilings", "distilbert", "image"]


def test_no_plan_that_ships_lets_a_server_answer_without_asking() -> None:
    """Users who ask from one small set would join each other, or find answers kept."""
    for name in NAMES:
        plan = read_plan(name)
        assert (plan.join, plan.cache) == (False, 0)
        assert "join" not in plan.as_json()  # it is written as before there was the key


@pytest.mark.parametrize(("line", "joins"), [("", False), ("join = true\n", True)])
def test_identical_sentences_are_asked_once_only_if_the_plan_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, joins: bool
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(line + GOOD)
    plan = read_plan(str(path))
    served: list[Settings] = []

    def note(_: object, settings: Settings, __: object) -> None:
        served.append(settings)
        raise InvalidMeasurementError("noted")

    monkeypatch.setattr("tiankong.bench.sweep.ground.server_of", note)
    built: Any = SimpleNamespace(require_same=lambda: None, folder=tmp_path)
    gold: Any = None
    ground = Ground({"v": built}, {}, gold, cache=plan.cache, join=plan.join)
    with pytest.raises(InvalidMeasurementError):
        ground.measure(Point("v", "reference", Load(1)), Window(1.0, 0.0))
    assert [settings.join for settings in served] == [joins]
    assert plan.as_json().get("join", False) is joins


def test_smoke_is_the_small_model_for_under_a_minute() -> None:
    plan = read_plan("smoke")
    assert (plan.model, plan.variants) == ("builtin-small", ("onnx-fp32", "onnx-int8"))
    points = plan.points(plan.variants, 1)
    assert len(points) * (plan.seconds + plan.warmup_seconds) < 60


def test_open_has_rates_and_no_users() -> None:
    plan = read_plan("open")
    assert plan.yardstick == ""
    assert {point.load.mode for point in plan.points(plan.variants, 1)} == {"open"}
    assert {point.load.rate for point in plan.points(plan.variants, 1)} == {5, 10, 20, 40}
    assert plan.as_json()["levels"] == []


def test_scaling_varies_one_thing_at_a_time() -> None:
    plan = read_plan("scaling")
    lengths, batches, cores, users = plan.grids
    assert lengths == Grid(levels=(1,), tokens=(8, 16, 32, 64, 128, 256, 512))
    assert batches == Grid(levels=(1,), tokens=(16,), batches=(1, 2, 4, 8, 16))
    assert cores == Grid(levels=(4,), tokens=(16,), cores=(1, 2))
    assert users == Grid(levels=(1, 2, 4, 8, 16, 32, 64), tokens=(16,))
    points = plan.points(plan.variants, 1)
    assert len(points) == len(set(points))  # parts overlap
    assert len(points) == 2 * (7 + 4 + 2 + 6)


def test_an_unknown_plan_names_the_known_ones() -> None:
    known = "full, open, scaling, smoke, table"
    with pytest.raises(UnusableInputError, match=f"'nope'; known: {known}"):
        read_plan("nope")
    assert sorted(p.stem for p in FOLDER.glob("*.toml")) == NAMES


def test_a_plan_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + 'repeats = 2\nattempts = 3\nvariants = ["a", "b"]\nmodel = "m"\n')
    grids = (Grid(levels=(1,)),)
    assert read_plan(str(path)) == Plan("mine", grids, 1, 0, 2, 3, ("a", "b"), "", "m")


def test_every_axis_of_a_plan_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    axes = "levels = [1, 4]\nrates = [20, 40.5]\ntokens = [8, 512]\nbatches = [2]\ncores = [1]\n"
    path.write_text(axes + TIMES)
    plan = read_plan(str(path))
    assert plan.grids == (Grid((1, 4), (20, 40.5), (8, 512), (2,), (1,)),)
    assert plan.as_json()["grids"] == [
        {"levels": [1, 4], "rates": [20, 40.5], "tokens": [8, 512], "batches": [2], "cores": [1]}
    ]
    assert plan.as_json()["levels"] == [1, 4]


def test_what_a_part_leaves_out_stands_above(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("levels = [4]\ntokens = [16]\n" + parts("rates = [5]", "tokens = [32]"))
    first, second = read_plan(str(path)).grids
    assert first == Grid(levels=(4,), rates=(5,), tokens=(16,))
    assert second == Grid(levels=(4,), tokens=(32,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("levels = [1", "cannot be read"),
        (GOOD + "speed = 1\n", "unknown key 'speed'"),
        (GOOD + "join = 1\n", "'join' is neither true nor false"),
        (GOOD + 'name = "x"\n', "unknown key 'name'"),
        (GOOD + "suited = true\n", "unknown key 'suited'"),
        (GOOD + 'evidence = ["size"]\n', "'evidence' is not a list of ceilings, distilbert, image"),
        (GOOD + 'evidence = "image"\n', "'evidence' is not a list"),
        (GOOD + 'sentences = "x"\n', "unknown key 'sentences'"),
        (GOOD + "grids = []\n", "unknown key 'grids'"),
        ("levels = [1]\nseconds = 1\n", "'warmup_seconds' is missing"),
        ("levels = [1]\nwarmup_seconds = 1\n", "'seconds' is missing"),
        (TIMES, "neither 'levels' nor 'rates'"),
        (TIMES + "levels = []\n", "neither 'levels' nor 'rates'"),
        (TIMES + "levels = [0]\n", "'levels' is not a list of whole numbers"),
        (TIMES + "levels = [1.5]\n", "'levels'"),
        (TIMES + "levels = [true]\n", "'levels'"),
        (TIMES + "levels = 4\n", "'levels'"),
        (TIMES + "rates = [0]\n", "'rates' is not a list of numbers above 0"),
        (TIMES + "rates = [-1.5]\n", "'rates'"),
        (TIMES + "rates = [true]\n", "'rates'"),
        (TIMES + "rates = [inf]\n", "'rates'"),
        (TIMES + "rates = [nan]\n", "'rates'"),
        (TIMES + 'rates = ["5"]\n', "'rates'"),
        (GOOD + "tokens = [7]\n", "'tokens' must lie in 8..512, not 7"),
        (GOOD + "tokens = [8, 513]\n", "'tokens' must lie in 8..512, not 513"),
        (GOOD + "tokens = [16.0]\n", "'tokens' is not a list of whole numbers"),
        (GOOD + "batches = [0]\n", "'batches'"),
        (GOOD + "batches = 8\n", "'batches'"),
        (GOOD + "cores = [0]\n", "'cores'"),
        (GOOD + "cores = [false]\n", "'cores'"),
        (GOOD + "parts = []\n", "'parts' is not an array of tables"),
        (GOOD + "parts = 3\n", "'parts' is not an array of tables"),
        (GOOD + "parts = [1]\n", "'parts' is not an array of tables"),
        (parts("levels = [1]\nseconds = 2"), "unknown key 'seconds' in a part"),
        (parts("levels = [1]", "tokens = [8]"), "neither 'levels' nor 'rates'"),
        (parts("levels = [1]\nbatches = [0]"), "'batches'"),
        (GOOD.replace("seconds = 1", "seconds = 0.5", 1), "'seconds'"),
        (GOOD.replace("seconds = 1", "seconds = true", 1), "'seconds'"),
        (GOOD.replace("seconds = 1", "seconds = nan", 1), "'seconds'"),
        (GOOD.replace("seconds = 1", "seconds = inf", 1), "'seconds'"),
        (GOOD.replace("warmup_seconds = 0", "warmup_seconds = -1"), "'warmup_seconds'"),
        (GOOD + "repeats = 0\n", "'repeats'"),
        (GOOD + "repeats = true\n", "'repeats'"),
        (GOOD + "attempts = 0\n", "'attempts'"),
        (GOOD + "attempts = 1.5\n", "'attempts'"),
        (GOOD + 'variants = "a"\n', "'variants'"),
        (GOOD + "variants = [1]\n", "'variants'"),
        (GOOD + "yardstick = true\n", "'yardstick'"),
        (GOOD + "model = 3\n", "'model'"),
    ],
)
def test_a_broken_plan_says_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UnusableInputError, match=message) as caught:
        read_plan(str(path))
    assert "mine.toml" in str(caught.value)


def test_every_point_is_there_once_in_an_order_the_seed_decides() -> None:
    plan = Plan("p", (Grid(levels=(1, 2, 4)),), 1, 0, repeats=2, yardstick="a")
    points = plan.points(["a", "b"], seed=7)
    rows = [("a", "reference"), ("b", "reference"), ("a", "article")]
    wanted = {Point(*row, Load(users), n) for row in rows for users in (1, 2, 4) for n in (1, 2)}
    assert set(points) == wanted
    assert len(points) == len(wanted)
    assert points == plan.points(["a", "b"], seed=7)
    assert points != plan.points(["a", "b"], seed=8)


def test_a_points_repeats_lie_apart() -> None:
    plan = Plan("p", (Grid(levels=(1, 2, 4, 8)),), 1, 0, repeats=3)
    repeats = [point.repeat for point in plan.points(["a", "b"], seed=7)]
    assert repeats == [1] * 8 + [2] * 8 + [3] * 8


def test_every_combination_of_the_axes_is_a_point() -> None:
    grid = Grid(levels=(1, 4), rates=(5, 10), tokens=(8, 16), batches=(1, 2), cores=(1, 2))
    points = Plan("p", (grid,), 1, 0).points(["a"], 1)
    assert len(points) == (2 + 2) * 2 * 2 * 2
    assert Point("a", "reference", Load(4, None, 16, 2, 1)) in points
    assert Point("a", "reference", Load(0, 10, 8, 1, 2)) in points
    assert {point.load.users for point in points if point.load.is_open} == {0}


def test_points_that_parts_share_are_measured_once() -> None:
    grids = (Grid(levels=(1, 4)), Grid(levels=(4, 8)))
    points = Plan("p", grids, 1, 0, repeats=2, yardstick="a").points(["a"], 1)
    assert len(points) == len(set(points)) == 2 * 2 * 3


def test_without_a_yardstick_the_articles_server_is_left_out() -> None:
    plan = Plan("p", (Grid(levels=(1,)),), 1, 0)
    assert {p.stack for p in plan.points(["a"], 1)} == {"reference"}


def test_the_articles_server_takes_no_batches() -> None:
    grid = Grid(levels=(1,), batches=(1, 4))
    points = Plan("p", (grid,), 1, 0, yardstick="a").points(["a"], 1)
    assert {(point.stack, point.load.batch) for point in points} == {
        ("reference", 1),
        ("reference", 4),
        ("article", 1),
    }


def test_a_server_that_runs_already_is_the_only_stack() -> None:
    points = Plan("p", (Grid(levels=(1, 2)),), 1, 0, yardstick="a").points(["a"], 1, "target")
    assert [point.stack for point in points] == ["target"] * 2
