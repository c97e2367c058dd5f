"""Write ``predictions.jsonl``: what the built-in model answers.  Run it after training.

    python -m tiankong.toolkit.gate.builtin_facts

The gate compares the reference with these answers (see published.py): otherwise all variants
would be compared with a damaged reference.
"""

from __future__ import annotations

import json
import sys

from ..building.opening import open_variant
from ..building.recipes import REFERENCE
from ..building.store import Store
from ..files import write_text
from ..guard import Guard
from .gold import FOLDER, read_gold

FILE = FOLDER / "predictions.jsonl"
EVERY = 6  # gold items between two facts
DIGITS = 5


def main() -> None:
    """Ask builtin-small and write the file."""
    (built,) = Store("builtin-small").get([REFERENCE])
    predictor = open_variant(built.folder)
    vocabulary = predictor.encoder.vocabulary
    lines = []
    for item in read_gold().items[::EVERY]:
        ((ranking,),) = predictor.predict([item.text])
        top = [
            {"token": r.token, "token_id": vocabulary[r.token], "score": round(r.score, DIGITS)}
            for r in ranking
        ]
        fact = {
            "model": "builtin", "text": item.text, "top": top, "per_mask": False,
            "engine": "PyTorch, float32, builtin-small", "source": "toolkit/gate/builtin_facts.py",
        }  # fmt: skip
        lines.append(json.dumps(fact, ensure_ascii=False))
    write_text(FILE, "\n".join(lines) + "\n")


if __name__ == "__main__":
    with Guard("builtin_facts") as guard:
        main()
    sys.exit(guard.code)
