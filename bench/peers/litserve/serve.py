"""LitServe over an ONNX file, with batches, as its documentation shows it.

    python serve.py --model-dir DIR --port 8000

Pages: https://lightning.ai/docs/litserve/features/batching (``max_batch_size``, ``batch_timeout``,
``batch`` and ``unbatch``), https://lightning.ai/docs/litserve/api-reference/litserver
(``workers_per_device``, on a CPU the number of cores; ``fast_queue``, for more than 100 requests a
second; ``num_api_servers``, as many as workers).

The settings were tried on two cores, in short windows in turns.  2 workers with 1 thread each had
the highest throughput at 16 users, 1 worker with 2 threads at 1 user; so both are measured
(``--workers 1 --threads 2``).  A ``batch_timeout`` of 10 ms cost a quarter of the throughput at 1
user and gained nothing at 16; 0.5 ms, ``fast_queue``, batches of 16 and one API server made no
difference above the noise; with 0 idle workers poll without pause.  ONNX Runtime's threads spin
while they wait, which is its default: that was no worse.
"""

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")

import litserve as ls
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

CORES = int(os.environ.get("PEER_CORES", 0)) or len(os.sched_getaffinity(0))
TOP = 5
ARRAYS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


class FillMaskApi(ls.LitAPI):
    """One sentence with a [MASK] in, the five likeliest tokens out."""

    def __init__(self, folder: Path, threads: int, spin: bool, **options: Any) -> None:
        super().__init__(**options)
        self.folder, self.threads, self.spin = folder, threads, spin

    def setup(self, device: str) -> None:
        """Load tokenizer and session, once in each worker."""
        self.tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        pad_id = self.tokenizer.token_to_id("[PAD]")
        self.tokenizer.enable_padding(pad_id=pad_id)
        self.mask_id = self.tokenizer.token_to_id("[MASK]")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(self.spin)))
        (path,) = self.folder.glob("onnx/*.onnx")
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = [entry.name for entry in self.session.get_inputs()]
        self.outputs = {entry.name for entry in self.session.get_outputs()}

    def decode_request(self, request: dict[str, str]) -> str:
        """Return the sentence."""
        return request["text"]

    def batch(self, inputs: list[str]) -> list[str]:
        """Return the sentences of a batch."""
        return list(inputs)

    def predict(self, texts: list[str]) -> list[tuple[Any, Any]]:
        """Return ids and probabilities of the best tokens of each sentence's first [MASK]."""
        encodings = self.tokenizer.encode_batch(texts)
        feed = {
            name: np.array([getattr(each, ARRAYS[name]) for each in encodings], np.int64)
            for name in self.inputs
        }
        rows, columns = np.nonzero(feed["input_ids"] == self.mask_id)
        _, first = np.unique(rows, return_index=True)
        if "top_ids" in self.outputs:  # the graph computes the ranking: a row for each [MASK]
            ids, scores = self.session.run(["top_ids", "top_scores"], feed)
            return list(zip(ids[first, :TOP], scores[first, :TOP], strict=True))
        (logits,) = self.session.run(["logits"], feed)
        return [best(logits[rows[place], columns[place]]) for place in first]

    def unbatch(self, output: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        """Return the answers one by one."""
        return output

    def encode_response(self, output: tuple[Any, Any]) -> dict[str, Any]:
        """Return the body."""
        ids, scores = output
        return {
            "results": [
                {"token": self.tokenizer.id_to_token(int(i)), "score": float(score)}
                for i, score in zip(ids, scores, strict=True)
            ]
        }


def best(logits: Any) -> tuple[Any, Any]:
    """Return ids and probabilities of the best tokens of a row of logits."""
    scores = np.exp(logits - logits.max())
    ids = np.argpartition(-scores, TOP)[:TOP]
    ids = ids[np.argsort(-scores[ids], kind="stable")]
    return ids, scores[ids] / scores.sum()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=CORES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--spin", type=int, default=1)
    parser.add_argument("--max-batch", type=int, choices=range(2, 65), default=8, metavar="2..64")
    parser.add_argument("--batch-timeout", type=float, default=0.002)
    parser.add_argument("--fast-queue", type=int, default=0)
    parser.add_argument("--api-servers", type=int, help="default: as many as workers")
    arguments = parser.parse_args()
    api = FillMaskApi(
        arguments.model_dir,
        arguments.threads,
        bool(arguments.spin),
        max_batch_size=arguments.max_batch,
        batch_timeout=arguments.batch_timeout,
    )
    server = ls.LitServer(
        api,
        accelerator="cpu",
        workers_per_device=arguments.workers,
        fast_queue=bool(arguments.fast_queue),
    )
    server.run(
        host="127.0.0.1",
        port=arguments.port,
        num_api_servers=arguments.api_servers,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )
