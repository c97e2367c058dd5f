"""What all proofs share: the start of the command line, errors as one line, the exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ...toolkit.guard import Guard
from ...toolkit.processes import interrupt_on_terminate


def command_line(name: str, text: str | None, model: str = "builtin") -> argparse.ArgumentParser:
    """Return the command line of a proof, which adds options of its own to ``--model``.

    ``text`` is the module's docstring; ``--help`` prints it unchanged.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m tiankong.bench.proof.{name}",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default=model)
    return parser


@contextmanager
def ended_well(name: str, *, resumes: bool = False) -> Iterator[None]:
    """End the process on errors as the toolkit's commands do: one line, and the promised exit code.

    ``resumes``: results are stored, and the same command run again does not measure them again.
    """
    interrupt_on_terminate()
    guard = Guard(name, "; what was measured is kept, the same command goes on" if resumes else "")
    with guard:
        yield
    if guard.code:
        sys.exit(guard.code)
