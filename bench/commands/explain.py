"""The command ``explain`` and what it prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ...toolkit.options import (
    AsJson,
    ConvertPickle,
    Gold,
    Model,
    Recipes,
    Revision,
    numbers,
    print_json,
)

if TYPE_CHECKING:
    from ..explain.findings import Explanation, Measured
    from ..explain.subject import Profile

NOISY = 10.0  # percent of the machine used by other processes
UNITS = {"fp32": "GFLOP/s", "bf16": "GFLOP/s", "fp16": "GFLOP/s", "int8": "GOP/s"}
SHOWN_REASONS = 4


def explain(
    variant: Annotated[str, typer.Argument(metavar="VARIANT", help="which variant")],
    model: Model = "builtin", gold: Gold = "builtin", recipes: Recipes = None,
    revision: Revision = "", convert_pickle: ConvertPickle = False,
    lengths: Annotated[str, typer.Option("--lengths", help="tokens a sentence")] = "16,32,128",
    batches: Annotated[str, typer.Option("--batches", help="sentences a call")] = "1,8",
    threads: Annotated[
        int, typer.Option("--threads", min=0, help="of one call (0: usable cores)")
    ] = 0,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="more are steadier")] = 5,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Tell how far a variant is from this machine's ceiling, and what stands between."""
    from ...toolkit.building.store import Store
    from ...toolkit.gate.gold import find_gold
    from ..explain.explanation import check_terms
    from ..explain.explanation import explain as explain_variant
    from ..explain.findings import ExplainTerms
    from ..load.sentences import of_length

    terms = ExplainTerms(
        numbers("--lengths", lengths), numbers("--batches", batches), threads, rounds
    )
    gold_set = find_gold(gold)
    (built,) = Store(model, revision or None, recipes, convert_pickle=convert_pickle).get([variant])
    check_terms(terms, built.folder)
    texts = {length: of_length(built.folder, gold_set, length, 0) for length in terms.lengths}
    explanation = explain_variant(
        model, built.folder, texts, [item.text for item in gold_set.items], terms
    )
    if as_json:
        print_json(explanation.as_json())
    else:
        print("\n".join(lines(explanation)))


def lines(explanation: Explanation) -> Iterator[str]:
    """Yield the lines for a person: the verdict first, then the measurements behind it."""
    isa = ", ".join(explanation.machine["isa"]) or "no instruction set that matters"
    cpu = explanation.machine["cpu"]
    yield f"{explanation.variant} of {explanation.model}, {explanation.engine}; {cpu},"
    yield f"{explanation.streams} usable cores, {isa}"
    yield ""
    yield from _verdict(explanation)
    yield ""
    yield from _flags(explanation)
    yield from _ceilings(explanation)
    yield ""
    yield from _points(explanation)
    yield ""
    yield from _profiles(explanation)
    yield ""
    yield from _rest(explanation)


def _verdict(explanation: Explanation) -> Iterator[str]:
    alone, most = explanation.at_batch_1, explanation.at_saturation
    calls = "1 sentence" if alone.work.batch == 1 else f"{alone.work.batch} sentences"
    yield (
        f"{calls} of {alone.work.length} tokens, {explanation.threads} threads:"
        f" {_share(alone.latency.fraction)} of the ceiling"
        f" ({_number(alone.latency_ms)} ms, at least {_number(alone.alone.ms)}"
        f" by {alone.alone.bound})"
    )
    yield f"  between: {_reasons(explanation.profiles[0])}"
    best = most.rate / most.saturation.fraction
    yield (
        f"saturation, {explanation.streams} streams of batches of {most.work.batch}:"
        f" {_share(most.saturation.fraction)} of the ceiling"
        f" ({_number(most.rate)} sentences/s, at most {_number(best)} by {most.together.bound})"
    )
    yield f"  between: {_reasons(explanation.profiles[1])}"
    if explanation.others_percent > NOISY:
        yield (
            f"other processes used {explanation.others_percent:.0f} % of the machine meanwhile:"
            " measure again on a quiet one"
        )


def _reasons(profile: Profile) -> str:
    """Return the causes of time beyond the floor, the largest first, in shares of a call."""
    costs = [
        (group.ms - group.floor_ms, group.name + " beyond their floor" * (group.floor_ms > 0))
        for group in profile.groups
    ]
    costs.append((profile.between_ms, "between operators"))
    named = [
        f"{name} {_share(cost / profile.engine_ms)}"
        for cost, name in sorted(costs, reverse=True)[:SHOWN_REASONS]
        if cost > 0
    ]
    return ", ".join(named)


