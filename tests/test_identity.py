"""The digest says which model a variant is of, never a name or a path: at every command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_endpoint import save_tiny_model
from retrained import TEXT, answers_of, assert_answers, retrain

import tiankong
from tiankong.__main__ import main
from tiankong.toolkit.building.availability import Choice
from tiankong.toolkit.building.folders import variant_folder
from tiankong.toolkit.building.manifest import read_manifest
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.models.source import source_digests

VARIANT = "pytorch-fp32"
Said = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model's folder, to be copied."""
    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def onnx_fp32(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tiny model's variant onnx-fp32."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIANKONG_ARTIFACTS", str(tmp_path_factory.mktemp("artifacts")))
        (built,) = Store(str(tiny)).get(["onnx-fp32"])
        yield built.folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which the commands run."""
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.chdir(tmp_path)
    gold = {"id": "1", "category": "poem", "text": TEXT, "answer": "上"}
    (tmp_path / "gold.jsonl").write_text(json.dumps(gold), encoding="utf-8")
    return tmp_path


@pytest.fixture
def run(place: Path, capfd: pytest.CaptureFixture[str]) -> Said:
    """Run a command; return its exit code, its output and what it said on standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(words)
        return code, *capfd.readouterr()

    return run


def predict(model: str, *more: str) -> tuple[str, ...]:
    return ("predict", TEXT, "--model", model, "--variant", VARIANT, *more)


@pytest.mark.parametrize(
    "names", [("模型v1", "别的v1"), ("a/model", "b/model"), ("v 1", "v-1"), ("甲", "乙")]
)
def test_two_models_keep_their_own_answers(
    names: tuple[str, str], tiny: Path, place: Path, run: Said
) -> None:
    for seed, name in enumerate(names):
        shutil.copytree(tiny, place / name)
        retrain(place / name, seed)
        assert run("build", "--model", f"./{name}", "--variants", VARIANT)[0] == 0
    for name in names:
        code, printed, said = run(*predict(f"./{name}"))
        assert (code, said) == (0, "")  # nothing is built again
        assert_answers(printed, place / name)


def test_other_weights_in_the_same_folder_are_seen(tiny: Path, place: Path, run: Said) -> None:
    shutil.copytree(tiny, place / "模型")
    gold = ("--model", "模型", "--gold", "gold.jsonl")
    _, printed, _ = run(*predict("模型"))
    assert_answers(printed, place / "模型")
    retrain(place / "模型", 1)
    _, printed, said = run(*predict("模型"))
    assert f"{VARIANT} was made of another model.safetensors: building anew" in said
    assert_answers(printed, place / "模型")
    run("check", *gold, "--variants", "onnx-fp32")
    retrain(place / "模型", 2)
    _, _, said = run("check", *gold, "--variants", "onnx-fp32", "--json")
    assert "onnx-fp32 was made of another model.safetensors" in said
    assert f"{VARIANT} was made of another" in said  # the reference
    for name in ("onnx-fp32", VARIANT):
        manifest = read_manifest(variant_folder("模型", name))
        assert manifest.sources == source_digests(place / "模型")
    assert run("check", *gold, "--variants", "onnx-fp32")[2].count("anew") == 0


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("vocab.txt", lambda text: text.replace("上\n霜", "霜\n上")),
        ("config.json", lambda text: text.replace('"gelu"', '"relu"')),
        ("special_tokens_map.json", lambda text: '{"mask_token": "[MASK]"}'),
    ],
)
def test_configuration_and_tokenizer_count_as_weights_do(
    name: str, change: Callable[[str], str], tiny: Path, place: Path, run: Said
) -> None:
    shutil.copytree(tiny, place / "m")
    run("build", "--model", "./m", "--variants", VARIANT)
    path = place / "m" / name
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    assert change(before) != before
    path.write_text(change(before), encoding="utf-8")
    _, printed, said = run(*predict("./m"))
    assert f"{VARIANT} was made of another {name}: building anew" in said
    assert_answers(printed, place / "m")


