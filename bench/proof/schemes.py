"""Proof of the choice of scheme: four ways to 8 bits from one graph, their speed and their loss.

    python -m tiankong.bench.proof.schemes

The fused graph with the exact steps is quantized as: ``static`` (fixed scales, as ``onnx-int8``),
``per-tensor`` (the same, with one scale per weight tensor), ``dynamic`` (ONNX Runtime's
``quantize_dynamic``, scales at run time) and ``nbits`` (``MatMulNBits`` of 8 bits in blocks of 128,
accuracy level 4: scales at run time, row by row).  Every round times the float graph and then each
scheme; ratios are taken within a round.  The loss is that against the float graph's answers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

from ...toolkit.building.calibration import asked_in_many_ways, read_calibration
from ...toolkit.console import say
from ...toolkit.engines.onnx_engine import OnnxEngine
from ...toolkit.engines.outputs import CONTRIB, DEPTH
from ...toolkit.engines.predictor import Predictor, Ranking
from ...toolkit.engines.text import TextEncoder
from ...toolkit.gate.fidelity import fidelity
from ...toolkit.gate.gold import read_gold
from ...toolkit.graphs import steps as graphs
from ...toolkit.graphs.eight_bits import activations
from ...toolkit.graphs.observation import observe
from ...toolkit.graphs.quantization import prepare, quantize, share_embedding
from ...toolkit.graphs.rewrites import Rewriter
from ...toolkit.models.loading import load_model
from ..micro.ratios import Paired
from .program import command_line, ended_well

EXACT = ("head-at-mask", "last-layer-at-mask", "plain-norms", "top-k")
BATCHES = (1, 4, 16)
FLOAT = "float"
BITS, BLOCK, ACCURACY = 8, 128, 4


def main() -> None:
    """Make the graphs, compare their answers, time them, and print a table."""
    parser = command_line("schemes", __doc__)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    with ended_well("schemes"), TemporaryDirectory() as folder:
        encoder, files = _made(given.model, Path(folder))
        predictors = {name: Predictor(name, encoder, OnnxEngine(p)) for name, p in files.items()}
        _tell(predictors, {name: p.stat().st_size for name, p in files.items()}, given.rounds)


def _made(model: str, folder: Path) -> tuple[TextEncoder, dict[str, Path]]:
    """Return the tokenizer and the graph of every scheme."""
    loaded = load_model(model)
    encoder = TextEncoder(loaded.tokenizer, loaded.info.positions)
    batches = asked_in_many_ways(encoder, read_calibration().encode(encoder))
    origin = graphs.Origin(loaded.config, encoder.mask_id, batches)
    names = (FLOAT, "static", "per-tensor", "dynamic", "nbits")
    files = {name: folder / f"{name}.onnx" for name in names}
    say("schemes: export, fuse, exact steps")
    graphs.export(loaded.network, folder / "plain.onnx")
    graphs.make(folder / "plain.onnx", folder / "fused.onnx", ["fuse"], origin)
    graphs.make(folder / "fused.onnx", files[FLOAT], EXACT, origin)
    seen = observe(files[FLOAT], activations(files[FLOAT]), batches)
    for name, per_channel in (("static", True), ("per-tensor", False)):
        say(f"schemes: {name}")
        eight = onnx.load(str(files[FLOAT]))
        quantize(eight, prepare(eight, seen))
        share_embedding(eight)
        if not per_channel:
            _one_scale(eight)
        onnx.save(eight, str(files[name]))
    say("schemes: dynamic")
    graphs.make(files[FLOAT], files["dynamic"], ["int8-dynamic"], origin)
    say("schemes: nbits")
    _nbits(files[FLOAT], files["nbits"])
    return encoder, files


def _one_scale(model: onnx.ModelProto) -> None:
    """Requantize every 8-bit weight with same_scales scale: the largest of its channels' scales."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, tensor in stored.items():
        if not name.endswith("_scale") or f"{name.removesuffix('_scale')}_int8" not in stored:
            continue
        scales = onnx.numpy_helper.to_array(tensor)
        weight = stored[f"{name.removesuffix('_scale')}_int8"]
        values = onnx.numpy_helper.to_array(weight).astype(np.float32)
        axis = 0 if values.shape[0] == scales.size and values.shape[1] != scales.size else 1
        along = scales[:, None] if axis == 0 else scales
        values = np.clip(np.rint(values * along / scales.max()), -127, 127).astype(np.int8)
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
        same_scales = np.full_like(scales, scales.max())
        tensor.CopyFrom(onnx.numpy_helper.from_array(same_scales, name))


