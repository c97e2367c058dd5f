"""``python -m tiankong.server``: the reference stack serves one variant folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..toolkit.errors import TiankongError
from .ending import ended_at_once

# The rest is imported when a signal that comes meanwhile finds somebody who answers it.
if TYPE_CHECKING:
    from .settings import Settings

EXAMPLE = "example: python -m tiankong.server --variant-dir artifacts/variants/builtin/onnx-int8"


def read_arguments(argv: Sequence[str] | None = None) -> Settings:
    """Return the settings of a command line; an option not given keeps its default."""
    from .settings import Settings

    parser = argparse.ArgumentParser(
        prog="python -m tiankong.server",
        description="Serve one variant over HTTP.",
        epilog=EXAMPLE,
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("--variant-dir", dest="folder", type=Path, required=True, help="a built variant")
    add("--host", help="address to listen on (127.0.0.1)")
    add("--port", type=int, help="TCP port, 0 for any free one (8080)")
    add("--streams", type=int, help="batches inferred at the same time (0: measured)")
    add("--threads", type=int, help="threads for one batch (0: usable cores, shared)")
    add("--max-batch", type=int, help="sentences in one inference, 1: each alone (8)")
    add("--spin", action=argparse.BooleanOptionalAction, help="threads wait in circles (no)")
    add("--cache", type=int, help="answers to remember (0)")
    add("--access-log", action=argparse.BooleanOptionalAction, help="a JSON line a request (yes)")
    add("--api-key-file", type=Path, help="keys of which clients need one, a line each (none)")
    add("--queue-limit", type=int, help="sentences that may wait (256)")
    add("--deadline", type=float, help="seconds to the answer (30)")
    add("--body-limit", type=int, help="bytes of a body (65536)")
    add("--batch-limit", type=int, help="texts in one batch (256)")
    add("--head-deadline", type=float, help="seconds to the end of a request's head (10)")
    add("--connections", type=int, help="at most, fewer where 'ulimit -n' wants it (4096)")
    add("--replicas", type=int, help="processes behind Ray Serve (0: this one, without Ray)")
    add("--max-replicas", type=int, help="so many if the load asks for them (as --replicas)")
    return Settings(**vars(parser.parse_args(argv)))


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped; return the exit code."""
    try:
        with ended_at_once():
            from .launch import run_ray, run_reference

            settings = read_arguments(argv)
            if not settings.replicas:
                run_reference(settings)
                return 0
        run_ray(settings)
    except TiankongError as error:
        print(f"tiankong: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
