from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiankong.server.article import create_app
from tiankong.server.launch import bind, command, environment
from tiankong.server.settings import Settings
from tiankong.toolkit.errors import UnusableInputError

TEXT = "今天气很[MASK]。"


@pytest.fixture
def folder(tmp_path: Path, write_variant: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_variant(tmp_path)
    monkeypatch.setenv("TIANKONG_VARIANT_DIR", str(tmp_path))
    return tmp_path


def test_it_answers_in_the_articles_shape(folder: Path, table: Any, words: Any) -> None:
    client = create_app().test_client()
    response = client.post("/predict", json={"text": TEXT})
    logits = table[words.index("[MASK]")].astype(np.float64)
    scores = np.exp(logits) / np.exp(logits).sum()
    best = np.argsort(-scores)[:5]
    body = response.get_json()
    assert list(body) == ["results"]
    assert [row["token"] for row in body["results"]] == [words[i] for i in best]
    assert [row["score"] for row in body["results"]] == pytest.approx(scores[best], abs=1e-6)
    assert client.get("/health").get_json() == {"status": "ok"}


@pytest.mark.parametrize("body", ["", "{", "[]", "{}", '{"text": 1}', '{"text": "今"}',
                                  '{"text": "\\ud800[MASK]"}'])  # fmt: skip
def test_errors_have_the_articles_key(folder: Path, body: str) -> None:
    client = create_app().test_client()
    response = client.post("/predict", data=body, content_type="application/json")
    assert response.status_code == 400
    assert list(response.get_json()) == ["error"]


def test_it_needs_an_onnx_variant(
    tmp_path: Path, write_variant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIANKONG_VARIANT_DIR", raising=False)
    with pytest.raises(UnusableInputError, match="TIANKONG_VARIANT_DIR"):
        create_app()
    write_variant(tmp_path, engine="pytorch")
    monkeypatch.setenv("TIANKONG_VARIANT_DIR", str(tmp_path))
    with pytest.raises(UnusableInputError, match="no ONNX variant"):
        create_app()


def test_gunicorn_serves_it(folder: Path) -> None:
    with bind(Settings(folder, port=0)) as free:
        settings = Settings(folder, port=free.getsockname()[1])
    process = subprocess.Popen(
        command("article", settings),
        env=os.environ | environment("article", settings),
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{settings.port}"
        end = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
                    assert json.load(response) == {"status": "ok"}
                break
            except urllib.error.URLError:
                assert time.monotonic() < end
                time.sleep(0.1)
        question = urllib.request.Request(
            f"{url}/predict",
            json.dumps({"text": TEXT}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(question, timeout=10) as response:
            assert len(json.load(response)["results"]) == 5
    finally:
        process.terminate()
        assert process.wait(20) == 0
