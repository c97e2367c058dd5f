"""What the command line prints: results as a few lines, or as one JSON object."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .errors import GateFailedError

if TYPE_CHECKING:
    from ..bench.compare.judgement import Comparison
    from ..bench.search.tune import Tuned
    from .gate.examination import Gated
    from .gate.judging import Check


def print_json(data: object) -> None:
    """Print one JSON object on standard output (strict JSON: no NaN, no infinity)."""
    print(json.dumps(data, ensure_ascii=False, allow_nan=False))


def require_passed(gated: Gated) -> None:
    """Raise GateFailedError naming the variants that failed."""
    failed = [result.variant for result in gated.checks if not result.passed]
    if failed:
        raise GateFailedError(f"the gate failed for {', '.join(failed)}")


def print_gate(gated: Gated) -> None:
    """Print one line a variant, its categories, broken promises and flipped items."""
    print(f"model {gated.model}, gold set {gated.gold.name} ({len(gated.gold.items)} items)")
    _print_publication(gated)
    for result in gated.checks:
        verdict = "FAILED" if not result.passed else "passed" if result.judged else "not judged"
        print(
            f"{result.variant:<16} {verdict}  hit@1 {result.hit_at_1:.1%}"
            f"  hit@5 {result.hit_at_5:.1%}  {_agreement(result)}{_batch(result)}"
        )
        for category, hits in result.categories.items():
            print(
                f"  {category:<14} {hits.items:4} items"
                f"  hit@1 {hits.hit_at_1:.1%}  hit@5 {hits.hit_at_5:.1%}"
            )
        for reason in result.reasons:
            print(f"  broken promise: {reason}")
        for flip in result.flipped:
            print(f"  flipped {flip.id}: {flip.text} {flip.reference} -> {flip.variant}")


def _batch(result: Check) -> str:
    if result.batch is None:
        return ""
    return f"  {'same' if result.batch.independent else 'other answers'} in batches"


def _print_publication(gated: Gated) -> None:
    """Say whether the model is a checkpoint whose predictions are known."""
    found = gated.publication
    if found is None:
        return
    kind = "" if found.checkpoint == "builtin" else "published "
    if found.same:
        print(f"this is the {kind}checkpoint {found.checkpoint}: {found.facts} predictions agree")
        return
    print(f"this is not the {kind}checkpoint {found.checkpoint}:")
    for difference in found.differences:
        print(f"  {difference}")


def _agreement(result: Check) -> str:
    if result.top1_agreement is None:
        more = "" if result.judged else "; to be judged, give --model or --hit-at-5"
        return f"compared with no reference{more}"
    return (
        f"same top-1 {result.top1_agreement:.1%}"
        f"  same top-5 {result.top5_agreement:.1%} (ordered {result.order_agreement:.1%})"
        f"  max difference {result.max_delta:.1e}  divergence {result.divergence:.1e}"
        f" (worst {result.worst_divergence:.1e})"
    )


def print_comparison(result: Comparison) -> None:
    """Print both sides, the ratio and the control with their intervals, and the verdict."""
    ratio, control = result.ratio, result.control
    print(f"A  {result.a}: {result.qps[0]:.4g} QPS, median {result.median_ms[0]:.4g} ms")
    print(f"B  {result.b}: {result.qps[1]:.4g} QPS, median {result.median_ms[1]:.4g} ms")
    print(f"B / A  {ratio.ratio:.3f}  95 % interval {ratio.low:.3f} to {ratio.high:.3f}")
    print(f"A / A  {control.ratio:.3f}  95 % interval {control.low:.3f} to {control.high:.3f}")
    print(f"verdict for B: {result.verdict}")
    print(
        f"{result.users} users, {result.generations} starts, {result.rounds} rounds;"
        f" other processes used {result.others_percent:.0f} % of the machine"
    )
    for note in result.notes:
        print(f"note: {note}")


def print_tuned(found: Tuned) -> None:
    """Print the best settings beside the usual ones, and the command that serves with them."""
    for word, one in (("best", found.best), ("usual", found.usual)):
        held = "" if one.held else f"  (misses {found.slo})"
        print(f"{word:6}{one.choice}: {one.qps:.4g} QPS at {one.users} users,"
              f" 95 % interval {one.low:.4g} to {one.high:.4g}{held}")  # fmt: skip
    if found.best.choice == found.usual.choice:
        print("nothing was confirmed to be better than the usual settings")
    elif found.best.low < found.usual.high:
        print("too close to call: the intervals overlap")
    print(f"tiankong serve --variant {found.variant} {found.best.choice.options}")
