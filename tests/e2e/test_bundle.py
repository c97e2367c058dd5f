"""``tiankong bundle``: its files are valid by the published schemas, and a server starts from them.

No container is built or run here: that needs a container engine.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tiankong.bench.proof.bundled import Stranger, prove, stranger
from tiankong.toolkit.building.manifest import read_manifest
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.telemetry import SWITCHES

yaml = pytest.importorskip("yaml")
MODEL = ("--model", "builtin-small")
IMAGE = "registry.example/填空:1"
MEASURED = re.compile(r"measured here on \d{4}-\d\d-\d\d with \d+ cores?: (\d+) MiB")


@pytest.fixture(scope="module")
def who(tool: Any) -> Iterator[Stranger]:
    """An unprivileged user whose home has a bundle."""
    try:
        with stranger() as somebody:
            somebody.base_python()
            ran = tool.run("bundle", "onnx-int8", str(somebody.bundle), *MODEL, "--max-batch", "4",
                           "--replicas", "3", "--image", IMAGE, "--cores", "1")  # fmt: skip
            assert ran.returncode == 0, ran.stderr
            yield somebody
    except UnusableInputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def folder(who: Stranger) -> Path:
    return who.bundle


def manifest(folder: Path, name: str) -> Any:
    return yaml.safe_load((folder / "kubernetes" / f"{name}.yaml").read_text(encoding="utf-8"))


def test_the_variant_is_whole_and_readable_by_all(folder: Path) -> None:
    read_manifest(folder / "variant").verify(folder / "variant")
    modes = {p.is_dir(): p.stat().st_mode & 0o777 for p in (folder, *folder.rglob("*"))}
    assert modes == {True: 0o755, False: 0o644}


def test_requirements_name_everything_by_hash_and_no_index(folder: Path) -> None:
    text = (folder / "requirements.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([\w.-]+)==(\S+) \\\n    --hash=sha256:([0-9a-f]{64})$", text, re.M)
    assert {"onnxruntime", "starlette", "tokenizers", "numpy", "tiankong"} <= {p[0] for p in pins}
    assert not {"torch", "transformers", "openvino", "onnx", "locust"} & {p[0] for p in pins}
    (wheel,) = (folder / "wheels").iterdir()
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert digest in [sha256 for name, _, sha256 in pins if name == "tiankong"]
    rest = re.sub(r"^[\w.-]+==.*\n    --hash.*$", "", text, flags=re.M)
    lines = [line for line in rest.splitlines() if line and not line.startswith("#")]
    assert lines == ["--only-binary :all:", "--find-links wheels"]
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix not in (".whl", ".onnx", ".json"):
            addresses = re.findall(r"\w+://[^/\s:]+", path.read_text(encoding="utf-8"))
            assert set(addresses) <= {"http://127.0.0.1", "file://"}, path


def test_the_dockerfile_is_sound(folder: Path) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.exists():
        pytest.skip("hadolint is not installed")
    ran = subprocess.run([hadolint, "--format=json", folder / "Dockerfile"], capture_output=True)
    assert (ran.returncode, json.loads(ran.stdout)) == (0, [])


def test_the_dockerfile_copies_what_is_there(folder: Path) -> None:
    text = (folder / "Dockerfile").read_text(encoding="utf-8")
    sources = re.findall(r"^COPY (?!--from)(\S+) \S+$", text, re.M)
    assert sources == ["requirements.txt", "wheels/", "variant/"]
    ignored = (folder / ".dockerignore").read_text().split()
    assert ignored == ["*", *(f"!{source.rstrip('/')}" for source in sources)]
    assert all((folder / source).exists() for source in sources)
    command = json.loads(re.findall(r"^CMD (\[.*\])$", text, re.M)[-1])
    assert command[-1] == "--max-batch=4"
    assert command[:3] == ["python", "-m", "tiankong.server"]
    version = ".".join(map(str, sys.version_info[:2]))
    assert re.search(rf"^ARG PYTHON=python:{version}-slim-\w+$", text, re.M)
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", text, re.M)


def test_the_libraries_send_nothing_there_either(folder: Path) -> None:
    switches = {f"{name}={value}" for name, value in SWITCHES.items()}
    dockerfile = (folder / "Dockerfile").read_text(encoding="utf-8")
    last = dockerfile.rpartition("\nFROM ")[2]
    assert switches <= set(re.findall(r"[A-Z_]+=[01]", last))
    unit = (folder / "tiankong.service").read_text(encoding="utf-8")
    set_there = [line for line in unit.splitlines() if line.startswith("Environment=")]
    assert switches <= set(" ".join(set_there).replace("Environment=", "").split())


def test_the_compose_file_keeps_to_the_published_schema(folder: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    if find_spec("check_jsonschema") is None:
        pytest.skip("check-jsonschema, which brings the schema, is not installed")
    place = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(place.read_text(encoding="utf-8"))
    given = yaml.safe_load((folder / "compose.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(given, schema)
    (service,) = given["services"].values()
    assert service["image"] == IMAGE
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["ports"] == ["127.0.0.1:8080:8080"]
    spoilt = given | {"services": {"a": service | {"cap_dropp": ["ALL"]}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spoilt, schema)


def test_the_manifests_keep_to_the_published_schemas(folder: Path) -> None:
    kubernetes = pytest.importorskip("kubernetes_validate")
    names = ("deployment", "service", "autoscaler")
    assert sorted(p.stem for p in (folder / "kubernetes").iterdir()) == sorted(names)
    for name in names:
        given = manifest(folder, name)
        for version in ("1.29", kubernetes.latest_version()):
            kubernetes.validate(given, version, strict=True)
        with pytest.raises(kubernetes.ValidationError):
            kubernetes.validate(given | {"spek": {}}, kubernetes.latest_version(), strict=True)


def test_the_manifests_belong_together(folder: Path) -> None:
    deployment, service, scaler = (
        manifest(folder, name)["spec"] for name in ("deployment", "service", "autoscaler")
    )
    pod = deployment["template"]
    labels = pod["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"].items() <= labels.items()
    assert service["selector"].items() <= labels.items()
    assert scaler["scaleTargetRef"]["name"] == manifest(folder, "deployment")["metadata"]["name"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 8)
    (container,) = pod["spec"]["containers"]
    assert container["image"] == IMAGE
    assert [port["name"] for port in container["ports"]] == [service["ports"][0]["targetPort"]]
    probed = {name for name in container if name.endswith("Probe")}
    assert probed == {"startupProbe", "readinessProbe", "livenessProbe"}
    assert pod["spec"]["terminationGracePeriodSeconds"] > 30 + 5


def test_what_is_asked_for_is_what_was_measured(folder: Path) -> None:
    text = (folder / "kubernetes" / "deployment.yaml").read_text(encoding="utf-8")
    resident, peak = map(int, MEASURED.findall(text))
    (container,) = manifest(folder, "deployment")["spec"]["template"]["spec"]["containers"]
    asked = container["resources"]
    request, limit = (int(asked[k]["memory"].removesuffix("Mi")) for k in ("requests", "limits"))
    assert 40 < resident <= peak < 1000
    assert resident < request < 1.5 * resident
    assert peak < limit < 1.5 * peak
    assert request <= limit
    assert asked["requests"]["cpu"] == asked["limits"]["cpu"] == 1  # --cores
    assert f"MemoryMax={limit}M" in (folder / "tiankong.service").read_text()
    assert f"{resident} MiB" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_the_unit_is_sound(folder: Path, tmp_path: Path) -> None:
    text = (folder / "tiankong.service").read_text(encoding="utf-8")
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(shutil.which("env") or "/usr/bin/env")
    unit = tmp_path / "tiankong.service"

    def verify(text: str) -> str:
        unit.write_text(text.replace("/opt/tiankong", str(tmp_path)), encoding="utf-8")
        ran = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
        return ran.stderr

    assert "tiankong.service" not in verify(text)
    assert "tiankong.service" in verify(text.replace("NoNewPrivileges", "NoNewPrivilege"))


def test_it_is_refused_before_anything_is_measured(tool: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = tool.refuses("bundle", "onnx-int8", str(tmp_path), *MODEL)
    assert "not empty" in refused
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert "cannot be measured" in tool.refuses("bundle", "onnx-int8", str(tmp_path / "new"),
                                                *MODEL, "--cores", "4096")  # fmt: skip


def test_without_an_index_there_is_no_half_bundle(
    own_tool: Callable[..., Any], tmp_path: Path
) -> None:
    tool = own_tool("onnx-int8")
    tool.environment |= {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    ran = tool.run("bundle", "onnx-int8", str(tmp_path / "new"), *MODEL)
    assert ran.returncode == 2, ran.stderr
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("tiankong: pip cannot resolve what serving needs: ")
    assert [path.name for path in tmp_path.iterdir()] == ["artifacts"]


# Last: the bundle is unwritable afterwards.
def test_somebody_without_rights_serves_from_it(who: Stranger) -> None:
    proof = prove(who)
    assert proof.differing == ()
    assert proof.asked == 365
    assert proof.start_seconds > 0
    assert proof.environment < 330e6
    assert proof.resident < 400e6
