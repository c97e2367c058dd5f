from __future__ import annotations

from pathlib import Path

import pytest

from tiankong.bench.plan import FOLDER, Plan, read_plan
from tiankong.toolkit.errors import UnusableInputError

GOOD = "levels = [1]\nseconds = 1\nwarmup_seconds = 0\n"


@pytest.mark.parametrize("name", ["smoke", "table", "full"])
def test_the_plans_that_ship_can_be_read(name: str) -> None:
    plan = read_plan(name)
    assert plan.name == name
    assert plan.yardstick == "onnx-fp32"
    assert plan.levels
    assert plan.as_json()["levels"] == list(plan.levels)


def test_the_table_has_the_articles_levels() -> None:
    assert read_plan("table").levels == (1, 4, 8, 16)


def test_an_unknown_plan_names_the_known_ones() -> None:
    with pytest.raises(UnusableInputError, match="'nope'; known: full, smoke, table"):
        read_plan("nope")
    assert sorted(p.stem for p in FOLDER.glob("*.toml")) == ["full", "smoke", "table"]


def test_a_plan_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + 'repeats = 2\nvariants = ["a", "b"]\nmodel = "m"\n')
    assert read_plan(str(path)) == Plan("mine", (1,), 1, 0, 2, ("a", "b"), "", "m")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("levels = [1", "cannot be read"),
        (GOOD + "speed = 1\n", "unknown key 'speed'"),
        (GOOD + 'name = "x"\n', "unknown key 'name'"),
        ("levels = [1]\nseconds = 1\n", "'warmup_seconds' is missing"),
        ("levels = []\nseconds = 1\nwarmup_seconds = 0\n", "'levels'"),
        ("levels = [0]\nseconds = 1\nwarmup_seconds = 0\n", "'levels'"),
        ("levels = [1.5]\nseconds = 1\nwarmup_seconds = 0\n", "'levels'"),
        ("levels = [true]\nseconds = 1\nwarmup_seconds = 0\n", "'levels'"),
        ("levels = 4\nseconds = 1\nwarmup_seconds = 0\n", "'levels'"),
        ("levels = [1]\nseconds = 0.5\nwarmup_seconds = 0\n", "'seconds'"),
        ("levels = [1]\nseconds = true\nwarmup_seconds = 0\n", "'seconds'"),
        ("levels = [1]\nseconds = 1\nwarmup_seconds = -1\n", "'warmup_seconds'"),
        ("levels = [1]\nseconds = nan\nwarmup_seconds = 0\n", "'seconds'"),
        ("levels = [1]\nseconds = inf\nwarmup_seconds = 0\n", "'seconds'"),
        (GOOD + "repeats = 0\n", "'repeats'"),
        (GOOD + "repeats = true\n", "'repeats'"),
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
    plan = Plan("p", (1, 2, 4), 1, 0, repeats=2, yardstick="a")
    points = plan.points(["a", "b"], seed=7)
    rows = [("a", "reference"), ("b", "reference"), ("a", "article")]
    wanted = {(*row, users, n) for row in rows for users in (1, 2, 4) for n in (1, 2)}
    assert {point.key for point in points} == wanted
    assert len(points) == len(wanted)
    assert points == plan.points(["a", "b"], seed=7)
    assert points != plan.points(["a", "b"], seed=8)


def test_without_a_yardstick_the_articles_server_is_left_out() -> None:
    assert {p.stack for p in Plan("p", (1,), 1, 0).points(["a"], 1)} == {"reference"}
