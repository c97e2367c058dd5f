"""``python -m tiankong.server``: the reference stack serves one variant folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..toolkit.guard import Guard, require_ground
from .ending import ended_at_once

# Everything else is imported later, when signals are already handled (ended_at_once).
if TYPE_CHECKING:
    from .settings import Settings

EXAMPLE = "example: python -m tiankong.server --variant-dir artifacts/variants/builtin/onnx-int8"


def read_arguments(argv: Sequence[str] | None = None) -> Settings:
    """Return the settings of a command line; options that are not given have their defaults."""
    from .settings import TABLE, Settings

    parser = argparse.ArgumentParser(
        prog="python -m tiankong.server",
        description="Serve one variant over HTTP.",
        epilog=EXAMPLE,
        argument_default=argparse.SUPPRESS,
    )
    for row in TABLE:
        keywords: dict[str, Any] = {"type": row.kind}
        if row.kind is bool:
            keywords = {"action": argparse.BooleanOptionalAction}
        default = "" if row.default is None or row.required else f" (default: {row.default})"
        keywords |= {"dest": row.name, "required": row.required, "help": row.text + default}
        parser.add_argument(row.option, **keywords)
    return Settings(**vars(parser.parse_args(argv)))


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped; return the exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    guard = Guard("tiankong")
    with guard:
        _serve(arguments)
    return guard.code


def _serve(arguments: Sequence[str]) -> None:
    with ended_at_once():
        from .launch import run_ray, run_reference

        require_ground(arguments)
        settings = read_arguments(arguments)
        if not settings.replicas:
            run_reference(settings)
            return
    run_ray(settings)


if __name__ == "__main__":
    sys.exit(main())
