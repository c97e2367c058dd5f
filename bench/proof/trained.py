"""Proof on a trained model: what every CPU variant keeps of it, and that its server answers so.

    nox -s trained                                             fetches the model, then runs this
    python -m tiankong.bench.proof.trained --wheel FILE

The built-in model is small and was grown, so it cannot tell how much a trained network of eight
layers loses in 8 bits.  The package ``antiberty`` 0.1.3 (MIT; Ruffolo, Gray and Sulam 2021,
"Deciphering antibody affinity maturation with language models and weakly supervised learning",
arXiv:2112.07782) carries one: a masked BERT of antibodies, 8 x 512, trained on 558 million
sequences.  A sentence is a sequence, a token an amino acid.  Its weights are pickled, and converted
by ``--convert-pickle``.

The gold set is every amino acid of the two sequences that the package's own description shows, one
masked at a time.  The sentences for ``--calibration`` are written by the model itself: from these
two, with eight amino acids at a time masked and drawn anew; then a piece of each is asked, with one
to four masked.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...server.settings import Settings
from ...toolkit.building.folders import Built
from ...toolkit.building.opening import open_variant
from ...toolkit.building.recipes import REFERENCE
from ...toolkit.building.store import Store
from ...toolkit.engines.outputs import TOP
from ...toolkit.engines.predictor import Predictor, Ranked, Ranking
from ...toolkit.errors import GateFailedError, UnusableInputError
from ...toolkit.files import artifacts, folder_written_whole, sha256, write_json, write_text
from ...toolkit.gate.answers import same_answer
from ...toolkit.gate.examination import gate
from ...toolkit.gate.gold import GoldSet, read_gold
from ...toolkit.gate.judging import Check
from ...toolkit.models.tokens import MASK
from ..load.target import Target
from ..serving.served import serve
from .program import command_line, ended_well

WHEEL = "30d910992b190013871bac49cdc032e01a19339f7d2b958ab99b0eb44638352a"  # SHA-256, of PyPI
WEIGHTS = "antiberty/trained_models/AntiBERTy_md_smooth"
FILES = {
    "config.json": f"{WEIGHTS}/config.json",
    "pytorch_model.bin": f"{WEIGHTS}/pytorch_model.bin",
    "vocab.txt": "antiberty/trained_models/vocab.txt",
}
DESCRIPTION = "antiberty-0.1.3.dist-info/METADATA"
SEQUENCE = re.compile(r'"([A-Z]{100,})"')
SEQUENCES = 2  # the first ones that the description shows; a later one has a slip
CALIBRATION, ROUNDS, MASKED, BATCH = 64, 16, 8, 16
EXACT = 1e-4  # how far a float32 logit may be from plain transformers'
SERVED = 20  # gold items that each server is asked
ANSWER_SECONDS = 10.0
HEAD = (
    "| variant | file | hit@1, hit@5 | same top-1, same top-5 | divergence: mean, worst (nats)"
    " | furthest logit from plain transformers' | gate | served |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
)


def main() -> None:
    """Build, gate, compare and serve every CPU variant; print a table."""
    parser = command_line("trained", __doc__)
    parser.add_argument("--wheel", type=Path, required=True, help="antiberty-0.1.3, from PyPI")
    given = parser.parse_args()
    with ended_well("trained"):
        folder, sequences = unpacked(given.wheel)
        gold = gold_of(sequences, folder.parent / "gold.jsonl")
        store = Store(str(folder), convert_pickle=True)
        (reference,) = store.get([REFERENCE])
        sentences = folder.parent / "calibration.txt"
        if not sentences.exists():
            write_text(sentences, "\n".join(written(open_variant(reference.folder), sequences)))
        store = Store(str(folder), convert_pickle=True, calibration=sentences)
        variants = list(store.build())
        checks = {check.variant: check for check in gate(store, variants, gold).checks}
        plain = plain_logits(folder, gold)
        rows, failed = [], []
        for built in variants:
            name = built.manifest.variant
            far = furthest(built, gold, plain)
            differing = served_differently(built, gold)
            rows.append(_row(built, checks[name], far, differing))
            recipe = built.manifest.recipe
            is_exact = recipe.precision == "fp32" and recipe.steps in ((), ("export",))
            if not checks[name].passed or differing or (is_exact and far > EXACT):
                failed.append(name)
    print("\n".join([*HEAD, *rows]))
    if failed:
        raise SystemExit(GateFailedError.exit_code)


def unpacked(wheel: Path) -> tuple[Path, list[str]]:
    """Return the model's folder, made from the wheel, and the sequences of its description.

    Raises UnusableInputError if it is not the wheel that is meant.
    """
    if not wheel.is_file() or sha256(wheel) != WHEEL:
        raise UnusableInputError(f"{wheel} is not antiberty 0.1.3: run 'nox -s trained'")
    folder = artifacts() / "trained" / "antiberty"
    with zipfile.ZipFile(wheel) as archive:
        if not folder.exists():
            with folder_written_whole(folder) as place:
                for name, member in FILES.items():
                    with archive.open(member) as source, (place / name).open("wb") as target:
                        shutil.copyfileobj(source, target)
                # As the package itself makes the tokenizer.
                write_json(place / "tokenizer_config.json", {"do_lower_case": False})
        shown = SEQUENCE.findall(archive.read(DESCRIPTION).decode())
    return folder, list(dict.fromkeys(shown))[:SEQUENCES]


def gold_of(sequences: Sequence[str], path: Path) -> GoldSet:
    """Write the gold set: every amino acid of the sequences, one masked at a time."""
    items = [
        {
            "id": f"{'heavy' if number == 0 else 'light'}-{place + 1}",
            "category": "heavy chain" if number == 0 else "light chain",
            "text": " ".join([*sequence[:place], MASK, *sequence[place + 1 :]]),
            "answer": answer,
        }
        for number, sequence in enumerate(sequences)
        for place, answer in enumerate(sequence)
    ]
    write_text(path, "".join(f"{json.dumps(item)}\n" for item in items))
    return read_gold(path)


def written(predictor: Predictor, sequences: Sequence[str]) -> list[str]:
    """Return sentences that the model writes: some amino acids masked at a time, and drawn anew."""
    random = np.random.default_rng(0)
    sentences = [list(sequences[number % len(sequences)]) for number in range(CALIBRATION)]
    for _ in range(ROUNDS):
        for part in (sentences[i : i + BATCH] for i in range(0, CALIBRATION, BATCH)):
            places = [sorted(random.choice(len(s), MASKED, replace=False)) for s in part]
            for sentence, masked in zip(part, places, strict=True):
                for place in masked:
                    sentence[place] = MASK
            answers = predictor.predict([" ".join(sentence) for sentence in part], top_k=20)
            for sentence, masked, answer in zip(part, places, answers, strict=True):
                for place, ranking in zip(masked, answer, strict=True):
                    sentence[place] = _drawn(ranking, random)
    return [" ".join(_asked(sentence, random)) for sentence in sentences]


def _asked(sentence: list[str], random: np.random.Generator) -> list[str]:
    """Return a sentence, or a piece of it, with one [MASK] or some: as people ask."""
    length = int(random.integers(1, len(sentence) + 1))
    begin = int(random.integers(len(sentence) - length + 1))
    piece = sentence[begin : begin + length]
    for place in random.choice(length, min(length, int(random.integers(1, 5))), replace=False):
        piece[place] = MASK
    return piece


def _drawn(ranking: Ranking, random: np.random.Generator) -> str:
    """Return an amino acid, drawn by its probability."""
    able = [entry for entry in ranking if entry.token.isalpha()]
    scores = np.array([entry.score for entry in able])
    return able[random.choice(len(able), p=scores / scores.sum())].token


def plain_logits(folder: Path, gold: GoldSet) -> list[Any]:
    """Return plain transformers' logits at each gold item's [MASK], from the pickled weights."""
    import torch
    from transformers import BertForMaskedLM, BertTokenizer, logging

    words: Any = BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=False)
    logging.set_verbosity_error()  # it lists the heads that nobody asks here
    network = BertForMaskedLM.from_pretrained(folder, use_safetensors=False).eval()
    rows = []
    with torch.inference_mode():
        for text in gold.texts():
            given = words(text, return_tensors="pt")
            place = given["input_ids"][0].tolist().index(words.mask_token_id)
            rows.append(network(**given).logits[0, place].numpy())
    return rows


def furthest(built: Built, gold: GoldSet, plain: Sequence[Any]) -> float:
    """Return the largest difference of a logit from plain transformers', over the gold set."""
    predictor = open_variant(built.folder)
    encoder = predictor.encoder
    far = 0.0
    for text, expected in zip(gold.texts(), plain, strict=True):
        (logits,) = predictor.engine.logits(encoder.batch([encoder.encode(text)]))
        far = max(far, float(np.abs(logits - expected).max()))
    return far