def _nbits(source: Path, target: Path) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    model = onnx.load(str(source))
    _products_apart(model)
    quantizer = MatMulNBitsQuantizer(
        model, bits=BITS, block_size=BLOCK, is_symmetric=True, accuracy_level=ACCURACY
    )
    quantizer.process()
    quantizer.model.save_model_to_file(str(target))


def _products_apart(model: onnx.ModelProto) -> None:
    """Split fused attention into MatMul nodes, because MatMulNBits replaces only those.

    The decoder's transposed embedding is stored as a weight for the same reason.
    """
    rewriter = Rewriter(model)
    for node in [n for n in model.graph.node if n.op_type == "Attention"]:
        hidden, packed, bias, mask = node.input[:4]
        heads = next(a.i for a in node.attribute if a.name == "num_heads")
        parts = np.split(rewriter.weight(packed), 3, axis=1)
        three = [
            rewriter.add("MatMul", [hidden, rewriter.constant(np.ascontiguousarray(part))])
            for part in parts
        ]
        rewriter.add(
            "MultiHeadAttention", [*three, bias, mask], list(node.output), CONTRIB,
            num_heads=heads,
        )  # fmt: skip
        model.graph.node.remove(node)
    graphs.write_out_transposed_weights(model)
    rewriter.tidy()


def _tell(predictors: Mapping[str, Predictor], sizes: Mapping[str, int], rounds: int) -> None:
    texts = read_gold().texts()
    answers = {name: _answers(predictor, texts) for name, predictor in predictors.items()}
    seconds = _timed(predictors, texts, rounds)
    print("| scheme | MB | same top-1 | divergence (worst) |", end="")
    print(" |".join(f" speed, batch {size}" for size in BATCHES), "|")
    print("| --- | ---: | ---: | ---: |" + " ---: |" * len(BATCHES))
    for name in predictors:
        same = np.mean([
            ours[0].token == theirs[0].token
            for ours, theirs in zip(answers[name].values(), answers[FLOAT].values(), strict=True)
        ])  # fmt: skip
        far = fidelity(answers[name], answers[FLOAT])
        cells = [f"{sizes[name] / 1e6:.1f}", f"{same:.1%}", f"{far.mean:.1e} ({far.worst:.1e})"]
        for size in BATCHES:
            base, own = seconds[FLOAT, size], seconds[name, size]
            ratio = Paired("engine", name, size, None, own, base).ratio()
            cells.append(f"{ratio.ratio:.2f} ({ratio.low:.2f}–{ratio.high:.2f})")
        print(f"| {name} | {' | '.join(cells)} |")


def _answers(predictor: Predictor, texts: Sequence[str]) -> dict[str, Ranking]:
    return {text: predictor.predict([text], top_k=DEPTH)[0][0] for text in texts}


def _timed(
    predictors: Mapping[str, Predictor], texts: Sequence[str], rounds: int
) -> dict[tuple[str, int], list[float]]:
    """Return the seconds of each scheme at each batch size, round by round."""
    seconds: dict[tuple[str, int], list[float]] = {}
    for number in range(rounds):
        say(f"schemes: round {number + 1} of {rounds}")
        for size in BATCHES:
            begin = number * size % (len(texts) - size)
            batch = list(texts[begin : begin + size])
            for name, predictor in predictors.items():
                predictor.predict(batch)  # warm-up: the first batch of a length is slower
                start = time.perf_counter()
                predictor.predict(batch)
                seconds.setdefault((name, size), []).append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
