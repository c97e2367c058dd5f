"""FastAPI in front of a pipeline with Optimum's ONNX Runtime model, as the documentation shows it.

    python serve.py --model-dir DIR --port 8000

Pages: https://huggingface.co/docs/optimum/onnxruntime/usage_guides/pipelines (transformers'
pipeline with a model of Optimum), https://huggingface.co/docs/transformers/pipeline_webserver
(the server puts requests in a queue, one thread runs the pipeline on all cores; batches of
waiting requests are optional),
https://fastapi.tiangolo.com/advanced/events/ (the model is loaded in the lifespan).

Waiting requests are answered in batches of up to 8 (``--max-batch 1``: one by one).  In short
windows in turns, batches had a higher throughput at 16 users, and cost nothing at 1 user.
"""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")

import onnxruntime
import uvicorn
from fastapi import FastAPI
from optimum.onnxruntime import ORTModelForMaskedLM
from pydantic import BaseModel
from transformers import AutoTokenizer, pipeline

CORES = int(os.environ.get("PEER_CORES", 0)) or len(os.sched_getaffinity(0))
TOP = 5


class OptimumQuestion(BaseModel):
    """The body of a request."""

    text: str


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model-dir", type=Path, required=True)
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--threads", type=int, default=CORES)
parser.add_argument("--max-batch", type=int, default=8)
arguments = parser.parse_args()


def answers(pipe: Any, texts: list[str]) -> list[dict[str, Any]]:
    """Return the body of each answer (to the first [MASK])."""
    # The pipeline returns no outer list for one text, and none around the five of one [MASK].
    outputs = pipe(texts, batch_size=len(texts)) if len(texts) > 1 else [pipe(texts[0])]
    rankings = [ranking[0] if isinstance(ranking[0], list) else ranking for ranking in outputs]
    token_of = pipe.tokenizer.convert_ids_to_tokens
    return [
        {
            "results": [
                {"token": token_of(entry["token"]), "score": entry["score"]} for entry in ranking
            ]
        }
        for ranking in rankings
    ]


async def server_loop(pipe: Any, queue: asyncio.Queue[Any]) -> None:
    """Answer the queue batch by batch, in a thread beside the event loop."""
    while True:
        waiting = [await queue.get()]
        while len(waiting) < arguments.max_batch and not queue.empty():
            waiting.append(queue.get_nowait())
        texts, futures = zip(*waiting, strict=True)
        try:
            bodies = await asyncio.to_thread(answers, pipe, list(texts))
        except Exception as error:
            for future in futures:
                future.set_exception(error)
            continue
        for future, body in zip(futures, bodies, strict=True):
            future.set_result(body)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the model, try it once, and answer requests until the server ends."""
    (path,) = arguments.model_dir.glob("onnx/*.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    model = ORTModelForMaskedLM.from_pretrained(
        arguments.model_dir, subfolder="onnx", file_name=path.name, session_options=options
    )
    tokenizer = AutoTokenizer.from_pretrained(arguments.model_dir)
    pipe: Any = pipeline("fill-mask", model=model, tokenizer=tokenizer, top_k=TOP)
    answers(pipe, [f"{pipe.tokenizer.mask_token}。"])
    app.state.queue = asyncio.Queue()
    loop = asyncio.create_task(server_loop(pipe, app.state.queue))
    yield
    loop.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
async def predict(question: OptimumQuestion) -> dict[str, Any]:
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
