"""Train the built-in model: ``python -m tiankong.toolkit.models.builtin.train --corpus DIR``.

A BertForMaskedLM with 4 layers and hidden size 256 is trained on the CPU with bfloat16 autocast.
Two things help a model this small to recall idioms at any position.  First, position embeddings
are initialized as sinusoids and the heads of the first two layers so that they attend to fixed
relative offsets ("the character before me" need not be learned for each position).  Second,
position ids start at a random offset in part of the examples.
The learning rate follows the wall clock, so that it has fallen to its end when time is up.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import BertConfig, BertForMaskedLM

from ...guard import Guard
from . import vocabulary
from .corpus import Corpus, Passage

HIDDEN, LAYERS, HEADS, POSITIONS = 256, 4, 4, 512
TOKEN_BUDGET = 2048
PEAK_RATE = 1e-3
WARM_UP = 0.02
POSITION_DIMS = 64
HEAD_OFFSETS = ((-1, 1, -2, 2), (-1, 1, -3, 3))


def configuration(vocabulary_size: int) -> BertConfig:
    """Return the small model's geometry."""
    return BertConfig(
        vocab_size=vocabulary_size,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=4 * HIDDEN,
        max_position_embeddings=POSITIONS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
    )


def _frequencies() -> torch.Tensor:
    steps = torch.arange(POSITION_DIMS // 2) / (POSITION_DIMS // 2 - 1)
    return 2.6 * (0.01**steps)  # radians a position, from 2.6 down to 0.026


def fresh_model(vocabulary_size: int) -> BertForMaskedLM:
    """Return an untrained model with sinusoidal positions and relative heads."""
    model = BertForMaskedLM(configuration(vocabulary_size))
    weights = {name: parameter.data for name, parameter in model.named_parameters()}
    angles = torch.arange(POSITIONS)[:, None] * _frequencies()[None, :]
    weights["bert.embeddings.word_embeddings.weight"][:, :POSITION_DIMS] *= 0.1
    weights["bert.embeddings.token_type_embeddings.weight"].zero_()
    positions = weights["bert.embeddings.position_embeddings.weight"].zero_()
    positions[:, 0:POSITION_DIMS:2] = 0.04 * angles.sin()
    positions[:, 1:POSITION_DIMS:2] = 0.04 * angles.cos()
    for index, offsets in enumerate(HEAD_OFFSETS):
        layer = f"bert.encoder.layer.{index}.attention."
        for name in ("self.value.weight", "output.dense.weight"):
            weights[layer + name].normal_(0.0, HIDDEN**-0.5)
        for head, offset in enumerate(offsets):
            rows = slice(head * POSITION_DIMS, (head + 1) * POSITION_DIMS)
            query, key = _aimed(offset)
            weights[layer + "self.query.weight"][rows] = query
            weights[layer + "self.key.weight"][rows] = key
    return model


def _aimed(offset: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return query and key rows of a head that attends ``offset`` tokens away.

    Both read the sinusoids of the positions; the query's are rotated by the offset.
    """
    angle = _frequencies() * offset
    query = 0.02 * torch.randn(POSITION_DIMS, HIDDEN)
    key = 0.02 * torch.randn(POSITION_DIMS, HIDDEN)
    key[:, :POSITION_DIMS] += torch.eye(POSITION_DIMS)
    for pair in range(POSITION_DIMS // 2):
        s, c = 2 * pair, 2 * pair + 1
        sine, cosine = float(angle[pair].sin()), float(angle[pair].cos())
        query[s, s] += cosine  # sin(x + a)
        query[s, c] += sine
        query[c, s] -= sine  # cos(x + a)
        query[c, c] += cosine
    return query, key


def batches(corpus: Corpus, seed: int) -> Iterator[list[Passage]]:
    """Yield lists of passages of similar length, about ``TOKEN_BUDGET`` tokens each, for ever."""
    rng = random.Random(seed)
    while True:
        pool = sorted((corpus.draw() for _ in range(2000)), key=lambda p: len(p.ids))
        cuts: list[list[Passage]] = [[]]
        for passage in pool:
            if (len(cuts[-1]) + 1) * (len(passage.ids) + 2) > TOKEN_BUDGET:
                cuts.append([])
            cuts[-1].append(passage)
        rng.shuffle(cuts)
        yield from cuts


def masked_places(passage: Passage, rng: random.Random) -> set[int]:
    """Choose the tokens to mask: one to three characters of an idiom, or 5 to 30 % of other text.

    Around an idiom up to 15 % of the tokens are masked too.
    """
    size = len(passage.ids)
    if passage.idiom is not None:
        inside = range(*passage.idiom)
        places = set(rng.sample(inside, rng.choice((1, 1, 1, 1, 2, 2, 3))))
        rate = rng.choice((0.0, 0.05, 0.15))
        places |= {i for i in range(size) if i not in inside and rng.random() < rate}
        return places
    rate = rng.choice((0.05, 0.12, 0.2, 0.3))
    places = {i for i in range(size) if rng.random() < rate}
    return places or {rng.randrange(size)}


def collate(passages: list[Passage], rng: random.Random) -> dict[str, torch.Tensor]:
    """Return ids, attention mask, positions (batch x length), and the flat targets."""
    length = max(len(p.ids) for p in passages) + 2
    ids = torch.zeros(len(passages), length, dtype=torch.long)
    mask = torch.zeros(len(passages), length, dtype=torch.long)
    positions = torch.arange(length).repeat(len(passages), 1)
    rows, columns, targets = [], [], []
    for row, passage in enumerate(passages):
        hidden = masked_places(passage, rng)
        shown = [103 if i in hidden else token for i, token in enumerate(passage.ids)]
        ids[row, : len(shown) + 2] = torch.tensor([101, *shown, 102])
        mask[row, : len(shown) + 2] = 1
        for place in sorted(hidden):
            rows.append(row)
            columns.append(place + 1)
            targets.append(passage.ids[place])
        chance = rng.random()
        span = 40 if chance < 0.45 else POSITIONS - length
        positions[row] += 0 if chance < 0.4 or chance > 0.55 else rng.randrange(span)
    return {
        "ids": ids,
        "mask": mask,
        "positions": positions,
        "rows": torch.tensor(rows),
        "columns": torch.tensor(columns),
        "targets": torch.tensor(targets),
    }


def loss_of(model: BertForMaskedLM, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the mean cross-entropy at the masked tokens (the head runs only there)."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.bert(
            input_ids=batch["ids"], attention_mask=batch["mask"], position_ids=batch["positions"]
        ).last_hidden_state
        logits = model.cls(hidden[batch["rows"], batch["columns"]])
    return functional.cross_entropy(logits.float(), batch["targets"])


def rate_at(progress: float) -> float:
    """Return the learning rate: linear warm-up, then a cosine down to a fiftieth."""
    if progress < WARM_UP:
        return PEAK_RATE * (progress / WARM_UP + 0.01)
    cosine = 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))
    return PEAK_RATE * (0.02 + 0.98 * min(1.0, cosine))


def _save(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    unfinished = path.with_suffix(".part")
    save_file(tensors, unfinished, metadata=metadata)
    unfinished.replace(path)


class Trainer:
    """The training loop with its checkpoints (weights, optimizer state, elapsed time)."""

    def __init__(self, corpus: Corpus, out: Path, minutes: float, seed: int) -> None:
        self.out, self.minutes, self.seed = out, minutes, seed
        torch.manual_seed(seed)
        self.model = fresh_model(len(vocabulary.tokens()))
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True
        )
        self.elapsed, self.step = 0.0, 0
        self.out.mkdir(parents=True, exist_ok=True)
        self._resume()
        self.corpus = corpus

    def _names(self) -> dict[str, torch.nn.Parameter]:
        return dict(self.model.named_parameters())

    def _resume(self) -> None:
        state_file = self.out / "state.json"
        if not state_file.exists():
            return
        state = json.loads(state_file.read_text())
        self.elapsed, self.step = state["elapsed"], state["step"]
        tensors = load_file(self.out / "checkpoint.safetensors")
        for name, parameter in self._names().items():
            parameter.data.copy_(tensors[f"weight.{name}"])
            self.optimizer.state[parameter] = {
                "step": torch.tensor(float(self.step)),
                "exp_avg": tensors[f"mean.{name}"],
                "exp_avg_sq": tensors[f"square.{name}"],
            }

    def checkpoint(self) -> None:
        """Write what is needed to resume; each file is written under another name, then renamed."""
        tensors = {}
        for name, parameter in self._names().items():
            moments = self.optimizer.state[parameter]
            tensors[f"weight.{name}"] = parameter.data
            tensors[f"mean.{name}"] = moments["exp_avg"]
            tensors[f"square.{name}"] = moments["exp_avg_sq"]
        _save(self.out / "checkpoint.safetensors", tensors, {})
        unfinished = self.out / "state.part"
        unfinished.write_text(json.dumps({"elapsed": self.elapsed, "step": self.step}))
        unfinished.replace(self.out / "state.json")

    def run(self) -> BertForMaskedLM:
        """Train until ``minutes`` of wall-clock time are spent; a checkpoint every five minutes."""
        rng = random.Random(self.seed + self.step)
        started, before = time.monotonic(), self.elapsed
        saved = logged = started
        losses: list[float] = []
        for passages in batches(self.corpus, self.seed + self.step):
            now = time.monotonic()
            self.elapsed = before + now - started
            progress = self.elapsed / (60 * self.minutes)
            if progress >= 1:
                break
            for group in self.optimizer.param_groups:
                group["lr"] = rate_at(progress)
            loss = loss_of(self.model, collate(passages, rng))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.step += 1
            losses.append(float(loss.detach()))
            if now - logged > 30:
                mean = sum(losses) / len(losses)
                minutes = self.elapsed / 60
                print(f"{minutes:6.1f} min  step {self.step}  loss {mean:.3f}", flush=True)
                logged, losses = now, []
            if now - saved > 300:
                self.checkpoint()
                saved = now
        self.checkpoint()
        return self.model


def main() -> None:
    """Train, and write the model's weights in float16 next to its checkpoints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="folder laid out as in the card")
    parser.add_argument("--out", type=Path, default=Path("artifacts/train"))
    parser.add_argument("--minutes", type=float, default=92.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    corpus = Corpus(arguments.corpus, vocabulary.tokenizer(), arguments.seed)
    model = Trainer(corpus, arguments.out, arguments.minutes, arguments.seed).run()
    weights = {n: p.detach().half().contiguous() for n, p in model.named_parameters()}
    _save(arguments.out / "model.safetensors", weights, {"format": "pt"})
    print(f"wrote {arguments.out / 'model.safetensors'}")


if __name__ == "__main__":
    with Guard("train") as guard:
        main()
    sys.exit(guard.code)
