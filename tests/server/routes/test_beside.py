"""A second variant beside the served one: a model of its own in the Open Inference Protocol."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from starlette.testclient import TestClient

from tiankong.server.__main__ import main
from tiankong.server.launch import require_takes
from tiankong.server.routes.app import create_app
from tiankong.server.settings import Settings, Stack
from tiankong.toolkit.building.manifest import read_manifest, write_manifest
from tiankong.toolkit.engines.predictor import Predictor
from tiankong.toolkit.errors import UnusableInputError

TEXT = "今天气很[MASK]。"
TENSOR = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [TEXT]}


class Shortening(Predictor):
    """Asks without a sentence's first word, so that its answers are others."""

    def answer(self, encoded: Any, *options: Any) -> Any:
        """Return the answers to the shortened sentences."""
        return super().answer([[*ids[:1], *ids[2:]] for ids in encoded], *options)


@pytest.fixture
def both(predictor: Predictor) -> Iterator[TestClient]:
    beside = Shortening("other", predictor.encoder, predictor.engine)
    app = create_app(predictor, Settings(Path("nowhere"), streams=1), beside=beside)
    with TestClient(app) as client:
        yield client


def tokens(client: TestClient, name: str) -> list[str]:
    answer = client.post(f"/v2/models/{name}/infer", json={"inputs": [TENSOR]}).json()
    assert answer["model_name"] == name
    found: list[str] = answer["outputs"][0]["data"]
    return found


def test_each_is_a_model_and_the_first_is_asked_as_ever(both: TestClient) -> None:
    assert both.get("/v2").json()["models"] == ["fake", "other"]
    body = both.post("/predict", json={"text": TEXT}).json()
    assert body["variant"] == "fake"
    assert tokens(both, "fake") == [best["token"] for best in body["results"]]
    assert tokens(both, "other") != tokens(both, "fake")
    for name in ("fake", "other"):
        assert both.get(f"/v2/models/{name}").json()["name"] == name
        assert both.get(f"/v2/models/{name}/ready").json() == {"name": name, "ready": True}
    missing = both.get("/v2/models/third")
    assert missing.status_code == 404
    assert missing.json()["detail"] == "there is no model third here, only fake and other"


def test_alone_it_is_the_only_model(client: TestClient) -> None:
    assert client.get("/v2").json()["models"] == ["fake"]
    assert client.get("/v2/models/other").status_code == 404


def test_while_it_warms_up_or_drains_neither_is_ready(both: TestClient) -> None:
    for service in both.app.state.services.values():  # type: ignore[attr-defined]
        service.drain()
    assert both.get("/v2/models/other/ready").status_code == 503


@contextmanager
def process(*arguments: str) -> Iterator[tuple[str, str]]:
    """Run the real server; yield its address and what it says of the second variant."""
    command = [sys.executable, "-m", "tiankong.server", "--port=0", *arguments]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr
        lines = [server.stderr.readline() for _ in range(3)]
        yield lines[0].split()[-1], lines[2].strip()
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=20)
    assert server.returncode == 0


@pytest.fixture
def folders(tmp_path: Path, write_variant: Callable[..., None]) -> list[Path]:
    made = [tmp_path / "one", tmp_path / "two"]
    for folder in made:
        folder.mkdir()
        write_variant(folder)
    write_manifest(made[1], replace(read_manifest(made[1]), variant="second"))
    return made


def test_a_real_server_opens_both(folders: list[Path]) -> None:
    with process(f"--variant-dir={folders[0]}", f"--beside={folders[1]}") as (url, line):
        assert line == "beside it second: /v2/models/second"
        for name in ("tiny", "second"):
            body = json.dumps({"inputs": [TENSOR]}).encode()
            with urlopen(Request(f"{url}/v2/models/{name}/infer", body), timeout=10) as answer:
                assert json.load(answer)["model_name"] == name
            with urlopen(f"{url}/v2/models/{name}", timeout=10) as answer:
                about = json.load(answer)
            assert about["variant"]["engine"] == "onnxruntime"
            assert about["variant"]["bytes"] == read_manifest(folders[0]).model_file_size


def test_what_cannot_be_served_beside_is_one_line(
    folders: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    place = [f"--variant-dir={folders[0]}", "--port=0", "--no-access-log"]
    assert main([*place, f"--beside={folders[0]}"]) == 2
    assert "--beside names tiny, which is served already" in capsys.readouterr().err
    manifest = read_manifest(folders[1])
    seen = {"text": TEXT, "results": [{"token": "slow", "score": 0.99}]}
    write_manifest(folders[1], replace(manifest, gate={"expected": seen}))
    assert main([*place, f"--beside={folders[1]}"]) == 2
    assert "second cannot be served: the warm-up failed" in capsys.readouterr().err
    (folders[1] / "model.onnx").write_bytes(b"damaged")
    assert main([*place, f"--beside={folders[1]}"]) == 2
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("stack", ["article", "ray"])
def test_only_the_reference_server_has_one(stack: Stack) -> None:
    with pytest.raises(UnusableInputError, match=f"--beside: .* not --stack {stack}"):
        require_takes(stack, Settings(Path("v"), beside=Path("w")))
    require_takes("reference", Settings(Path("v"), beside=Path("w")))
