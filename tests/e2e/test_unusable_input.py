"""Input that cannot be used: one clear line, no traceback, the promised exit code."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tiankong.toolkit.building import recipes
from tiankong.toolkit.building.availability import why_not
from tiankong.toolkit.building.manifest import read_manifest, record_files, write_manifest
from tiankong.toolkit.building.recipes import FOLDER, read_recipes
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.gate.gold import BUILTIN

MODEL = ("--model", "builtin-small")
INT8 = ("--variants", "onnx-int8")
TEXT = "今天天气真[MASK]啊。"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("build", "--model", "no/such-folder/at-all"), "no/such-folder/at-all"),
        (
            ("predict", TEXT, *MODEL, "--variant", "onnx-int9"),
            "unknown variant 'onnx-int9'; known:",
        ),
        (("build", *MODEL, "--variants", "onnx-int8,nope"), "unknown variant 'nope'"),
        (("sweep", *MODEL, "--plan", "nope"), "unknown plan 'nope'; known: full, open"),
        (("bench", *MODEL, "--plan", "nope.toml"), "nope.toml"),
        (("check", *MODEL, "--gold", "nope.jsonl"), "gold file nope.jsonl does not exist"),
        (("predict", "没有空", *MODEL), "the text has no [MASK]"),
        (("predict", "", *MODEL), "the text has no [MASK]"),
        (("predict", "[MASK]" + "好" * 600, *MODEL), "603 tokens, more than 512"),
        (("serve", *MODEL, "--stack", "ray9"), "unknown stack 'ray9'"),
        (("report", "nope.jsonl"), "nope.jsonl cannot be read"),
        (("check", *MODEL, "--variants", ","), "',' names nothing"),
        (("serve", *MODEL, "--stack", "article", "--cache", "5"), "the article's server takes"),
        (("serve", *MODEL, "--stack", "article", "--api-key-file", "keys"), "--api-key-file"),
        (("serve", *MODEL, "--replicas", "2"), "--replicas: only with --stack ray"),
        (("serve", *MODEL, "--stack", "article", "--replicas", "2"), "not --replicas"),
        (("serve", *MODEL, "--stack", "ray", "--replicas", "3", "--max-replicas", "2"), "less"),
        (("tune", "onnx-int8", "--slo", "p95=1", *MODEL), "'p95=1' is no objective"),
        (("tune", "onnx-int8", "--slo", "p95=50ms", "--budget", "soon"), "write 10m or 600s"),
        (("tune", "onnx-int8", "--slo", "p95=50ms", "--budget", "9s", *MODEL), "m or more"),
    ],
)
def test_one_line_and_exit_code_2(tool: Any, arguments: tuple[str, ...], part: str) -> None:
    assert part in tool.refuses(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("build", "--variants", "onnx-int8,pytorch-fp16-cuda"),
        ("check", "--variants", "pytorch-fp16-cuda"),
        ("predict", TEXT, "--variant", "pytorch-fp16-cuda"),
        ("serve", "--variant", "pytorch-fp16-cuda"),
    ],
)
def test_a_variant_that_cannot_be_here(tool: Any, arguments: tuple[str, ...]) -> None:
    (recipe,) = read_recipes(["pytorch-fp16-cuda"])
    if why_not(recipe) is None:
        pytest.skip("there is a CUDA device")
    command, *rest = arguments
    assert "pytorch-fp16-cuda needs CUDA" in tool.refuses(command, *rest, *MODEL)


def test_a_report_of_nothing(own_tool: Any) -> None:
    assert "no run file yet" in own_tool().refuses("report")


@pytest.mark.parametrize(
    "arguments",
    [("predict",), ("nope",), ("serve", "--port", "99999"), ("predict", TEXT, "--top-k", "0")],
)
def test_wrong_usage_ends_with_2(tool: Any, arguments: tuple[str, ...]) -> None:
    ran = tool.run(*arguments)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert "Usage" in ran.stderr


def test_a_broken_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "FOLDER", tmp_path / "variants")
    shutil.copytree(FOLDER, tmp_path / "variants")
    path = tmp_path / "variants" / "onnx-int8.toml"
    good = path.read_text(encoding="utf-8")
    for text, part in [
        ("name = ", "onnx-int8.toml cannot be read"),
        (good.replace('"fuse"', '"melt"'), "unknown step 'melt'"),
        (good.replace("0.97", "97"), "promise.top1_agreement"),
        (good.replace('"onnx-int8"', '"other"'), "its name is 'other'"),
    ]:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(UnusableInputError, match=r"recipe onnx-int8\.toml") as caught:
            read_recipes()
        assert part in str(caught.value)


def test_a_gold_file_with_bad_lines_names_them(tool: Any, tmp_path: Path) -> None:
    first = BUILTIN.read_text(encoding="utf-8").splitlines()[0]
    gold = tmp_path / "mine.jsonl"
    gold.write_text(f"{first}\n{{\n{first}\n[]\n", encoding="utf-8")
    line = tool.refuses("check", *MODEL, *INT8, "--gold", str(gold))
    assert "line 2: not JSON" in line
    assert "line 3: id" in line
    assert "line 4: not a JSON object" in line
    assert "line 1:" not in line


def test_an_empty_gold_file(tool: Any, tmp_path: Path) -> None:
    gold = tmp_path / "empty.jsonl"
    gold.write_text("\n")
    assert "holds no items" in tool.refuses("check", *MODEL, "--gold", str(gold))


def test_a_gold_answer_outside_the_vocabulary(tool: Any, tmp_path: Path) -> None:
    item = {"id": "x1", "category": "mine", "text": TEXT, "answer": "饕餮"}
    gold = tmp_path / "mine.jsonl"
    gold.write_text(json.dumps(item), encoding="utf-8")
    ran = tool.run("check", *MODEL, *INT8, "--gold", str(gold))
    assert ran.returncode == 2
    assert "answer '饕餮' of item x1 is not a token of the model's vocabulary" in ran.stderr


def test_a_port_in_use(tool: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for stack in ("reference", "article"):
            line = tool.refuses("serve", *MODEL, "--port", port, "--stack", stack)
            assert f"127.0.0.1:{port}" in line


def test_a_file_with_one_byte_changed(own_tool: Any) -> None:
    tool = own_tool("onnx-int8", "pytorch-fp32")
    path = tool.variant("onnx-int8") / "onnx" / "model_int8.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    for arguments in [("predict", TEXT), ("serve", "--port", "0"), ("serve", "--stack", "article")]:
        port = ("--port", "0") if arguments[-1] == "article" else ()
        ran = tool.run(*arguments, *port, *MODEL)
        assert ran.returncode != 0
        assert "model_int8.onnx is damaged" in ran.stderr, arguments
    checked = tool.run("check", *MODEL, *INT8)
    assert checked.returncode == 2
    assert "model_int8.onnx is damaged" in checked.stderr
    built = tool.data("build", *MODEL, *INT8)
    assert built["variants"][0]["skipped"] is False
    assert tool.data("predict", TEXT, *MODEL)["results"][0]["token"] == "好"
    assert tool.data("build", *MODEL, *INT8)["variants"][0]["skipped"] is True


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_too_small(tool: Any, tiny_disk: Path) -> None:
    small = type(tool)(tiny_disk)
    line = small.refuses("build", *MODEL)
    assert "MiB of disk" in line
    assert "TIANKONG_ARTIFACTS" in line
    assert list(tiny_disk.iterdir()) == []


def test_a_run_file_that_cannot_be_read(tool: Any, tmp_path: Path, run_file: Path) -> None:
    rubbish = tmp_path / "rubbish.jsonl"
    rubbish.write_text("rubbish\n")
    assert "rubbish.jsonl, line 1:" in tool.refuses("report", str(rubbish))
    header, *cells = run_file.read_text(encoding="utf-8").splitlines(keepends=True)
    rubbish.write_text("".join([header, "{}\n", *cells]), encoding="utf-8")
    assert "rubbish.jsonl, line 2:" in tool.refuses("report", str(rubbish))
    rubbish.write_text(header, encoding="utf-8")
    assert "no cell was measured" in tool.refuses("report", str(rubbish))
    rubbish.write_text("", encoding="utf-8")
    assert "no header" in tool.refuses("report", str(rubbish))
    assert "cannot be read" in tool.refuses("report", str(tmp_path))


def spoil_weights(folder: Path) -> None:
    """Give the variant other biases, and its manifest the digests of what is there now."""
    import numpy as np
    import onnx

    path = folder / "onnx" / "model_int8.onnx"
    model = onnx.load(path)
    random = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 1:
            values = onnx.numpy_helper.to_array(tensor)
            noise = random.normal(size=values.shape).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values + noise, tensor.name))
    onnx.save(model, path)
    manifest = read_manifest(folder)
    write_manifest(folder, replace(manifest, files=record_files(folder)))


def test_a_variant_that_breaks_its_promise(own_tool: Any, tmp_path: Path) -> None:
    tool = own_tool("onnx-int8", "pytorch-fp32")
    spoil_weights(tool.variant("onnx-int8"))
    gold = tmp_path / "short.jsonl"
    items = BUILTIN.read_text(encoding="utf-8").splitlines()[:24]
    gold.write_text("\n".join(items), encoding="utf-8")
    ran = tool.run("check", *MODEL, *INT8, "--gold", str(gold), pinned=True)
    assert ran.returncode == 1
    assert "onnx-int8        FAILED" in ran.stdout
    assert "broken promise: same top-1 as pytorch-fp32 on" in ran.stdout
    assert "tiankong: the gate failed for onnx-int8" in ran.stderr
