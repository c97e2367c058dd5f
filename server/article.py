"""The article's own server, rebuilt as the baseline: Flask on Gunicorn, 2 workers x 4 threads.

    gunicorn --workers=2 --threads=4 "tiankong.server.article:create_app()"

Nothing is tuned and nothing is slowed down: it is what a reader of the article would run.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from ..toolkit.building.manifest import read_manifest
from ..toolkit.engines.text import TextEncoder, TextError
from ..toolkit.errors import UnusableInputError
from .launch import VARIANT_DIR

TOP_K = 5


class ArticlePredictor:
    """A session with default options: logits of the whole sequence, softmax at the mask."""

    def __init__(self, folder: Path) -> None:
        manifest = read_manifest(folder)
        if not manifest.recipe.kind.runs_article:
            raise UnusableInputError(f"{folder} is no ONNX variant: the article's server needs one")
        manifest.verify(folder)
        self._encoder = TextEncoder.from_folder(folder)
        self._session = onnxruntime.InferenceSession(
            str(folder / manifest.recipe.file), providers=["CPUExecutionProvider"]
        )
        self._inputs = [entry.name for entry in self._session.get_inputs()]

    def predict(self, text: str) -> list[dict[str, object]]:
        """Return the 5 best tokens for the first [MASK]; raise a TextError if there is none."""
        batch = self._encoder.batch([self._encoder.encode(text)])
        feed = {name: getattr(batch, name) for name in self._inputs}
        logits = np.asarray(self._session.run(None, feed)[0])[0, batch.columns[0]]
        exponentials = np.exp(logits - logits.max())
        scores = exponentials / exponentials.sum()
        best = np.argsort(-scores)[:TOP_K]
        return [{"token": self._encoder.token(int(i)), "score": float(scores[i])} for i in best]


def create_app() -> Flask:
    """Return the app for the variant folder that TIANKONG_VARIANT_DIR names.

    Raises UnusableInputError if it names no folder, or a variant that is not for ONNX Runtime.
    """
    if VARIANT_DIR not in os.environ:
        raise UnusableInputError(f"{VARIANT_DIR} names no variant folder")
    predictor = ArticlePredictor(Path(os.environ[VARIANT_DIR]))
    app = Flask(__name__)

    @app.post("/predict")
    def predict() -> ResponseReturnValue:
        data = request.get_json(silent=True)
        text = data.get("text") if isinstance(data, dict) else None
        if not isinstance(text, str):
            return jsonify(error="no text"), 400
        try:
            text.encode("utf-8")
            return jsonify(results=predictor.predict(text))
        except (TextError, UnicodeEncodeError) as error:
            return jsonify(error=str(error)), 400

    @app.get("/health")
    def health() -> ResponseReturnValue:
        return jsonify(status="ok")

    return app