def _many(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count > 1)


def _number(value: float) -> str:
    """Return a number with three digits, never in powers of ten."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _share(fraction: float) -> str:
    return f"{fraction * 100:.0f} %"


def _flags(explanation: Explanation) -> Iterator[str]:
    for flag in explanation.flags:
        yield f"{flag.level}: {flag.what}"
        yield f"  what to do: {flag.advice}"
    if explanation.flags:
        yield ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table: the first column to the left, the others to the right."""
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    for row in (head, *rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield "  ".join(cells).rstrip()


def _ceilings(explanation: Explanation) -> Iterator[str]:
    cores = sorted({ceiling.cores for ceiling in explanation.ceilings})
    rates = {(c.precision, c.cores): c.typical for c in explanation.ceilings}
    rows = []
    for precision in dict.fromkeys(ceiling.precision for ceiling in explanation.ceilings):
        shown = [_rate(rates.get((precision, number))) for number in cores]
        rows.append([f"{precision} products, {UNITS[precision]}", *shown])
    rows += [[f"{name} products", *["-"] * len(cores)] for name in explanation.missing]
    memory = {each.cores: each.typical for each in explanation.bandwidths}
    rows.append(["memory, GB/s", *[_rate(memory.get(number)) for number in cores]])
    heads = [f"{number} core" + "s" * (number > 1) for number in cores]
    yield from table(["ceilings of this machine", *heads], rows)
    for name, reason in explanation.missing.items():
        yield f"  {name} not measured: {reason}"
    for ceiling in explanation.ceilings:
        if ceiling.cores == cores[-1]:
            yield f"  {ceiling.precision}: {ceiling.cell.words}"


def _rate(value: float | None) -> str:
    return "-" if value is None else _number(value)


def _points(explanation: Explanation) -> Iterator[str]:
    head = [
        "tokens x batch", "GOP/sentence", "weights MB", "activations MB",
        "floor ms", "one call ms", "of ceiling", "sentences/s", "of ceiling",
    ]  # fmt: skip
    yield from table(head, [_point(point) for point in explanation.points])


def _point(point: Measured) -> list[str]:
    work = point.work
    giga = {name: each / work.batch / 1e9 for name, each in work.operations().items()}
    return [
        f"{work.length} x {work.batch}",
        " + ".join(f"{each:.2g} {name}" for name, each in giga.items()),
        f"{work.weight_bytes / 1e6:.1f}",
        f"{work.activation_bytes / 1e6:.1f}",
        f"{_number(point.alone.ms)} {point.alone.bound}",
        _number(point.latency_ms),
        _share(point.latency.fraction),
        _number(point.rate),
        _share(point.saturation.fraction),
    ]


def _profiles(explanation: Explanation) -> Iterator[str]:
    for profile in explanation.profiles:
        title = (
            f"{profile.length} x {profile.batch}, {_many(profile.streams, 'stream')}"
            f" of {_many(profile.threads, 'thread')}"
        )
        rows = [
            [g.name, str(g.operators), _number(g.ms), _share(g.ms / profile.engine_ms),
             _number(g.floor_ms) if g.floor_ms else ""]
            for g in profile.groups
        ]  # fmt: skip
        rows.append(_gap(profile))
        rows.append(["the call", "", _number(profile.engine_ms), "100 %", ""])
        yield from table([title, "operators", "ms", "share", "floor ms"], rows)
        yield ""


def _gap(profile: Profile) -> list[str]:
    """Return the row of the time that no operator accounts for.

    Operators and calls are timed apart: where the operators add up to more than a call, what lies
    between them is less than the noise of both.
    """
    gap = profile.between_ms
    if gap < 0:
        return ["between operators", "", "within noise", "", ""]
    return ["between operators", "", _number(gap), _share(gap / profile.engine_ms), ""]


def _rest(explanation: Explanation) -> Iterator[str]:
    request = explanation.request
    python = f"{request.python_ms:.2g}" if request.python_ms > 0 else "within noise"
    yield (
        f"one sentence from text to tokens: {_number(request.total_ms)} ms = tokenization"
        f" {request.tokenization_ms:.2g} + engine {_number(request.engine_ms)}"
        f" + Python {python}"
    )
    if explanation.casts is not None:  # else the profile has them
        shown = ", ".join(f"{count} {name}" for name, count in explanation.casts.items())
        yield f"Casts that remain after load: {shown or 'none'}"
    yield "Fractions are medians of rounds in which ceiling and variant were measured in turns."
