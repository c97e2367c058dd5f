"""Evidence: what a run measured beside its cells, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .run_file import Run

CEILINGS, DISTILBERT, IMAGE = EVIDENCE = ("ceilings", "distilbert", "image")
"""``ceilings``: by variant, the most sentences a second that the machine's kernels would allow.
``distilbert``: the built-in model of a DistilBERT's depth behind the same server.  ``image``: what
a deployment takes on the disk.  Their keys are in docs/formats.md.
"""
LEFT_OUT = "left_out"


def evidence_of(run: Run, name: str) -> Mapping[str, Any] | None:
    """Return a run's evidence of a name; None if it was not measured, or could not be."""
    found = run.evidence.get(name)
    return None if found is None or LEFT_OUT in found else found


def ceiling_of(run: Run, variant: str) -> Mapping[str, Any] | None:
    """Return a variant's ceiling, None if it is not known.

    ``sentences_per_second`` of ``tokens`` tokens in batches of ``batch``: the most that all cores
    together could answer if nothing but the model's matrix products took time.
    """
    found = run.evidence.get(CEILINGS, {}).get(variant)
    return None if found is None or LEFT_OUT in found else dict(found)
