"""Triton Inference Server through PyTriton, with its dynamic batcher.

    python serve.py --model-dir DIR --port 8000

Pages: https://triton-inference-server.github.io/pytriton/latest/binding_models/ (several instances
of a model), https://triton-inference-server.github.io/pytriton/latest/decorators/ (``batch``).
The batcher takes what waits (no queue delay, its default); clients speak KServe's protocol v2.

Triton's Python stub loads the shared libpython, which has to be this interpreter's.

``--instances 1 --threads 2`` is one instance with two threads, which is for one user.
"""

import argparse
import os
import socket
import sysconfig
from pathlib import Path
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ["LD_LIBRARY_PATH"] = ":".join(
    filter(None, [sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH")])
)

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig
from tokenizers import Tokenizer

CORES = int(os.environ.get("PEER_CORES", 0)) or len(os.sched_getaffinity(0))
TOP = 5
ARRAYS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


class TritonModel:
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


def instance(model: TritonModel) -> Any:
    """Return the function that an instance of the model runs."""

    @batch
    def infer(text: Any) -> dict[str, Any]:
        """Answer a batch: ``text`` is of shape (batch, 1)."""
        tokens, scores = model.predict([row[0].decode() for row in text])
        names = [[token.encode() for token in row] for row in tokens]
        return {"token": np.array(names, np.bytes_), "score": np.asarray(scores, np.float32)}

    return infer


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--instances", type=int, default=CORES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-batch", type=int, default=8)
    given = parser.parse_args()
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=given.port,
        grpc_address="127.0.0.1",
        grpc_port=free_port(),
        allow_metrics=False,
    )
    models = [TritonModel(given.model_dir, given.threads) for _ in range(given.instances)]
    with Triton(config=config) as triton:
        triton.bind(
            model_name="fill",
            infer_func=[instance(model) for model in models],
            inputs=[Tensor(name="text", dtype=np.bytes_, shape=(1,))],
            outputs=[
                Tensor(name="token", dtype=np.bytes_, shape=(TOP,)),
                Tensor(name="score", dtype=np.float32, shape=(TOP,)),
            ],
            config=ModelConfig(max_batch_size=given.max_batch, batcher=DynamicBatcher()),
        )
        triton.serve()
