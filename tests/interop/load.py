"""Load variant folders as others do, and hold the answers to ours (written by ask.py).

    python tests/interop/load.py ASKED.json

Optimum's ORTModelForMaskedLM with transformers' AutoTokenizer, and plain onnxruntime.  Runs in an
environment of its own (requirements.txt); ends with 1 if an answer differs.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch
from optimum.onnxruntime import ORTModelForMaskedLM
from plain import Best, Plain, best_of, differs
from transformers import AutoTokenizer

Ask = Callable[[str], Best]


def with_optimum(folder: Path, file: str) -> Ask:
    """Return what asks a folder the way Optimum's own pages show it."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    place = Path(file)
    model = ORTModelForMaskedLM.from_pretrained(
        folder, subfolder=str(place.parent), file_name=place.name
    )

    def best(text: str) -> Best:
        encoded = tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**encoded).logits[0]
        mask = encoded["input_ids"][0].tolist().index(tokenizer.mask_token_id)
        return best_of(logits[mask].numpy())

    return best


def main(asked: str) -> int:
    """Compare every variant and print a line for each way of loading it."""
    different = 0
    for variant in json.loads(Path(asked).read_text(encoding="utf-8")):
        folder, file = Path(variant["folder"]), variant["file"]
        ways = {"Optimum": with_optimum(folder, file), "onnxruntime": Plain(folder, file).best}
        for way, best in ways.items():
            wrong = [
                text
                for text, answer in variant["answers"].items()
                if differs([(int(i), score) for i, score in answer], best(text))
            ]
            different += len(wrong)
            same = len(variant["answers"]) - len(wrong)
            print(f"{variant['name']:<16} {way:<12} {same} of {len(variant['answers'])} alike",
                  *wrong[:3], flush=True)  # fmt: skip
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
