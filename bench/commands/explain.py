"""The command ``explain`` and what it prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
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
    from ..explain.starts import Starts
    from ..explain.subject import Profile

NOISY = 10.0  # percent of the machine used by other processes
WIDTH = 98  # columns at most
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
    yield from _indented(f"between: {_reasons(explanation.profiles[0])}")
    best = most.rate / most.saturation.fraction
    yield from wrap(
        f"saturation, {explanation.streams} streams of batches of {most.work.batch}:"
        f" {_share(most.saturation.fraction)} of the ceiling"
        f" ({_number(most.rate)} sentences/s, at most {_number(best)} by {most.together.bound})",
        WIDTH, subsequent_indent="  ",
    )  # fmt: skip
    yield from _indented(f"between: {_reasons(explanation.profiles[1])}")
    yield (
        f"of the ceiling with weights hot: {_share(alone.hot_latency.fraction)} and"
        f" {_share(most.hot_saturation.fraction)}"
    )
    if explanation.others_percent > NOISY:
        yield (
            f"other processes used {explanation.others_percent:.0f} % of the machine meanwhile:"
            " measure again on a quiet one"
        )


def _indented(text: str) -> list[str]:
    """Return the lines of a text that hangs under another one."""
    return wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")


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
        yield from wrap(f"{flag.level}: {flag.what}", WIDTH, subsequent_indent="  ")
        yield from _indented(f"what to do: {flag.advice}")
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
    heads = [
        cell for number in cores for cell in (f"{_many(number, 'core')}: cold", "hot")
    ]  # fmt: skip
    yield from table(
        ["ceilings of this machine", *heads, "of peak"],
        [
            row
            for precision in dict.fromkeys(ceiling.precision for ceiling in explanation.ceilings)
            for row in _kernels(explanation, precision, cores)
        ]
        + [
            [f"{name} products", *["-", ""] * len(cores), ""]
            for name in explanation.missing
            if name in UNITS
        ]
        + [_memory(explanation, cores)],
    )
    yield from _indented(
        "cold, hot: different weights in turn, as a model has them; the same again"
    )
    for ceiling in explanation.ceilings:
        if ceiling.cores == cores[-1]:
            yield from _indented(f"{ceiling.precision}, the best: {ceiling.cell.words}")
    for name, reason in explanation.missing.items():
        yield f"  {name} not measured: {reason}"
    yield from _peak(explanation, cores)
    yield from _starts(explanation.starts)
    if explanation.levels:
        times = ", ".join(f"{level.name} {_number(level.ms)}" for level in explanation.levels)
        yield from _indented(f"levels of graph optimization, one thread: {times} ms")


def _kernels(explanation: Explanation, precision: str, cores: Sequence[int]) -> Iterator[list[str]]:
    """Yield the rows of a precision: the CPU's peak, then the kernels, the fastest first."""
    best = {each.cores: each for each in explanation.ceilings if each.precision == precision}
    peak = [cell for number in cores for cell in (_rate(best[number].peak), "")]
    yield [f"{precision} products, {UNITS[precision]}: peak", *peak, ""]
    of_library = {
        library: {
            kernel.cell.cores: kernel.as_json()
            for kernel in explanation.kernels
            if (kernel.cell.library, kernel.cell.precision) == (library, precision)
        }
        for library in dict.fromkeys(
            kernel.cell.library
            for kernel in explanation.kernels
            if kernel.cell.precision == precision
        )
    }
    most = cores[-1]
    for library, rates in sorted(
        of_library.items(), key=lambda each: -each[1][most]["cold_giga_per_second"]
    ):
        shown = [
            _number(rates[number][f"{kind}_giga_per_second"])
            for number in cores
            for kind in ("cold", "hot")
        ]
        peak_rate = best[most].peak
        share = rates[most]["cold_giga_per_second"] / peak_rate if peak_rate else None
        own = " (its own)" if library == explanation.library else ""
        yield [f"  {library}{own}", *shown, "-" if share is None else _share(share)]


def _memory(explanation: Explanation, cores: Sequence[int]) -> list[str]:
    memory = {each.cores: each.typical for each in explanation.bandwidths}
    return [
        "memory, GB/s",
        *[cell for number in cores for cell in (_rate(memory.get(number)), "")],
        "",
    ]


def _peak(explanation: Explanation, cores: Sequence[int]) -> Iterator[str]:
    """Say what the nominal peak was computed from, or what is not known of it."""
    peak, most = explanation.peak, cores[-1]
    if peak.why:
        yield f"  peak unknown: {peak.why}"
    if peak.name and peak.clocks:
        units = ", ".join(
            f"{each.operations} in {each.precision} ({each.instructions})"
            for each in peak.units.values()
        )
        yield from _indented(
            f"peak: {peak.name}; operations a cycle and core {units}; cycles counted while"
            f" computing {_number(max(peak.clocks[most]))}·10^9 a second on {_many(most, 'core')}"
        )


def _starts(every: Sequence[Starts]) -> Iterator[str]:
    """Say what processes reached that started with one CPU in their mask, and with all."""
    if not every:
        return
    cpus, precision = every[0].whole[0].cpus, every[0].cell.precision
    if cpus < 2:
        yield "  only one CPU is allowed: no start with more to compare with"
        return
    shown = ", ".join(
        f"{starts.cell.library} {_number(starts.one_giga)} and {_number(starts.whole_giga)}"
        f" ({starts.ratio:.2f})"
        for starts in every
    )
    yield from _indented(
        f"{precision}, one thread, processes that start with one CPU in their mask and with {cpus},"
        f" {UNITS[precision]}: {shown}"
    )


def _rate(value: float | None) -> str:
    return "-" if value is None else _number(value)


def _points(explanation: Explanation) -> Iterator[str]:
    precisions = dict.fromkeys(
        name for point in explanation.points for name in point.work.operations()
    )
    head = [
        "tokens x batch", *[f"GOP {name}" for name in precisions], "weights MB", "floor ms",
        "call ms", "share", "sentences/s", "share",
    ]  # fmt: skip
    yield from table(head, [_point(point, list(precisions)) for point in explanation.points])
    yield "  operations of one sentence; shares of the ceiling; a floor marked m is that of memory"


def _point(point: Measured, precisions: Sequence[str]) -> list[str]:
    work = point.work
    operations = work.operations()
    return [
        f"{work.length} x {work.batch}",
        *[f"{operations.get(name, 0) / work.batch / 1e9:.2g}" for name in precisions],
        f"{work.weight_bytes / 1e6:.1f}",
        _number(point.alone.ms) + " m" * (point.alone.bound == "memory"),
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
