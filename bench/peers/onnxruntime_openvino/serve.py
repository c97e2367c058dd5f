"""FastAPI in front of ONNX Runtime's OpenVINO execution provider.

    python serve.py --model-dir DIR --port 8000

Pages: https://onnxruntime.ai/docs/execution-providers/OpenVINO-ExecutionProvider.html
(``load_config`` with OpenVINO's own settings),
https://huggingface.co/docs/transformers/pipeline_webserver (the server puts requests in a queue;
batches of what waits), https://fastapi.tiangolo.com/advanced/events/ (the model in the lifespan).

``--streams 2 --threads 1`` has two batches at a time with a thread each, which is for many users;
``--streams 1 --threads 2`` one batch with two threads, for one user.  OpenVINO computes the graph
of ``onnx-int8`` otherwise than ONNX Runtime: some of its answers are not the variant's own.
"""

import argparse
import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OPENVINO_TELEMETRY_OPT_OUT", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from tokenizers import Tokenizer

CORES = int(os.environ.get("PEER_CORES", 0)) or len(os.sched_getaffinity(0))
TOP = 5
ARRAYS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


class OpenVinoQuestion(BaseModel):
    """The body of a request."""

    text: str


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model-dir", type=Path, required=True)
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--streams", type=int, default=CORES)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--max-batch", type=int, default=8)
arguments = parser.parse_args()


class OpenVinoModel:
    """The graph and the tokenizer of a variant's folder."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_padding(pad_id=self.tokenizer.token_to_id("[PAD]"))
        self.mask = self.tokenizer.token_to_id("[MASK]")
        (path,) = folder.glob("onnx/*.onnx")
        settings = {
            "INFERENCE_NUM_THREADS": str(threads * arguments.streams),
            "NUM_STREAMS": str(arguments.streams),
            "INFERENCE_PRECISION_HINT": "f32",  # else products are of BF16 where the CPU has it
            "PERFORMANCE_HINT": "LATENCY" if arguments.streams == 1 else "THROUGHPUT",
        }
        terms = {"device_type": "CPU", "load_config": json.dumps({"CPU": settings})}
        self.session = onnxruntime.InferenceSession(
            str(path), providers=[("OpenVINOExecutionProvider", terms)]
        )
        self.inputs = [entry.name for entry in self.session.get_inputs()]
        self.ranks = "top_ids" in {entry.name for entry in self.session.get_outputs()}

    def predict(self, texts: list[str]) -> tuple[list[list[Any]], Any]:
        """Return the best tokens of each text's first [MASK], and their probabilities."""
        encodings = self.tokenizer.encode_batch(texts)
        feed = {
            name: np.array([getattr(each, ARRAYS[name]) for each in encodings], np.int64)
            for name in self.inputs
        }
        rows, columns = np.nonzero(feed["input_ids"] == self.mask)
        _, first = np.unique(rows, return_index=True)
        if self.ranks:  # the graph computes the ranking: a row for each [MASK]
            ids, scores = self.session.run(["top_ids", "top_scores"], feed)
            ids, scores = ids[first, :TOP], scores[first, :TOP]
        else:
            (logits,) = self.session.run(["logits"], feed)
            picked = logits[rows[first], columns[first]]
            every = np.exp(picked - picked.max(axis=-1, keepdims=True))
            ids = np.argsort(-picked, axis=-1)[:, :TOP]
            scores = np.take_along_axis(every, ids, -1) / every.sum(axis=-1, keepdims=True)
        name_of = self.tokenizer.id_to_token
        tokens = [[name_of(int(one)) for one in row] for row in ids]
        return tokens, scores


async def server_loop(model: OpenVinoModel, queue: asyncio.Queue[Any]) -> None:
    """Answer the queue batch by batch, in a thread beside the event loop."""
    while True:
        waiting = [await queue.get()]
        while len(waiting) < arguments.max_batch and not queue.empty():
            waiting.append(queue.get_nowait())
        texts, futures = zip(*waiting, strict=True)
        try:
            tokens, scores = await asyncio.to_thread(model.predict, list(texts))
        except Exception as error:
            for future in futures:
                future.set_exception(error)
            continue
        for future, names, row in zip(futures, tokens, scores, strict=True):
            pairs = zip(names, row, strict=True)
            future.set_result({"results": [{"token": t, "score": float(s)} for t, s in pairs]})


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the model, try it once, and answer requests until the server ends."""
    model = OpenVinoModel(arguments.model_dir, arguments.threads)
    model.predict(["[MASK]。"])
    app.state.queue = asyncio.Queue()
    loops = [
        asyncio.create_task(server_loop(model, app.state.queue)) for _ in range(arguments.streams)
    ]
    yield
    for loop in loops:
        loop.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
async def predict(question: OpenVinoQuestion) -> dict[str, Any]:
    """Answer one sentence."""
    future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    await app.state.queue.put((question.text, future))
    return await future


@app.get("/health")
async def health() -> dict[str, str]:
    """Report that the model is loaded: before that, the server does not listen."""
    return {"status": "ok"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="warning", access_log=False)
