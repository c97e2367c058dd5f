"""Every rewrite gives PyTorch's logits at every [MASK], whatever the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from family_models import KINDS, random_network

from tiankong.toolkit.engines.onnx_engine import OnnxEngine
from tiankong.toolkit.engines.predictor import Logits, best_of
from tiankong.toolkit.engines.text import Batch
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.graphs import rewrites
from tiankong.toolkit.graphs import steps as graphs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MASK_ID, PAD_ID, VOCABULARY = 4, 0, 300
CHAIN = ("fuse", "head-at-mask", "last-layer-at-mask", "plain-norms", "plain-gelu", "top-k")
REWRITTEN = CHAIN[1:]
SHAPES = {
    "one token": [(1, 1)],
    "one sentence": [(17, 1)],
    "eight masks": [(40, 8)],
    "nothing but masks": [(8, 8)],
    "mixed lengths": [(3, 1), (64, 2), (9, 1), (30, 5)],
    "full length": [(512, 3)],
    "full length beside short": [(512, 8), (2, 1), (100, 1)],
    "equal lengths": [(16, 1)] * 6,
}


@dataclass(frozen=True)
class Case:
    """A network and the files made from it; ``files`` is keyed by the last step of each."""

    network: PreTrainedModel
    files: dict[str, Path]
    origin: graphs.Origin
    kind: str
    known: dict[bytes, Logits]
    engines: dict[str, OnnxEngine]

    def engine(self, step: str) -> OnnxEngine:
        """Return the engine of the file that a step made."""
        if step not in self.engines:
            self.engines[step] = OnnxEngine(self.files[step], 1)
        return self.engines[step]

    def expected(self, batch: Batch) -> Logits:
        """Return PyTorch's logits at the masks, each sentence computed alone, without padding."""
        import torch

        key = batch.input_ids.tobytes()
        if key in self.known:
            return self.known[key]
        logits = []
        with torch.inference_mode():
            for row, length in enumerate(batch.attention_mask.sum(axis=1)):
                ids = torch.from_numpy(batch.input_ids[row : row + 1, :length])
                full = self.network(input_ids=ids).logits[0].numpy()
                logits.append(full[batch.columns[batch.rows == row]])
        return self.known.setdefault(key, np.concatenate(logits))


@pytest.fixture(scope="module", params=KINDS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    network = random_network(request.param, VOCABULARY, layers=4)
    folder = tmp_path_factory.mktemp("rewrites")
    origin = graphs.Origin(network.config.to_dict(), MASK_ID, ())
    files = {"export": folder / "export.onnx"}
    graphs.export(network, files["export"])
    for before, step in zip(("export", *CHAIN), CHAIN, strict=False):
        files[step] = folder / f"{step}.onnx"
        graphs.make(files[before], files[step], [step], origin)
    return Case(network, files, origin, request.param, {}, {})


def batch_of(shapes: Sequence[tuple[int, int]]) -> Batch:
    """Return a batch with a sentence for each (tokens, masks), padded to the longest."""
    source = np.random.default_rng(len(shapes))
    shape = (len(shapes), max(tokens for tokens, _ in shapes))
    ids, mask = np.full(shape, PAD_ID), np.zeros(shape, np.int64)
    for row, (tokens, masks) in enumerate(shapes):
        ids[row, :tokens] = source.integers(5, VOCABULARY, tokens)
        ids[row, source.choice(tokens, masks, replace=False)] = MASK_ID
        mask[row, :tokens] = 1
    rows, columns = np.nonzero(ids == MASK_ID)
    return Batch(ids, mask, np.zeros(shape, np.int64), rows, columns)


def run(path: Path, outputs: list[str], batch: Batch) -> list[Any]:
    """Run a file with plain ONNX Runtime, without our engine."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = {entry.name: getattr(batch, entry.name) for entry in session.get_inputs()}
    return list(session.run(outputs, feed))


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("step", ["export", *CHAIN])
def test_the_logits_are_pytorchs(case: Case, step: str, shapes: Sequence[tuple[int, int]]) -> None:
    batch = batch_of(shapes)
    given = case.engine(step).logits(batch)
    assert given.shape == (len(batch.rows), VOCABULARY)
    assert float(np.abs(given - case.expected(batch)).max()) < 1e-4


@pytest.mark.parametrize("step", REWRITTEN)
def test_the_usual_output_is_there_too_and_zero_elsewhere(case: Case, step: str) -> None:
    batch = batch_of(SHAPES["mixed lengths"])
    logits, picked = run(case.files[step], ["logits", "mask_logits"], batch)
    assert logits.shape == (*batch.input_ids.shape, VOCABULARY)
    assert np.array_equal(logits[batch.rows, batch.columns], picked)
    logits[batch.rows, batch.columns] = 0
    assert not logits.any()


@pytest.mark.parametrize("top_k", [1, 5, 50, 60])
def test_the_best_tokens_are_those_of_the_logits(case: Case, top_k: int) -> None:
    batch = batch_of(SHAPES["mixed lengths"])
    engine = case.engine("top-k")
    ids, scores = engine.best(batch, top_k)
    expected_ids, expected_scores = best_of(engine.logits(batch), top_k)
    assert np.array_equal(ids, expected_ids)
    assert np.allclose(scores, expected_scores, rtol=1e-5)
    plain, _ = case.engine("export").best(batch, top_k)
    assert np.array_equal(ids[:, :5], plain[:, :5])  # later ones are nearly tied


def test_ties_go_to_the_lower_id(case: Case, tmp_path: Path) -> None:
    model = onnx.load(str(case.files["top-k"]))
    rewriter = rewrites.Rewriter(model)
    node = rewriter.producer("mask_logits")
    node.output[0] = "before"
    rewriter.add("Mul", ["before", rewriter.constant(np.float32(0))], ["mask_logits"])
    rewriter.tidy()
    onnx.save(model, str(tmp_path / "tied.onnx"))
    ids, scores = OnnxEngine(tmp_path / "tied.onnx", 1).best(batch_of([(9, 2)]), 5)
    assert ids.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert np.allclose(scores, 1 / VOCABULARY)


def test_nothing_is_computed_that_nobody_needs(case: Case) -> None:
    fused, narrow = (graphs.operators(case.files[s]) for s in ("fuse", "last-layer-at-mask"))
    assert narrow["Attention"] == fused["Attention"] - 1
    assert narrow["MultiHeadAttention"] == 1
    assert narrow["MatMul"] == fused["MatMul"] + 3
    assert narrow["SkipLayerNormalization"] == fused["SkipLayerNormalization"]
    sizes = {step: path.stat().st_size for step, path in case.files.items()}
    # ALBERT's layers share weights, so the last layer's separate products are one more copy.
    apart = 4 * 3 * 128 * 128 if case.kind == "albert" else 0
    assert sizes["last-layer-at-mask"] < 1.02 * sizes["fuse"] + apart


@pytest.mark.parametrize(
    ("before", "step", "part"),
    [
        ("export", "head-at-mask", "SkipLayerNormalization"),
        ("fuse", "last-layer-at-mask", "positions"),
        ("fuse", "top-k", "mask_logits"),
    ],
)
def test_a_step_out_of_order_is_refused(
    case: Case, tmp_path: Path, before: str, step: str, part: str
) -> None:
    with pytest.raises(UnusableInputError, match=part):
        graphs.make(case.files[before], tmp_path / "x.onnx", [step], case.origin)
    assert not list(tmp_path.iterdir())
