"""What the commands print: models, check, predict, and predict's answers over HTTP."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from over_http import ask, free_port, wait_ready

from tiankong.toolkit.building.availability import choose

CHOICE = choose()
VARIANTS = CHOICE.names
MODEL = ("--model", "builtin-small")
ARTICLE = {
    "床前明月光,疑是地[MASK]霜。": "上",
    "今天天气真[MASK]啊,适合出去玩。": "好",
    "他做事总是半[MASK]而废。": "途",
}


def test_models_has_the_built_in_ones(tool: Any) -> None:
    found = {entry["name"]: entry for entry in tool.data("models")["models"]}
    assert {"builtin", "builtin-6layer", "builtin-small"} <= set(found)
    half = found["builtin-6layer"]
    assert (half["layers"], half["hidden"], half["vocabulary"]) == (6, 768, 21128)
    base = found["builtin"]
    assert (base["layers"], base["hidden"], base["heads"]) == (12, 768, 12)
    assert base["vocabulary"] == 21128
    assert base["parameters"] == pytest.approx(102e6, rel=0.02)
    lines = tool.run("models").stdout.splitlines()
    assert len(lines) == len(found)


def test_check_has_the_promised_shape(checked: Any) -> None:
    assert {"model", "gold", "variants"} <= set(checked)
    assert checked["skipped"] == CHOICE.skipped_json()
    assert checked["model"] == "builtin-small"
    assert [entry["variant"] for entry in checked["variants"]] == VARIANTS
    for entry in checked["variants"]:
        assert isinstance(entry["passed"], bool)
        assert entry["passed"] == (entry["reasons"] == [])
        for share in ("hit_at_1", "hit_at_5", "top1_agreement"):
            assert 0 <= entry[share] <= 1
        flips = round((1 - entry["top1_agreement"]) * checked["items"])
        assert len(entry["flipped"]) == flips


def test_the_reference_knows_the_gold_set(checked: Any) -> None:
    reference = checked["variants"][0]
    assert reference["variant"] == "pytorch-fp32"
    assert reference["passed"]
    assert reference["hit_at_1"] >= 0.9
    assert reference["hit_at_5"] >= 0.97
    assert reference["top1_agreement"] == 1.0


def test_every_variant_keeps_its_promise(checked: Any) -> None:
    assert {e["variant"]: e["reasons"] for e in checked["variants"] if e["reasons"]} == {}


def test_sentences_never_seen_in_training(tool: Any) -> None:
    asked = ("--variants", "pytorch-fp32", "--gold", "heldout")
    found = tool.data("check", *MODEL, *asked, pinned=True)
    (entry,) = found["variants"]
    assert found["gold"] == "heldout.jsonl"
    assert entry["hit_at_1"] >= 0.6


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_articles_sentences(tool: Any, variant: str) -> None:
    texts = ARTICLE if variant == "onnx-int8" else dict([next(iter(ARTICLE.items()))])
    for text, answer in texts.items():
        found = tool.data("predict", text, *MODEL, "--variant", variant)
        assert found["results"][0]["token"] == answer
        assert len(found["results"]) == 5
        assert found["masks"] == [found["results"]]
        assert found["variant"] == variant
        scores = [entry["score"] for entry in found["results"]]
        assert scores == sorted(scores, reverse=True)


def test_predict_for_a_reader(tool: Any) -> None:
    ran = tool.run("predict", "地[MASK][MASK]。", *MODEL, "--top-k", "2")
    lines = ran.stdout.splitlines()
    assert [lines[0], lines[3]] == ["[MASK] 1", "[MASK] 2"]
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("stack", "ready", "stop"),
    [
        ("reference", "/health/ready", signal.SIGTERM),
        ("reference", "/health/ready", signal.SIGINT),
        ("article", "/health", signal.SIGKILL),
    ],
)
def test_both_stacks_answer_as_predict_does(
    tool: Any, stack: str, ready: str, stop: signal.Signals
) -> None:
    text = next(iter(ARTICLE))
    expected = tool.data("predict", text, *MODEL)["results"]
    port = free_port()
    process = tool.start("serve", *MODEL, "--port", str(port), "--stack", stack)
    try:
        wait_ready(f"http://127.0.0.1:{port}{ready}", process)
        given = ask(f"http://127.0.0.1:{port}/predict", {"text": text})["results"]
        assert [entry["token"] for entry in given] == [entry["token"] for entry in expected]
        assert [entry["score"] for entry in given] == pytest.approx(
            [entry["score"] for entry in expected], abs=1e-4
        )
        if stack == "reference":  # how Gunicorn ends its workers is not ours to promise
            process.send_signal(stop)
            _, err = process.communicate(timeout=30)
            assert process.returncode == 0, err
            assert "Traceback" not in err
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # a worker left over would hold the pipes open
        process.communicate()


def test_two_homes_do_not_meet(own_tool: Any, tool: Any) -> None:
    mine = own_tool("onnx-int8")
    assert mine.artifacts != tool.artifacts
    assert isinstance(mine.artifacts, Path)
    assert mine.data("predict", "真[MASK]啊", *MODEL)["variant"] == "onnx-int8"


def test_a_variant_that_answers_otherwise_than_the_gate_saw_is_not_served(own_tool: Any) -> None:
    mine = own_tool("onnx-int8")
    manifest = mine.artifacts / "variants" / "builtin-small" / "onnx-int8" / "variant.json"
    data = json.loads(manifest.read_text(encoding="utf-8"))
    results = [{"token": "下", "score": 0.97}, {"token": "上", "score": 0.01}]
    data["gate"] = {"expected": {"text": next(iter(ARTICLE)), "results": results}}
    manifest.write_text(json.dumps(data), encoding="utf-8")
    line = mine.refuses("serve", *MODEL, "--port", "0")
    assert "cannot be served: the warm-up failed" in line
    assert "the gate saw 下 0.970" in line


def test_a_file_of_keys_that_is_of_no_use_is_said_before_the_model_loads(
    tool: Any, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("short\n")
    assert "line 1" in tool.refuses("serve", *MODEL, "--port", "0", "--api-key-file", str(keys))
