"""An engine from another package: its variant is built, gated, asked and served like ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tiankong.bench.serving.served import serve
from tiankong.bench.sweep.ground import Ground, new_header
from tiankong.server.bundle.lock import serving
from tiankong.server.settings import Settings
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.building.triton import require_backend
from tiankong.toolkit.engines.kinds import KINDS, all_kinds
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.gate.examination import gate
from tiankong.toolkit.gate.gold import BUILTIN, read_gold

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

pytestmark = pytest.mark.skipif(
    not (find_spec("pip") and find_spec("setuptools")), reason="pip installs the package"
)
PACKAGE = Path(__file__).parent / "plugin_package"
MODEL = "builtin-small"
RECIPES = PACKAGE / "recipes"
STORE = Store(MODEL, own_recipes=RECIPES)
TEXT = "床前明月光,疑是地[MASK]霜。"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip has installed the package."""
    source = shutil.copytree(PACKAGE, tmp_path_factory.mktemp("source") / "package")
    target = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-index", "--disable-pip-version-check", "--target", str(target), str(source)],
        check=True,
    )  # fmt: skip
    return target


@pytest.fixture(scope="module")
def artifacts(small_variants: dict[str, Built], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifacts folder with only the reference variant."""
    folder = tmp_path_factory.mktemp("artifacts")
    reference = small_variants["pytorch-fp32"].folder
    shutil.copytree(reference, folder / "variants" / MODEL / reference.name)
    return folder


@pytest.fixture(scope="module")
def variant(installed: Path, artifacts: Path) -> Built:
    """The variant of the package's engine, made from a recipe that comes with the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(installed)
        patch.setenv("TIANKONG_ARTIFACTS", str(artifacts))
        (built,) = STORE.get(["numpy-fp32"])
        return built


@pytest.fixture(autouse=True)
def at_home(installed: Path, artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(installed)
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(artifacts))


def test_it_is_an_engine_among_ours() -> None:
    assert list(all_kinds()) == [*KINDS, "numpy-bert"]


def test_it_keeps_its_promises(variant: Built, tmp_path: Path) -> None:
    lines = BUILTIN.read_text(encoding="utf-8").splitlines(keepends=True)
    short = tmp_path / "short.jsonl"
    short.write_text("".join(lines[::20]), encoding="utf-8")
    (result,) = gate(STORE, [variant], read_gold(short)).checks
    assert (result.variant, result.passed, result.reasons) == ("numpy-fp32", True, [])


def test_the_command_line_and_the_server_give_its_answer(variant: Built, installed: Path) -> None:
    path = {"PYTHONPATH": os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "tiankong", "predict", TEXT, "--json", "--model", MODEL]
    command += ["--variant", "numpy-fp32", "--recipes", str(RECIPES)]
    printed = subprocess.run(command, capture_output=True, check=True, env=os.environ | path)
    with serve("reference", Settings(folder=variant.folder), variables=path) as server:
        body = json.dumps({"text": TEXT}).encode()
        request = urllib.request.Request(f"{server.url}/predict", body)
        with urllib.request.urlopen(request) as response:
            served = json.load(response)["results"]
    predicted = json.loads(printed.stdout)["results"]
    assert [entry["token"] for entry in served] == [entry["token"] for entry in predicted]
    assert served[0]["token"] == "上"


def test_a_run_and_a_manifest_carry_the_version_of_its_package(variant: Built) -> None:
    ground = Ground({"numpy-fp32": variant}, {}, read_gold())
    header = new_header("sweep", {}, ground)
    assert header.versions["tiankong-numpy-bert"] == "1.0"
    assert variant.manifest.versions["tiankong-numpy-bert"] == "1.0"


def test_what_it_does_not_offer_is_said(variant: Built) -> None:
    with pytest.raises(UnusableInputError, match="not exported for Triton: name variants of onnx"):
        require_backend(variant)
    with pytest.raises(UnusableInputError, match="only ONNX Runtime's threads can spin"):
        open_variant(variant.folder, spin=True)


def test_a_bundle_of_it_pins_its_package(variant: Built) -> None:
    declared = ['starlette==1; extra == "serve"', 'onnxruntime==1; extra == "serve"']
    wanted = ["starlette==1", "tiankong-numpy-bert==1.0"]
    safetensors = f"safetensors=={metadata.version('safetensors')}"
    assert serving(declared, "numpy-bert") == sorted([safetensors, *wanted])


def test_where_the_package_is_not_installed_the_variant_is_refused(variant: Built) -> None:
    code = "import sys; from tiankong.server.__main__ import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "--variant-dir", str(variant.folder), "--port", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "unknown engine 'numpy-bert'; known: pytorch, onnxruntime, openvino" in done.stderr
    assert len(done.stderr.splitlines()) == 1