@pytest.mark.parametrize(
    "command",
    [
        "check --gold gold.jsonl --variants onnx-fp32",
        "serve --variant onnx-fp32",
        "serve --variant onnx-fp32 --stack article",
        "sweep --gold gold.jsonl --plan smoke --variants onnx-fp32",
        "compare onnx-fp32 onnx-fp32 --gold gold.jsonl",
        "capacity onnx-fp32 --slo p95=100ms --gold gold.jsonl",
        "tune onnx-fp32 --slo p95=100ms --gold gold.jsonl",
        "explain onnx-fp32 --lengths 8 --batches 1 --gold gold.jsonl",
        "export --triton repository --variants onnx-fp32",
        "bundle onnx-fp32 deployment",
    ],
)
def test_no_command_uses_what_was_made_of_other_weights(
    command: str, tiny: Path, onnx_fp32: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny, place / "m")
    shutil.copytree(onnx_fp32, variant_folder("./m", "onnx-fp32"))
    retrain(place / "m", 1)
    built: list[tuple[str, ...]] = []

    def noted(self: Store, choice: Choice, commit: str | None) -> None:
        built.append(tuple(choice.names))
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "_build_chosen", noted)
    assert main([*command.split(), "--model", "./m"]) == 130
    assert "onnx-fp32" in built[0]


def test_from_python_too(tiny: Path, place: Path) -> None:
    shutil.copytree(tiny, place / "m")
    for seed in (1, 2):
        retrain(place / "m", seed)
        ((ranking,),) = tiankong.open_predictor(VARIANT, "./m").predict([TEXT])
        assert ranking[0].token == answers_of(place / "m")[0][0]
        assert ranking[0].score == pytest.approx(answers_of(place / "m")[0][1], abs=1e-4)


def test_without_the_folder_its_variants_go_on(tiny: Path, place: Path, run: Said) -> None:
    shutil.copytree(tiny, place / "org" / "m")
    _, first, _ = run(*predict("org/m"))
    (place / "org" / "m" / "model.safetensors").unlink()
    assert run(*predict("org/m"))[1] == first
    shutil.move(place / "org" / "m", place / "elsewhere")
    code, again, said = run(*predict("org/m"))
    assert (code, again) == (0, first)
    assert f"org/m has no weights any more: going on with {VARIANT}" in said
    code, _, said = run("predict", TEXT, "--model", "./org/m", "--variant", "onnx-fp32")
    assert code == 2
    assert "is no folder" in said
    shutil.move(place / "elsewhere", place / "org" / "m")
    (place / "org" / "m" / "config.json").write_text("{}", encoding="utf-8")
    code, _, said = run(*predict("org/m"))
    assert code == 2
    assert "the weights are gone: put the model back" in said


def test_variants_made_before_are_used_if_nothing_changed(
    tiny: Path, place: Path, run: Said
) -> None:
    shutil.copytree(tiny, place / "m")
    run("build", "--model", "./m", "--variants", VARIANT)
    folder = place / "artifacts" / "variants" / "m" / VARIANT
    shutil.move(variant_folder("./m", VARIANT), folder)
    shutil.rmtree(place / "artifacts" / "variants" / "m@", ignore_errors=True)
    for path in (place / "artifacts" / "variants").glob("m@*"):
        path.rmdir()
    data = json.loads((folder / "variant.json").read_text(encoding="utf-8"))
    del data["sources"]  # as manifests were
    data["built"] = "2100-01-01T00:00:00+00:00"
    (folder / "variant.json").write_text(json.dumps(data), encoding="utf-8")
    assert run(*predict("./m"))[2] == ""
    data["built"] = "2000-01-01T00:00:00+00:00"  # files have changed since, perhaps
    (folder / "variant.json").write_text(json.dumps(data), encoding="utf-8")
    assert "was made of other files: building anew" in run(*predict("./m"))[2]
    assert open_variant(folder).name == VARIANT


def test_digests_are_computed_once(
    tiny: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tiankong.toolkit.models import source

    shutil.copytree(tiny, place / "m")
    hashed: list[str] = []

    def noted(path: Path) -> str:
        hashed.append(path.name)
        return sha256(path)

    sha256 = source.sha256
    monkeypatch.setattr(source, "sha256", noted)
    monkeypatch.setattr(source, "SETTLED", 0)
    first = source_digests(place / "m")
    assert sorted(hashed) == sorted(first)
    hashed.clear()
    assert source_digests(place / "m") == first
    assert hashed == []
    retrain(place / "m", 3)  # the size and the time of the content are as before
    assert source_digests(place / "m") != first
    assert hashed == ["model.safetensors"]
