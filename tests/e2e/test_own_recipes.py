"""Recipes of a user's own through the real command line: build, check, predict, serve."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from over_http import ask, free_port, wait_ready

from tiankong.toolkit.building.recipes import FOLDER

MODEL = ("--model", "builtin-small")
TEXT = "床前明月光,疑是地[MASK]霜。"
MINE = """
name = "mine"
summary = "a recipe of my own"
engine = "onnxruntime"
file = "onnx/model_mine.onnx"
steps = ["export", "fuse"]

[promise]
top1_agreement = 1.0
"""


@pytest.fixture
def home(own_tool: Callable[..., Any]) -> Any:
    """A home with the reference, a folder of recipes and a short gold set."""
    made = own_tool("pytorch-fp32")
    (made.home / "recipes").mkdir()
    (made.home / "recipes" / "mine.toml").write_text(MINE, encoding="utf-8")
    item = {"id": "1", "category": "poem", "text": TEXT, "answer": "上"}
    (made.home / "gold.jsonl").write_text(json.dumps(item), encoding="utf-8")
    return made


def test_built_checked_asked_and_served(home: Any) -> None:
    own = (*MODEL, "--recipes", "recipes")
    (built,) = home.data("build", *own, "--variants", "mine")["variants"]
    assert (built["variant"], built["skipped"]) == ("mine", False)
    assert built["recipe"]["summary"] == "a recipe of my own"
    asked = ("check", *own, "--variants", "mine", "--gold", "gold.jsonl")
    (checked,) = home.data(*asked, pinned=True)["variants"]
    assert (checked["variant"], checked["passed"], checked["hit_at_1"]) == ("mine", True, 1.0)
    expected = home.data("predict", TEXT, *own, "--variant", "mine")
    assert (expected["variant"], expected["results"][0]["token"]) == ("mine", "上")
    port = free_port()
    process = home.start("serve", *own, "--variant", "mine", "--port", str(port))
    try:
        wait_ready(f"http://127.0.0.1:{port}/health/ready", process)
        given = ask(f"http://127.0.0.1:{port}/predict", {"text": TEXT})
        assert given["variant"] == "mine"
        assert [entry["token"] for entry in given["results"]] == [
            entry["token"] for entry in expected["results"]
        ]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)
    # The environment names the folder as well; without either the name is unknown.
    home.environment["TIANKONG_RECIPES"] = "recipes"
    assert home.data("predict", TEXT, *MODEL, "--variant", "mine") == expected
    del home.environment["TIANKONG_RECIPES"]
    assert "unknown variant 'mine'" in home.refuses("predict", TEXT, *MODEL, "--variant", "mine")


def test_a_changed_recipe_asks_for_the_command_that_builds_it_again(home: Any) -> None:
    own = (*MODEL, "--recipes", "recipes")
    home.data("build", *own, "--variants", "mine")
    recipe = home.home / "recipes" / "mine.toml"
    recipe.write_text(MINE.replace("my own", "my very own"), encoding="utf-8")
    line = home.refuses("predict", TEXT, *own, "--variant", "mine")
    command = "build --model builtin-small --variants mine --recipes recipes"
    assert f"run 'tiankong {command}'" in line
    assert home.data(*command.split())["variants"][0]["skipped"] is False
    assert home.data("predict", TEXT, *own, "--variant", "mine")["variant"] == "mine"


@pytest.mark.parametrize(
    "command",
    [
        ("build",), ("check",), ("predict", TEXT), ("serve",), ("sweep",), ("bench",),
        ("compare", "onnx-int8"), ("explain", "onnx-int8"), ("tune", "mine", "--slo", "p95=9ms"),
        ("capacity", "onnx-int8", "--slo", "p95=9ms"), ("bundle", "onnx-int8", "new"),
        ("export", "--triton", "new"),
    ],
)  # fmt: skip
def test_every_command_refuses_a_name_that_is_taken(home: Any, command: tuple[str, ...]) -> None:
    shipped: Path = FOLDER / "onnx-int8.toml"
    (home.home / "recipes" / shipped.name).write_bytes(shipped.read_bytes())
    line = home.refuses(*command, *MODEL, "--recipes", "recipes")
    assert line == (
        "tiankong: --recipes recipes: the name onnx-int8 is a shipped recipe's: choose another"
    )
