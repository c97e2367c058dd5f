"""Load ONNX variants as others do, and hold the answers to ours (written by ask.py).

    python tests/interop/load.py ASKED.json

Optimum's ORTModelForMaskedLM with transformers' AutoTokenizer, and plain onnxruntime.  Runs in an
environment of its own (requirements.txt); ends with 1 if an answer differs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch
from held import Ask, asked_of, hold
from optimum.onnxruntime import ORTModelForMaskedLM
from plain import Best, Plain, best_of
from transformers import AutoTokenizer


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
    """Compare every ONNX variant, and print a line for each way of loading it."""
    different = 0
    for variant in asked_of(asked, "onnxruntime"):
        folder, file = Path(variant["folder"]), variant["file"]
        ways = {"Optimum": with_optimum(folder, file), "onnxruntime": Plain(folder, file).best}
        different += hold(variant, ways)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
