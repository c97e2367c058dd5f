"""How far a variant is from the machine's limits, and why.

It combines the machine's ceilings (ceilings.py), what a call computes (workload.py) and how long it
takes.  Figures that are compared with each other are measured in turns, in several rounds.  In each
round the fraction of the ceiling is computed; the result is their median, with the spread.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...toolkit.console import progress
from ...toolkit.engines.text import TextEncoder
from ...toolkit.errors import UnusableInputError
from ...toolkit.machine import allowed_cpus, cache_bytes, fingerprint
from ..load.sentences import of_length
from ..serving.accounting import snapshot, usage
from .call_plan import CallPlan, batch_of, ceilings_of
from .ceilings import Ceilings
from .findings import CallSamples, ExplainTerms, Explanation, Measured, Request, Share
from .flags import Facts, flags
from .kernels.rates import calls_per_second, timed
from .opening import open_subject
from .starts import PAIRS, Starts, measure_starts
from .subject import Profile
from .workload import FP32, Floor, Workload, floor

if TYPE_CHECKING:
    from ...toolkit.gate.gold import GoldSet

LATENCY_SECONDS, SATURATION_SECONDS, REQUEST_CALLS = 0.25, 0.4, 8
PADDING_BATCH = 8
SPIN_SECONDS, SPIN_TIMES = 0.01, 5
START_WEIGHTS = 4
MOST_BATCH, MOST_ROUNDS = 8, 3


def explain(
    model: str,
    folder: Path,
    texts: Mapping[int, Sequence[str]],
    gold: Sequence[str],
    terms: ExplainTerms,
) -> Explanation:
    """Measure a built variant and compare it with the machine's ceilings.

    ``texts`` has for each length sentences of exactly so many tokens.  ``gold`` are sentences of
    natural lengths, to measure how many tokens are padding.
    """
    with (
        tempfile.TemporaryDirectory(prefix="tiankong-explain-") as scratch,
        progress("explain", terms.rounds + 6) as step,
    ):
        step(f"open {folder.name}")
        plan = CallPlan.of(open_subject(folder, Path(scratch)), texts, terms)
        before = snapshot()
        facts = _facts(plan, gold)
        step("try the kernels")
        ceilings = ceilings_of(plan)
        samples = [CallSamples(work) for work in plan.works]
        for number in range(terms.rounds):
            step(f"round {number + 1} of {terms.rounds}")
            ceilings.measure()
            _call_all(plan, samples)
        step("where the time goes")
        profiles = _profiles(plan, ceilings)
        step("processes that start with one CPU, or all")
        starts = _starts(plan, ceilings)
        step("levels of optimization")
        levels = plan.subject.levels(plan.largest)
        step("from text to tokens")
        request = _request(plan, texts[terms.lengths[0]][0])
        facts = replace(
            facts,
            contrasts=tuple(ceilings.contrasts(plan.subject.library, plan.precisions)),
            starts=tuple(starts),
            levels=tuple(levels),
        )
        return Explanation(
            variant=plan.predictor.name,
            model=model,
            engine=plan.subject.engine,
            library=plan.subject.library,
            threads=plan.threads,
            streams=plan.cores,
            rounds=terms.rounds,
            ceilings=list(ceilings.best.values()),
            kernels=ceilings.kernels,
            peak=ceilings.peak,
            missing=ceilings.missing,
            bandwidths=ceilings.bandwidths,
            points=[_measured(plan, ceilings, point) for point in samples],
            profiles=profiles,
            casts=plan.subject.casts,
            request=request,
            flags=flags(facts),
            others_percent=usage(before, snapshot()).others,
            starts=starts,
            levels=levels,
        )


def most_sentences(
    folder: Path, gold: GoldSet, batch: int = MOST_BATCH, rounds: int = MOST_ROUNDS
) -> dict[str, Any]:
    """Return the most sentences a second that this machine's kernels would allow a variant.

    The sentences have as many ``tokens`` as the gold set's have on average, and come in batches of
    ``batch``, one on every core at once.  Nothing but the matrix products takes time, each at the
    best rate of its precision in any round, by whichever engine's kernel, weights cold (see
    :func:`.floor`); ``bound`` says whether computing or memory limits.  Raises UnusableInputError
    if the engine is not known here.
    """
    encoder = TextEncoder.from_folder(folder)
    tokens = round(statistics.fmean(len(encoder.encode(item.text)) for item in gold.items))
    terms = ExplainTerms((tokens,), (batch,), 1, rounds)
    with tempfile.TemporaryDirectory(prefix="tiankong-ceiling-") as scratch:
        texts = {tokens: of_length(folder, gold, tokens, 0)}
        plan = CallPlan.of(open_subject(folder, Path(scratch)), texts, terms)
        (work,) = plan.works
        ceilings = ceilings_of(plan, {plan.cores}, {FP32, *work.operations()})
        for _ in range(rounds):
            ceilings.measure()
    best = {ceiling.precision: ceiling for ceiling in ceilings.best.values()}
    giga = {name: max(ceiling.rates) for name, ceiling in best.items()}
    own = {
        kernel.cell.precision: max(kernel.cold)
        for kernel in ceilings.kernels
        if kernel.cell.library == plan.subject.library
    }
    peak = {name: each.peak for name, each in best.items() if each.peak is not None}
    gigabytes = max(ceilings.bandwidths[0].rates)
    least = floor(work, giga, gigabytes, cache_bytes(), plan.cores)
    return {
        "sentences_per_second": round(batch / least.ms * 1000, 2),
        "tokens": tokens,
        "batch": batch,
        "cores": plan.cores,
        "bound": least.bound,
        "giga_operations": {name: n / batch / 1e9 for name, n in work.operations().items()},
        "giga_per_second": _rounded(giga),
        "gigabytes_per_second": round(gigabytes, 1),
        "kernels": {name: ceiling.cell.words for name, ceiling in best.items()},
        "library": {"own": plan.subject.library}
        | {name: ceiling.cell.library for name, ceiling in best.items()},
        "own_giga_per_second": _rounded(own),
        "hot_giga_per_second": _rounded({name: max(each.hot) for name, each in best.items()}),
        "peak_giga_per_second": _rounded(peak),
    }


def _rounded(rates: Mapping[str, float]) -> dict[str, float]:
    return {name: round(rate, 1) for name, rate in rates.items()}


def _facts(plan: CallPlan, gold: Sequence[str]) -> Facts:
    machine, batch = fingerprint(), plan.batches[0]
    allowed, limit = len(allowed_cpus()), machine["cgroup_quota_cores"]
    plan.subject.prepare(plan.threads)
    return Facts(
        architecture=machine["architecture"],
        isa=tuple(machine["isa"]),
        precisions=tuple(plan.works[0].operations()),
        logical_cpus=machine["logical_cpus"],
        allowed_cpus=allowed,
        quota=limit,
        threads=plan.threads,
        spinning=_spinning(plan.subject.call(batch, plan.threads)),
        shared=machine["hypervisor"] or limit is not None or allowed < machine["logical_cpus"],
        padding=0.0
        if plan.predictor.engine.about.unpads
        else padding([len(plan.predictor.encoder.encode(text)) for text in gold]),
        padding_batch=PADDING_BATCH,
        **plan.subject.facts(batch),
    )


def _starts(plan: CallPlan, ceilings: Ceilings) -> list[Starts]:
    """Start processes with the kernels of the variant's main precision, its own library's first.

    The other libraries start once each: to compare with.
    """
    precision, own = plan.precisions[0], plan.subject.library
    cells = [
        replace(kernel.cell, weights=min(START_WEIGHTS, kernel.cell.weights))
        for kernel in ceilings.kernels
        if kernel.key == (precision, 1)
    ]
    cells.sort(key=lambda cell: cell.library != own)
    found = [measure_starts(cell, PAIRS if cell.library == own else 1) for cell in cells]
    return [starts for starts in found if starts is not None]


def _call_all(plan: CallPlan, samples: Sequence[CallSamples]) -> None:
    """Measure every batch for a moment: one call alone, and one call on every core at once."""
    subject, cores = plan.subject, plan.cores
    for point, batch in zip(samples, plan.batches, strict=True):
        subject.prepare(plan.threads)
        alone = subject.call(batch, plan.threads)
        alone()
        point.latencies_ms.append(_median_ms(alone, LATENCY_SECONDS))
        call = subject.call(batch, 1)
        calls = calls_per_second([call] * cores, SATURATION_SECONDS, lambda: subject.prepare(1))
        point.rates.append(calls * point.work.batch)


def _measured(plan: CallPlan, ceilings: Ceilings, samples: CallSamples) -> Measured:
    work, rounds = samples.work, range(plan.terms.rounds)

    def shares(hot: bool) -> tuple[Share, Share]:
        alone = [_floor(ceilings, work, plan.used, 1, n, hot) for n in rounds]
        together = [_floor(ceilings, work, plan.cores, plan.cores, n, hot) for n in rounds]
        latency = [least.ms / ms for least, ms in zip(alone, samples.latencies_ms, strict=True)]
        saturation = [
            rate * least.ms / 1000 / work.batch
            for least, rate in zip(together, samples.rates, strict=True)
        ]
        return Share.of(latency), Share.of(saturation)

    (latency, saturation), (hot_latency, hot_saturation) = shares(hot=False), shares(hot=True)
    return Measured(
        work,
        _floor(ceilings, work, plan.used, 1),
        statistics.median(samples.latencies_ms),
        latency,
        _floor(ceilings, work, plan.cores, plan.cores),
        statistics.median(samples.rates),
        saturation,
        hot_latency,
        hot_saturation,
    )


def _floor(
    ceilings: Ceilings, work: Workload, cores: int, calls: int, which: int | None = None,
    hot: bool = False,
) -> Floor:  # fmt: skip
    giga, gigabytes = ceilings.giga(cores, which, hot), ceilings.gigabytes(cores, which)
    return floor(work, giga, gigabytes, cache_bytes(), calls)


def _profiles(plan: CallPlan, ceilings: Ceilings) -> list[Profile]:
    """Profile the first length: the smallest batch alone, the largest one on every core at once."""
    smallest, largest = plan.smallest, plan.largest
    giga = ceilings.giga(plan.used)
    part = {name: rate / plan.cores for name, rate in ceilings.giga(plan.cores).items()}
    return [
        plan.subject.profile(smallest, plan.threads, 1, giga),
        plan.subject.profile(largest, 1, plan.cores, part),
    ]


def _request(plan: CallPlan, sentence: str) -> Request:
    """Time one sentence in total and in parts, in turns."""
    plan.subject.prepare(plan.threads)
    predictor, encoder = plan.predictor, plan.predictor.encoder
    batch = batch_of(encoder, [sentence], 1)
    parts: dict[str, Callable[[], object]] = {
        "total_ms": lambda: predictor.predict([sentence]),
        "tokenization_ms": lambda: encoder.batch([encoder.encode(sentence)]),
        "engine_ms": plan.subject.call(batch, plan.threads),
    }
    turns = [
        {name: timed(part) for name, part in parts.items()}
        for _ in range(REQUEST_CALLS * plan.terms.rounds)
    ]
    medians = {name: statistics.median(turn[name] for turn in turns) for name in parts}
    rest = [t["total_ms"] - t["tokenization_ms"] - t["engine_ms"] for t in turns]
    return Request(plan.terms.lengths[0], **medians, python_ms=statistics.median(rest))


def padding(lengths: Sequence[int], batch: int = PADDING_BATCH) -> float:
    """Return the share of padding tokens if batches are filled with sentences in their order."""
    padded = sum(
        max(part) * len(part)
        for part in (lengths[n : n + batch] for n in range(0, len(lengths), batch))
    )
    return 1 - sum(lengths) / padded if padded else 0.0


def _median_ms(call: Callable[[], object], seconds: float) -> float:
    times: list[float] = []
    begun = time.perf_counter()
    while not times or time.perf_counter() - begun < seconds:
        times.append(timed(call))
    return statistics.median(times)


def _spinning(call: Callable[[], object]) -> float:
    """Return how many cores this process keeps busy just after a call has returned."""
    busy_cores = []
    for _ in range(SPIN_TIMES):
        call()
        begun, used = time.perf_counter(), time.process_time()
        time.sleep(SPIN_SECONDS)
        busy_cores.append((time.process_time() - used) / (time.perf_counter() - begun))
    return statistics.median(busy_cores)


def check_terms(terms: ExplainTerms, folder: Path) -> None:
    """Raise UnusableInputError for lengths, batches or threads that cannot be measured."""
    from ...toolkit.files import read_json

    positions = int(read_json(folder / "config.json")["max_position_embeddings"])
    for length in terms.lengths:
        if not 3 <= length <= positions:
            raise UnusableInputError(
                f"--lengths {length}: this model takes 3 to {positions} tokens ([CLS] and [SEP]"
                " counted)"
            )
    if not terms.lengths or not terms.batches or min(terms.batches) < 1:
        raise UnusableInputError("--lengths and --batches take numbers from 1, like 16,32,128")
