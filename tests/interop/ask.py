"""Write what our predictor answers, for programs that do not know us: see load.py.

    python tests/interop/ask.py MODEL OUT.json

Every ONNX and OpenVINO variant of the model is built if need be and asked the built-in gold set.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tiankong.toolkit.building.folders import Built
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.building.recipes import read_recipes
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.gate.gold import BUILTIN, read_gold

ENGINES = ("onnxruntime", "openvino")


def asked(built: Built, texts: list[str]) -> dict[str, Any]:
    """Return a variant's folder, file, and the ids and scores of the best ten for each text."""
    predictor = open_variant(built.folder)
    vocabulary = predictor.encoder.vocabulary
    answers = {}
    for text in texts:
        ((ranking, *_),) = predictor.predict([text], 10)
        answers[text] = [[vocabulary[entry.token], entry.score] for entry in ranking]
    return {
        "name": built.manifest.variant,
        "folder": str(built.folder.absolute()),
        "file": built.manifest.recipe.file,
        "engine": built.manifest.recipe.engine,
        "precision": built.manifest.recipe.precision,
        "pad_to": built.manifest.recipe.pad_to,
        "tie": built.manifest.recipe.promise.batch_tie,
        "delta": built.manifest.recipe.promise.batch_delta,
        "answers": answers,
    }


def main(model: str, out: str) -> None:
    """Ask every ONNX and OpenVINO variant of a model that can be here."""
    names = [recipe.name for recipe in read_recipes() if recipe.engine in ENGINES]
    texts, store = [item.text for item in read_gold(BUILTIN).items], Store(model)
    chosen = store.choose(names, optional=True).names
    variants = [asked(built, texts) for built in store.get(chosen)]
    Path(out).write_text(json.dumps(variants, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
