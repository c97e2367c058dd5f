"""Load OpenVINO variants as Optimum Intel does, and hold the answers to ours (written by ask.py).

    python tests/interop/load_openvino.py ASKED.json

OVModelForMaskedLM with transformers' AutoTokenizer.  Runs in an environment of its own
(requirements-openvino.txt); ends with 1 if an answer differs, or no variant was asked.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from held import Ask, asked_of, hold
from plain import Best, best_of

HINTS = {"fp32": "f32", "bf16": "bf16"}


def with_optimum(folder: Path, precision: str, pad_to: int) -> Ask:
    """Return what asks a folder as Optimum's own pages show it, in the variant's precision.

    Sentences are padded as the variant pads them: in bfloat16 the last bits depend on the length.
    """
    # OpenVINO and NNCF send nothing if this module cannot be imported.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import torch
    from optimum.intel import OVModelForMaskedLM
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model = OVModelForMaskedLM.from_pretrained(
        folder, subfolder="openvino", ov_config={"INFERENCE_PRECISION_HINT": HINTS[precision]}
    )

    def best(text: str) -> Best:
        encoded = tokenizer(text, return_tensors="pt", padding=True, pad_to_multiple_of=pad_to)
        with torch.inference_mode():
            logits = model(**encoded).logits[0]
        mask = encoded["input_ids"][0].tolist().index(tokenizer.mask_token_id)
        return best_of(logits[mask].numpy())

    return best


def main(asked: str) -> int:
    """Compare every OpenVINO variant, and print a line for each."""
    variants = asked_of(asked, "openvino")
    different = sum(
        hold(
            variant,
            {
                "Optimum": with_optimum(
                    Path(variant["folder"]), variant["precision"], variant["pad_to"]
                )
            },
        )
        for variant in variants
    )
    return 1 if different or not variants else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
