"""A peer: Ray Serve with ``@serve.batch``, as its documentation sets it up.

    python serve.py --model-dir artifacts/variants/builtin/onnx-int8 --port 8000

Nothing of this project's code: ONNX Runtime and tokenizers read the variant's folder.
Pages: https://docs.ray.io/en/latest/serve/advanced-guides/dyn-req-batch.html,
https://docs.ray.io/en/latest/serve/monitoring.html (the access log is switched off).

The settings were tried on two cores, in short windows that took turns.  At 1 user a wait for
company of 2 ms answered more than Ray's usual 10 ms; at 16 users a replica for each core, with
threads that do not spin (Ray's own processes want the cores too), was no worse than one replica
with all cores, and better than spinning.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

# Read when Ray is imported: it listens on 127.0.0.1 only, and sends nothing home.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import numpy as np
import onnxruntime
import ray
from fastapi import FastAPI, HTTPException, Request
from ray import serve
from tokenizers import Tokenizer

CORES = int(os.environ.get("PEER_CORES", 0)) or len(os.sched_getaffinity(0))
TOP_K = 5
MASK = "[MASK]"


class Model:
    """The graph and the tokenizer of a variant's folder."""

    def __init__(self, folder: Path, threads: int, spin: bool) -> None:
        manifest = json.loads((folder / "variant.json").read_text(encoding="utf-8"))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_padding(pad_id=self.tokenizer.token_to_id("[PAD]"))
        self.mask = self.tokenizer.token_to_id(MASK)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
        self.session = onnxruntime.InferenceSession(
            str(folder / manifest["recipe"]["file"]), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = {entry.name for entry in self.session.get_inputs()}
        self.outputs = [entry.name for entry in self.session.get_outputs()]

    def predict(self, texts: list[str]) -> list[list[dict[str, Any]] | None]:
        """Return the best tokens for the first [MASK] of each text; None where there is none."""
        encoded = self.tokenizer.encode_batch(texts)
        feed = {
            "input_ids": np.array([entry.ids for entry in encoded], np.int64),
            "attention_mask": np.array([entry.attention_mask for entry in encoded], np.int64),
            "token_type_ids": np.array([entry.type_ids for entry in encoded], np.int64),
        }
        rows, columns = np.nonzero(feed["input_ids"] == self.mask)
        if not len(rows):
            return [None] * len(texts)
        scores, ids = self._best(feed, rows, columns)
        answers: list[list[dict[str, Any]] | None] = [None] * len(texts)
        for row, best, probabilities in zip(rows, ids, scores, strict=True):
            if answers[row] is None:
                answers[row] = [
                    {"token": self.tokenizer.id_to_token(int(token)), "score": float(score)}
                    for token, score in zip(best, probabilities, strict=True)
                ]
        return answers

    def _best(self, feed: dict[str, Any], rows: Any, columns: Any) -> tuple[Any, Any]:
        """Return probabilities and ids, each of shape (masks, TOP_K)."""
        feed = {name: value for name, value in feed.items() if name in self.inputs}
        if "top_scores" in self.outputs:  # the graph ranks by itself
            scores, ids = self.session.run(["top_scores", "top_ids"], feed)
            return scores[:, :TOP_K], ids[:, :TOP_K]
        (logits,) = self.session.run(["logits"], feed)
        picked = logits[rows, columns].astype(np.float32)
        probabilities = np.exp(picked - picked.max(axis=-1, keepdims=True))
        probabilities /= probabilities.sum(axis=-1, keepdims=True)
        ids = np.argsort(-probabilities, axis=-1)[:, :TOP_K]
        return np.take_along_axis(probabilities, ids, axis=-1), ids


app = FastAPI()


@serve.deployment(max_ongoing_requests=100)
@serve.ingress(app)
class FillMask:
    """A replica; requests wait for company for so many seconds (Ray's default: 0.01)."""

    def __init__(self, folder: str, threads: int, spin: bool, wait: float) -> None:
        self.model = Model(Path(folder), threads, spin)
        self.ask.set_batch_wait_timeout_s(wait)

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.01)
    async def ask(self, texts: list[str]) -> list[list[dict[str, Any]] | None]:
        """Answer a batch."""
        return await asyncio.to_thread(self.model.predict, texts)

    @app.post("/predict")
    async def predict(self, request: Request) -> dict[str, Any]:
        """Answer one request."""
        results = await self.ask((await request.json())["text"])
        if results is None:
            raise HTTPException(400, "the text has no [MASK]")
        return {"results": results}

    @app.get("/health")
    async def health(self) -> dict[str, str]:
        """Say that requests may come."""
        return {"status": "ok"}


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-dir", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--replicas", type=int, default=CORES)
    parser.add_argument("--spin", type=int, default=0)
    parser.add_argument("--batch-wait", type=float, default=0.002)
    arguments = parser.parse_args()
    ray.init(address="local", num_cpus=CORES, include_dashboard=False)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: sys.exit(0))
    serve.start(
        http_options={"host": "127.0.0.1", "port": arguments.port},
        logging_config={"enable_access_log": False, "log_level": "WARNING"},
    )
    threads = max(1, CORES // arguments.replicas)
    deployment: Any = FillMask
    deployment = deployment.options(
        num_replicas=arguments.replicas,
        ray_actor_options={"num_cpus": threads},
        logging_config={"enable_access_log": False, "log_level": "WARNING"},
    )
    folder = os.path.abspath(arguments.model_dir)
    application = deployment.bind(folder, threads, bool(arguments.spin), arguments.batch_wait)
    serve.run(application, route_prefix="/")
    try:
        signal.pause()
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
