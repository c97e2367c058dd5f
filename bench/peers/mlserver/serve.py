"""MLServer with a runtime of its own over an ONNX file, and adaptive batching.

    python serve.py --model-dir DIR --port 8000

Pages: https://mlserver.readthedocs.io/en/latest/user-guide/custom.html (``load``, ``predict``),
https://mlserver.readthedocs.io/en/latest/user-guide/adaptive-batching.html (``max_batch_size``,
``max_batch_time``: a batch that is not full waits so long),
https://mlserver.readthedocs.io/en/latest/user-guide/parallel-inference.html (``parallel_workers``,
processes with queues; 0: in the server's own).  Clients speak KServe's protocol v2.

``--workers 0 --threads 2 --max-batch 1`` is one process with two threads and no waiting, for one
user.
"""

import argparse
import asyncio
import json
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput
from tokenizers import Tokenizer

CORES = int(os.environ.get("PEER_CORES", 0)) or len(os.sched_getaffinity(0))
TOP = 5
ARRAYS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


class MlServerModel:
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


class FillMaskRuntime(MLModel):
    """The runtime: sentences in, tokens and scores of shape (sentences, 5) out."""

    async def load(self) -> bool:
        """Load the model."""
        extra: Any = self.settings.parameters.extra
        self.model = MlServerModel(Path(extra["folder"]), extra["threads"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a batch."""
        texts = [t.decode() if isinstance(t, bytes) else t for t in payload.inputs[0].data]
        tokens, scores = await asyncio.to_thread(self.model.predict, texts)
        shape = [len(texts), TOP]
        names: Any = [token for row in tokens for token in row]
        figures: Any = [float(score) for row in scores for score in row]
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                ResponseOutput(name="token", shape=shape, datatype="BYTES", data=names),
                ResponseOutput(name="score", shape=shape, datatype="FP32", data=figures),
            ],
        )


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=CORES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-batch", type=int, default=8)
    parser.add_argument("--batch-time", type=float, default=0.002)
    given = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="mlserver-"))
    (place / "serve.py").symlink_to(Path(__file__).absolute())
    settings = {
        "host": "127.0.0.1",
        "http_port": given.port,
        "grpc_port": free_port(),
        "metrics_endpoint": None,
        "parallel_workers": given.workers,
        "debug": False,
        "logging_settings": {"version": 1, "root": {"level": "WARNING"}},
    }
    model = {
        "name": "fill",
        "implementation": "serve.FillMaskRuntime",
        "max_batch_size": given.max_batch,
        "max_batch_time": given.batch_time,
        "parameters": {
            "extra": {"folder": str(given.model_dir.absolute()), "threads": given.threads}
        },
    }
    (place / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    (place / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    command = [str(Path(sys.executable).parent / "mlserver"), "start", str(place)]
    os.chdir(place)
    os.execv(command[0], command)
