"""A tiny vocabulary, an engine whose answers are known, and apps and processes that use them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tiankong.server.routes.app import create_app
from tiankong.server.settings import Settings
from tiankong.toolkit.building.manifest import Manifest, record_files, write_manifest
from tiankong.toolkit.building.recipes import Recipe
from tiankong.toolkit.engines.predictor import Engine, Logits, Predictor
from tiankong.toolkit.engines.text import Batch, TextEncoder

WORDS = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"今天气很好坏大小。,上下霜",
    "slow",
    "boom",
    "nan",
)
HERE = Path(__file__).parent


def make_tokenizer() -> Tokenizer:
    """Return a tokenizer in the style of bert-base-chinese with a few words."""
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(list(WORDS[:5]))
    return tokenizer


class FakeEngine(Engine):
    """Scores a token by how near its id is to the sentence's length, so that a mix-up shows.

    A sentence with "slow" takes ``delay`` seconds, and then waits until ``gate`` is open; "boom"
    raises an error; "nan" scores NaN.  ``asked`` counts the sentences.  With a ``shift`` it takes
    sentences for so many tokens longer.
    """

    def __init__(self, delay: float = 0.0, shift: int = 0) -> None:
        self.delay = delay
        self.shift = shift
        self.gate = threading.Event()
        self.gate.set()
        self.asked = 0
        self.sentences_at_once: list[int] = []

    def logits(self, batch: Batch) -> Logits:
        """Return float32 logits of shape (masks, vocabulary)."""
        self.asked += len(batch.input_ids)
        self.sentences_at_once.append(len(batch.input_ids))
        if WORDS.index("slow") in batch.input_ids:
            time.sleep(self.delay)
            self.gate.wait(20)
        if WORDS.index("boom") in batch.input_ids:
            raise RuntimeError("secret of the engine")
        lengths = batch.attention_mask.sum(axis=1)[batch.rows] + self.shift
        near = -np.abs(np.arange(len(WORDS)) - lengths[:, None]).astype(np.float32)
        if WORDS.index("nan") in batch.input_ids:
            near[:] = np.nan
        return near


def make_predictor(engine: FakeEngine, name: str = "fake") -> Predictor:
    """Return a predictor over the tiny vocabulary."""
    return Predictor(name, TextEncoder(make_tokenizer()), engine)


@pytest.fixture
def engine() -> FakeEngine:
    """Return the engine that the other fixtures of this test use."""
    return FakeEngine()


@pytest.fixture
def predictor(engine: FakeEngine) -> Predictor:
    """Return a predictor over the fake engine."""
    return make_predictor(engine)


@pytest.fixture
def open_client(predictor: Predictor) -> Iterator[Callable[..., TestClient]]:
    """Return a function that starts an app with settings and returns a client of it."""
    clients = []

    def start(**settings: Any) -> TestClient:
        app = create_app(predictor, Settings(Path("nowhere"), **({"streams": 1} | settings)))
        client = TestClient(app)
        clients.append(client.__enter__())
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(open_client: Callable[..., TestClient]) -> TestClient:
    """Return a client of a server with default settings and one stream."""
    return open_client()


class Process:
    """A real server process with a fake engine, and the address that it printed."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "serve_fake.py"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stderr is not None
        self.first_line = self.process.stderr.readline().strip()
        self.url = self.first_line.rpartition(" ")[2]
        self.settings = self._read_settings() if self.first_line.startswith("serving") else {}
        self.logged: list[dict[str, Any]] = []

    @property
    def port(self) -> int:
        """The port that it printed; if it printed none, the test fails with what it said."""
        assert "http" in self.url, f"it does not serve, and said {self.first_line!r}"
        return int(self.url.rpartition(":")[2])

    def end(self) -> tuple[int, str]:
        """Wait for the exit; return its code and the rest of standard error."""
        out, rest = self.process.communicate(timeout=20)
        self.logged = [json.loads(line) for line in out.splitlines()]
        return self.process.returncode, rest

    def _read_settings(self) -> dict[str, Any]:
        assert self.process.stderr is not None
        word, _, document = self.process.stderr.readline().partition(" ")
        assert word == "settings"
        settings: dict[str, Any] = json.loads(document)
        return settings


@pytest.fixture
def start_process() -> Iterator[Callable[..., Process]]:
    """Return a function that starts ``serve_fake.py`` with options of the real command line."""
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        started.append(Process(*arguments))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()


@pytest.fixture
def words() -> tuple[str, ...]:
    """Return the tiny vocabulary, by id."""
    return WORDS


@pytest.fixture
def table() -> Any:
    """Return logits of shape (vocabulary, vocabulary): a row for each input token."""
    random = np.random.default_rng(0)
    return random.normal(size=(len(WORDS), len(WORDS))).astype(np.float32)


@pytest.fixture
def write_variant(table: Any) -> Callable[..., None]:
    """Return a function that writes a variant folder, whose ONNX file looks up ``table``."""

    def write(folder: Path, engine: str = "onnxruntime") -> None:
        write_lookup(folder / "model.onnx", table)
        make_tokenizer().save(str(folder / "tokenizer.json"))
        (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 512}))
        steps = ("export",) if engine == "onnxruntime" else ()
        recipe = Recipe("tiny", "a table", engine, "model.onnx", steps)
        model = {"name": "tiny"}
        files = record_files(folder)
        write_manifest(folder, Manifest("tiny", model, recipe, files, {}, {}, "2026-01-01"))

    return write


def write_lookup(path: Path, table: Any) -> None:
    """Write an ONNX graph with the usual inputs whose logits are rows of ``table``."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    usual = ("input_ids", "attention_mask", "token_type_ids")
    shape = ["batch", "sequence"]
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["logits"])],
        "lookup",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in usual],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [*shape, len(table)])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
