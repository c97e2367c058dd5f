"""BentoML over an ONNX file, with adaptive batching, as its documentation shows it.

    python serve.py --model-dir DIR --port 8000

Pages: https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html (``batchable``: the one
parameter is a list, clients send a list), and
https://docs.bentoml.com/en/latest/build-with-bentoml/parallelize-requests.html (``workers``, each
with a copy of the model; ``threads``).

``--workers 1 --threads 2`` is one worker whose batches have two threads.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("DO_NOT_TRACK", "1")

import bentoml
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

CORES = int(os.environ.get("PEER_CORES", 0)) or len(os.sched_getaffinity(0))
TOP = 5
ARRAYS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
FOLDER, WORKERS, THREADS, BATCH = "PEER_FOLDER", "PEER_WORKERS", "PEER_THREADS", "PEER_BATCH"


class BentoModel:
    """The graph and the tokenizer of a variant's folder; the graph computes the ranking."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_padding(pad_id=self.tokenizer.token_to_id("[PAD]"))
        self.mask = self.tokenizer.token_to_id("[MASK]")
        (path,) = folder.glob("onnx/*.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = [entry.name for entry in self.session.get_inputs()]

    def predict(self, texts: list[str]) -> tuple[list[list[Any]], Any]:
        """Return the best tokens of each text's first [MASK], and their probabilities."""
        encodings = self.tokenizer.encode_batch(texts)
        feed = {
            name: np.array([getattr(each, ARRAYS[name]) for each in encodings], np.int64)
            for name in self.inputs
        }
        rows, _ = np.nonzero(feed["input_ids"] == self.mask)
        _, first = np.unique(rows, return_index=True)
        ids, scores = self.session.run(["top_ids", "top_scores"], feed)
        name_of = self.tokenizer.id_to_token
        tokens = [[name_of(int(one)) for one in row] for row in ids[first, :TOP]]
        return tokens, scores[first, :TOP]


@bentoml.service(
    workers=int(os.environ.get(WORKERS, 1)),
    threads=1,
    traffic={"timeout": 60, "max_concurrency": 10_000},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
class FillMask:
    """One sentence with a [MASK] in a list, the five likeliest tokens out."""

    def __init__(self) -> None:
        self.model = BentoModel(Path(os.environ[FOLDER]), int(os.environ[THREADS]))

    @bentoml.api(
        batchable=True, max_batch_size=int(os.environ.get(BATCH, 8)), max_latency_ms=10_000
    )
    def predict(self, texts: list[str]) -> list[list[dict[str, Any]]]:
        """Answer a batch."""
        tokens, scores = self.model.predict(texts)
        return [
            [{"token": t, "score": float(s)} for t, s in zip(*pair, strict=True)]
            for pair in zip(tokens, scores, strict=True)
        ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=CORES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-batch", type=int, default=8)
    given = parser.parse_args()
    os.environ |= {
        FOLDER: str(given.model_dir.absolute()),
        WORKERS: str(given.workers),
        THREADS: str(given.threads),
        BATCH: str(given.max_batch),
    }
    command = [str(Path(sys.executable).parent / "bentoml"), "serve", "serve:FillMask"]
    command += ["--host", "127.0.0.1", "--port", str(given.port)]
    os.chdir(Path(__file__).parent)
    os.execv(command[0], command)
