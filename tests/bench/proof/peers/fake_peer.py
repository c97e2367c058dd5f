"""A stand-in for a peer: answers from a file beside it; the tests copy and run it."""

import argparse
import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent
ANSWERS = json.loads((HERE / "answers.json").read_text(encoding="utf-8"))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer({"status": "ok"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"results": ANSWERS[json.loads(body)["text"]]})

    def answer(self, data: object) -> None:
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


parser = argparse.ArgumentParser()
parser.add_argument("--model-dir", type=Path, required=True)
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--orphan", type=Path)
parser.add_argument("--die")
given = parser.parse_args()
with (HERE / "starts").open("a", encoding="utf-8") as starts:
    starts.write(f"{given.die or 'ready'}\n")
if given.die:
    print("a line before the last")
    sys.exit(given.die)
if given.orphan:
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    given.orphan.write_text(str(child.pid))
ThreadingHTTPServer(("127.0.0.1", given.port), Handler).serve_forever()
