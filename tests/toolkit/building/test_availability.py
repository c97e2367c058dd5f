"""An impossible recipe is skipped with one line, or an error if it was named."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tiankong.toolkit.building import availability, recipes
from tiankong.toolkit.building.availability import (
    BF16,
    CUDA,
    LESS_TO_READ,
    SUITABLE,
    Skipped,
    choose,
    require,
    suited,
    why_not,
)
from tiankong.toolkit.building.recipes import Recipe
from tiankong.toolkit.engines.kinds import OPENVINO
from tiankong.toolkit.errors import UnusableInputError


def made(**changes: str) -> Recipe:
    data: dict[str, Any] = {"name": "mine", "summary": "x", "engine": "pytorch", "file": "f"}
    data |= changes
    if data["engine"] == "openvino":
        data["steps"] = list(OPENVINO.first_steps)
    return Recipe.from_json(data, "x")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without OpenVINO, bfloat16 instructions and CUDA driver."""

    def no_driver(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(availability, "find_spec", lambda _: None)
    monkeypatch.setattr(availability, "fingerprint", lambda: {"isa": ["avx2", "avx512_vnni"]})
    monkeypatch.setattr(availability.ctypes, "CDLL", no_driver)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        (made(), None),
        (
            made(engine="openvino", file="o/m.xml"),
            "needs openvino: pip install 'tiankong[openvino]'",
        ),
        (made(precision="bf16"), BF16),
        (made(precision="fp16", device="cuda"), CUDA),
        # A graphics card has bfloat16 whatever the CPU has.
        (made(precision="bf16", device="cuda"), CUDA),
    ],
)
def test_the_reason(recipe: Recipe, why: str | None) -> None:
    assert why_not(recipe) == why


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16"])
def test_either_instruction_set_does(monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    monkeypatch.setattr(availability, "fingerprint", lambda: {"isa": ["avx2", flag]})
    assert why_not(made(precision="bf16")) is None


def test_cuda_is_what_pytorch_says() -> None:
    import torch

    why = why_not(made(device="cuda"))
    assert (why is None) == torch.cuda.is_available()
    assert why is None or why.startswith("needs CUDA")


@pytest.fixture
def with_cuda_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(recipes.FOLDER, tmp_path / "variants")
    monkeypatch.setattr(recipes, "FOLDER", folder)
    (folder / "on-card.toml").write_text(
        'name = "on-card"\nsummary = "x"\nengine = "pytorch"\nfile = "f"\n'
        'device = "cuda"\nprecision = "fp16"\n',
        encoding="utf-8",
    )


@pytest.mark.usefixtures("bare", "with_cuda_recipe")
def test_of_all_what_cannot_be_here_is_left_out_with_one_line_each(
    capsys: pytest.CaptureFixture[str],
) -> None:
    choice = choose()
    assert {"variant": "on-card", "why": CUDA} in choice.skipped_json()
    assert "on-card" not in choice.names
    assert {"pytorch-fp32", "onnx-fp32", "onnx-int8"} <= set(choice.names)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines().count("skipped: on-card needs CUDA") == 1
    assert len(err.splitlines()) == len(choice.skipped)


@pytest.mark.usefixtures("bare", "with_cuda_recipe")
def test_a_named_one_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnusableInputError, match=r"^on-card needs CUDA$") as caught:
        choose(["onnx-int8", "on-card"])
    assert caught.value.exit_code == 2
    assert capsys.readouterr().err == ""
    assert choose(["onnx-int8"]).names == ["onnx-int8"]


@pytest.mark.usefixtures("bare")
def test_require_names_the_variant() -> None:
    with pytest.raises(UnusableInputError, match=r"^mine needs openvino: pip install"):
        require(made(engine="openvino", file="o/m.xml"))


@pytest.mark.parametrize(
    ("isa", "int8", "bf16"),
    [
        # AMX (Sapphire Rapids), AVX-512 with BF16 (Zen 4), with VNNI alone (Ice Lake), a client's
        # AVX-VNNI, AVX2 (Zen 3), an ARM with and without 8-bit matrix products.
        (["avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"], "amx_int8", "amx_bf16"),
        (["avx2", "avx512_vnni", "avx512_bf16"], "avx512_vnni", "avx512_bf16"),
        (["avx2", "avx512_vnni"], "avx512_vnni", None),
        (["avx2", "avx_vnni"], "avx_vnni", None),
        (["avx2"], None, None),
        (["asimddp", "i8mm", "bf16"], "i8mm", None),
        ([], None, None),
    ],
)
def test_what_suits_a_cpu(isa: list[str], int8: str | None, bf16: str | None) -> None:
    those = suited(isa)
    why = f"8-bit products ({int8})" if int8 else LESS_TO_READ
    expected = {"onnx-int8": why, "openvino-int8": why}
    if bf16:
        expected["openvino-bf16"] = f"products in bfloat16 ({bf16})"
    assert those.reasons == expected
    assert those.others == (() if bf16 else (Skipped("openvino-bf16", BF16),))
    assert those.expand(["a", "@suited", "onnx-int8", "b"]) == ("a", *expected, "b")


def test_what_may_suit_is_shipped_and_needs_what_the_recipe_needs() -> None:
    for entry in SUITABLE:
        (recipe,) = recipes.read_recipes([entry.variant])
        assert (recipe.precision == "bf16") == (entry.without == BF16)
        assert recipe.device == "cpu"


def test_no_recipe_can_have_the_name_of_the_word() -> None:
    with pytest.raises(UnusableInputError, match="name '@suited' is not like"):
        made(name="@suited")
