"""Proof on outliers: a trained network with channels 20 to 60 times as large as the rest.

    python -m tiankong.bench.proof.outliers --corpus DIR [--steps 160] [--factor 30]

Trained BERTs have a few such channels after LayerNorm (Kovaleva et al. 2021, "BERT Busters",
arXiv:2105.06990).  Here two channels of the built-in model are enlarged in all layers.  LayerNorm
is not indifferent to that, so half of the answers are lost, and the network is trained (see
builtin/train.py) until they are back.  Then every 8-bit variant has to pass the gate.  The model
stays in ``artifacts/outliers``.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...toolkit.building.calibration import read_calibration
from ...toolkit.building.store import Store
from ...toolkit.engines.text import TextEncoder
from ...toolkit.errors import GateFailedError
from ...toolkit.files import artifacts, folder_written_whole
from ...toolkit.gate.examination import gate
from ...toolkit.gate.gold import find_gold
from ...toolkit.models.families import family
from ...toolkit.models.loading import load_model
from ...toolkit.models.tokenizer_files import write_tokenizer
from .program import command_line, ended_well

if TYPE_CHECKING:
    import torch
    from transformers import BertForMaskedLM

CHANNELS = 2
PEAK_RATE, WARM_UP, END = 4e-4, 0.05, 0.02  # the last: the rate at the end, as a share
EIGHT_BITS = ("onnx-int8", "onnx-int8-small", "openvino-int8")
SEED = 2


def main() -> None:
    """Make the model if it is not there, build its 8-bit variants, and ask the gate."""
    parser = command_line("outliers", __doc__, model="builtin-small")
    parser.add_argument("--corpus", type=Path, help="folder laid out as in the model's card")
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--factor", type=float, default=30.0)
    given = parser.parse_args()
    with ended_well("outliers"):
        folder = artifacts() / "outliers" / f"{given.model}-{given.factor:g}"
        if not folder.exists():
            if given.corpus is None:
                parser.error("--corpus is missing: the model has to be trained first")
            loaded = load_model(given.model)
            network = cast("BertForMaskedLM", loaded.network)
            encoder = TextEncoder(loaded.tokenizer, loaded.info.positions)
            enlarge(network, read_calibration().encode(encoder), given.factor)
            train(network, given.corpus, given.steps)
            folder.parent.mkdir(parents=True, exist_ok=True)
            with folder_written_whole(folder) as place:
                network.save_pretrained(place)
                inputs = family(loaded.config).inputs
                write_tokenizer(place, loaded.tokenizer, loaded.info.positions, inputs)
        store = Store(str(folder))
        names = ["pytorch-fp32", "onnx-fp32", *EIGHT_BITS]
        checks = gate(store, store.build(names), find_gold("builtin")).checks
        for check in checks:
            far = f"{check.agreement.far.mean:.1e}" if check.agreement else "-"
            print(f"{check.variant}: hit@1 {check.hit_at_1:.1%}, hit@5 {check.hit_at_5:.1%},"
                  f" divergence {far} nats, {'; '.join(check.reasons) or 'passed'}")  # fmt: skip
    if any(check.reasons for check in checks):
        raise SystemExit(GateFailedError.exit_code)


def enlarge(
    network: BertForMaskedLM,
    sentences: Sequence[Sequence[int]],
    factor: float,
    offset: float = 0.0,
    channels: int = CHANNELS,
) -> None:
    """Enlarge the channels of a BERT that are smallest over some sentences (ids).

    A channel of the residual stream is enlarged throughout: where it is made, in the embeddings and
    in the last product of each block, while the products that read it have their columns divided.
    All of that is exact but for LayerNorm, whose variance the channel is part of; its weights give
    the average of that back.  ``offset`` is added to the channel after every LayerNorm, and taken
    away again by the biases of whatever reads it: exactly.
    """
    import torch

    layers: list[Any] = list(network.bert.encoder.layer)
    head: Any = network.cls.predictions.transform
    embeddings: Any = network.bert.embeddings
    size, larger = _stream(network, sentences, factor, channels)
    grown = torch.ones(len(size))
    chosen = torch.argsort(size)[:channels]
    grown[chosen] = factor
    moved = torch.zeros(len(size))
    moved[chosen] = offset
    readers = [_attention(layer) for layer in layers]
    with torch.no_grad():
        for table in ("word", "position", "token_type"):
            getattr(embeddings, f"{table}_embeddings").weight.mul_(grown)
        for vector in (head.LayerNorm.weight, head.LayerNorm.bias):
            vector.div_(grown)  # the decoder is the embedding
        for layer in layers:
            for maker in (layer.attention.output.dense, layer.output.dense):
                maker.weight.mul_(grown[:, None])
                maker.bias.mul_(grown)
        blocks = [(embeddings.LayerNorm, readers[0], layers[0].attention.output.dense)]
        for place, layer in enumerate(layers):
            norm = layer.attention.output.LayerNorm
            blocks.append((norm, [layer.intermediate.dense], layer.output.dense))
            last = place + 1 == len(layers)
            following = [head.dense] if last else readers[place + 1]
            adding = None if last else layers[place + 1].attention.output.dense
            blocks.append((layer.output.LayerNorm, following, adding))
        for (norm, products, adding), ratio in zip(blocks, larger, strict=True):
            norm.weight.mul_(ratio)
            norm.bias.mul_(grown).add_(moved)
            for product in products:
                product.weight.div_(grown)
                product.bias.sub_(product.weight @ moved)
            if adding is not None:
                adding.bias.sub_(moved)


def _stream(
    network: BertForMaskedLM, sentences: Sequence[Sequence[int]], factor: float, channels: int
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the size of each channel of the residual stream before LayerNorm, the largest of all.

    And for each LayerNorm, by how much its input's spread grows with the smallest channels.
    """
    import torch

    norms: list[Any] = [network.bert.embeddings.LayerNorm]
    layers: list[Any] = list(network.bert.encoder.layer)
    for layer in layers:
        norms += [layer.attention.output.LayerNorm, layer.output.LayerNorm]
    seen: list[list[torch.Tensor]] = [[] for _ in norms]
    hooks = [
        norm.register_forward_pre_hook(lambda _, given, rows=rows: rows.append(given[0][0]))
        for norm, rows in zip(norms, seen, strict=True)
    ]
    with torch.inference_mode():
        for ids in sentences:
            network(input_ids=torch.tensor([list(ids)]))
        for hook in hooks:
            hook.remove()
        values = [torch.cat(rows) for rows in seen]
        sizes = [
            (v - v.mean(1, keepdim=True)).square().mean(0) / v.var(dim=1).mean() for v in values
        ]
        size = torch.stack(sizes).amax(0)
        grown = torch.ones(len(size))
        grown[torch.argsort(size)[:channels]] = factor
        larger = [((v * grown).var(dim=1) / v.var(dim=1)).sqrt().mean() for v in values]
    return size.clone(), [ratio.clone() for ratio in larger]


def _attention(layer: Any) -> list[Any]:
    inner = layer.attention.self
    return [inner.query, inner.key, inner.value]


def train(network: BertForMaskedLM, corpus: Path, steps: int) -> None:
    """Train a network some steps on the corpus of the built-in model."""
    import math

    import torch

    from ...toolkit.models.builtin import train as training
    from ...toolkit.models.builtin import vocabulary
    from ...toolkit.models.builtin.corpus import Corpus

    torch.manual_seed(SEED)
    text, rng = Corpus(corpus, vocabulary.tokenizer(), SEED), random.Random(SEED)
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98))
    losses: list[float] = []
    for step, passages in enumerate(itertools.islice(training.batches(text, SEED), steps)):
        progress = step / steps
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        share = min(1.0, (step + 1) / (WARM_UP * steps)) * (END + (1 - END) * cosine)
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * share
        loss = training.loss_of(network, training.collate(passages, rng))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}: loss {sum(losses) / len(losses):.3f}", flush=True)
            losses.clear()
    network.eval()


if __name__ == "__main__":
    main()