def served_differently(built: Built, gold: GoldSet) -> list[str]:
    """Serve a variant; return the ids of gold items that it answers otherwise than by itself."""
    predictor = open_variant(built.folder)
    items = gold.items[:: len(gold.items) // SERVED]
    with serve("reference", Settings(folder=built.folder)) as server:
        return [item.id for item in items if _differs(server.target, predictor, item.text)]


def _differs(target: Target, predictor: Predictor, text: str) -> bool:
    """Tell whether a server's answer is another than the variant's own, in this process."""
    with target.ask("/predict", {"text": text}, timeout=ANSWER_SECONDS) as response:
        answer = [Ranked(**entry) for entry in json.load(response)["results"]]
    (own,) = predictor.predict([text], top_k=TOP + 1)
    return not same_answer(own[0], answer)


def _row(built: Built, check: Check, far: float, differing: Sequence[str]) -> str:
    """Return a variant's row of the table."""
    alike = check.agreement
    if alike is None:
        raise UnusableInputError(f"{built.manifest.variant} was compared with no reference")
    return (
        f"| `{built.manifest.variant}` | {built.manifest.model_file_size / 1e6:.1f} MB"
        f" | {check.hit_at_1:.1%}, {check.hit_at_5:.1%}"
        f" | {alike.top1:.1%}, {alike.top5:.1%} | {alike.far.mean:.1e}, {alike.far.worst:.1e}"
        f" | {far:.1e} | {'passed' if check.passed else 'failed'}"
        f" | {'as by itself' if not differing else f'otherwise on {len(differing)}'} |"
    )


if __name__ == "__main__":
    main()
