"""Flags: common performance problems, detected from a few facts, each with advice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ...toolkit.machine import BF16_FLAGS
from .ceilings import Contrast
from .starts import Starts
from .workload import BF16, FP16, INT8

if TYPE_CHECKING:
    from .levels import Level

WARNING, NOTE = "warning", "note"
INT8_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8"}
X86 = {"x86_64", "AMD64", "i686"}
SPINNING = 0.1  # limit of cores kept busy by an idle process
PADDING = 0.1  # limit of the share of tokens that are padding
FASTER, EVERY_TIME, ROUNDS = 1.2, 1.1, 3  # another engine's kernels: median, lowest, rounds needed
SOUND = 0.95  # of its speed has a library that a start with one CPU does not slow down
AMX_FLAGS = {"amx_int8", "amx_bf16"}


@dataclass(frozen=True)
class Facts:
    """The facts that the flags depend on.

    ``isa`` are instruction sets as the fingerprint names them, ``precisions`` those of the
    variant's products.  ``threads`` is the number for one call; ``environment_threads`` the number
    that OMP_NUM_THREADS or a similar variable sets (None: not set).  ``spinning`` is how many cores
    the process kept busy just after a call had returned.  ``shared``: other processes or machines
    may use these cores.  ``padding`` is the share (0..1) of padding tokens if sentences in their
    natural order are put into batches of ``padding_batch``.  ``contrasts`` compare the kernels of
    other libraries with the variant's own, ``starts`` processes that start with one CPU with others
    (the variant's own library first), ``levels`` the optimization levels of its graph.
    """

    architecture: str = "x86_64"
    isa: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    logical_cpus: int = 1
    allowed_cpus: int = 1
    quota: float | None = None
    threads: int = 1
    environment_threads: int | None = None
    spinning: float = 0.0
    shared: bool = False
    fp16_operators: int = 0
    fp16_casts: int = 0
    unsigned_weights: int = 0
    dynamic_scales: int = 0
    padding: float = 0.0
    padding_batch: int = 8
    contrasts: tuple[Contrast, ...] = ()
    starts: tuple[Starts, ...] = ()
    levels: tuple[Level, ...] = ()


@dataclass(frozen=True)
class Flag:
    """A problem that costs speed (level ``warning``) or may cost speed (``note``), and advice."""

    code: str
    level: str
    what: str
    advice: str

    def as_json(self) -> dict[str, Any]:
        """Return the flag as a JSON object."""
        return asdict(self)


def flags(facts: Facts) -> list[Flag]:
    """Return all flags that apply, warnings first."""
    raised = [
        *_instructions(facts), *_threads(facts), *_spinning(facts), *_half(facts),
        *_eight_bits(facts), *_padding(facts), *_kernels(facts), *_starts(facts),
        *_tiles(facts), *_levels(facts),
    ]  # fmt: skip
    return sorted(raised, key=lambda flag: flag.level != WARNING)


def _instructions(facts: Facts) -> Iterator[Flag]:
    if facts.architecture not in X86:
        yield Flag(
            "unknown-isa", NOTE,
            f"the instruction sets of {facts.architecture} are not checked",
            "compare the measured ceilings: 8 bits should be about four times as fast as float32",
        )  # fmt: skip
        return
    isa = set(facts.isa)
    if not INT8_FLAGS & isa:
        yield Flag(
            "no-vnni", WARNING if INT8 in facts.precisions else NOTE,
            "this CPU has no 8-bit product instructions (VNNI or AMX)",
            "rent a CPU with avx512_vnni or avx_vnni, or serve a float32 variant",
        )  # fmt: skip
    if not BF16_FLAGS & isa:
        yield Flag(
            "no-bf16", WARNING if BF16 in facts.precisions else NOTE,
            "this CPU has no BF16 instructions (AVX512-BF16 or AMX)",
            "use a float32 or 8-bit variant here: BF16 is computed in float32",
        )  # fmt: skip


def _threads(facts: Facts) -> Iterator[Flag]:
    asked = max(facts.threads, facts.environment_threads or 0)
    what = "threads" if asked == facts.threads else "threads by the environment (OMP_NUM_THREADS)"
    if facts.quota is not None and asked > facts.quota:
        yield Flag(
            "threads-over-quota", WARNING,
            f"{asked} {what}, but the cgroup allows {facts.quota:g} cores",
            f"use {max(1, int(facts.quota))} threads, or raise the container's CPU limit:"
            " over it, all threads are stopped until the next period",
        )  # fmt: skip
    if asked > facts.allowed_cpus:
        yield Flag(
            "threads-over-affinity", WARNING,
            f"{asked} {what} on {facts.allowed_cpus} CPUs this process may use"
            f" (the machine has {facts.logical_cpus})",
            f"use {facts.allowed_cpus} threads, or widen the affinity mask (taskset, cpuset)",
        )  # fmt: skip


def _spinning(facts: Facts) -> Iterator[Flag]:
    if facts.spinning <= SPINNING:
        return
    where = "on a machine shared with others" if facts.shared else "while no call runs"
    yield Flag(
        "spinning", WARNING if facts.shared else NOTE,
        f"waiting threads keep {facts.spinning:.1f} cores busy {where}",
        "let them sleep: session.intra_op.allow_spinning=0 (ONNX Runtime),"
        " OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0 KMP_BLOCKTIME=0 (PyTorch)",
    )  # fmt: skip


def _half(facts: Facts) -> Iterator[Flag]:
    if facts.fp16_operators or facts.fp16_casts or FP16 in facts.precisions:
        yield Flag(
            "fp16-compute", WARNING,
            f"float16 inside every call: {facts.fp16_operators} operators,"
            f" {facts.fp16_casts} Casts from or to it",
            "a CPU computes in float32: store weights in float16, each behind a Cast that is folded"
            " at load (step fp16), or use BF16 where the CPU has it",
        )  # fmt: skip


def _eight_bits(facts: Facts) -> Iterator[Flag]:
    if facts.unsigned_weights:
        yield Flag(
            "u8u8", WARNING,
            f"{facts.unsigned_weights} products have unsigned 8-bit weights (U8U8)",
            "quantize weights signed (QInt8, U8S8): the product instructions multiply"
            " unsigned with signed",
        )  # fmt: skip
    if facts.dynamic_scales:
        yield Flag(
            "dynamic-scales", WARNING,
            f"{facts.dynamic_scales} operators take activation scales at run time from the batch",
            "use fixed scales (step int8-static): answers then do not depend on other sentences of"
            " the batch, and no pass over the activations is needed",
        )  # fmt: skip


def _padding(facts: Facts) -> Iterator[Flag]:
    if facts.padding > PADDING:
        yield Flag(
            "padding", NOTE,
            f"{facts.padding:.0%} of the tokens are padding when batches of {facts.padding_batch}"
            " are filled in order of arrival",
            "put sentences of similar length into one batch, or run each alone on its own stream",
        )  # fmt: skip


def _kernels(facts: Facts) -> Iterator[Flag]:
    for each in facts.contrasts:
        clear = len(each.ratios) >= ROUNDS and min(each.ratios) >= EVERY_TIME
        if clear and each.ratio >= FASTER:
            yield Flag(
                "other-engine-faster", WARNING,
                f"{each.other}'s {each.precision} kernels are {each.ratio:.2g} times as fast on"
                f" this CPU as {each.own}'s",
                f"measure a variant of {each.other} here (tiankong compare), or another version of"
                f" {each.own}",
            )  # fmt: skip


def _starts(facts: Facts) -> Iterator[Flag]:
    for each in facts.starts:
        if not each.slower:
            continue
        library, others = each.cell.library, [s for s in facts.starts if s is not each]
        sound = [other.cell.library for other in others if other.ratio >= SOUND]
        cure = f"start it with {each.restored[0]}" if each.restored else (
            "start it with two CPUs in the mask and set a quota (or pin it afterwards)"
        )  # fmt: skip
        instead = f", or serve a variant of {sound[0]}, which is not affected" if sound else ""
        yield Flag(
            "one-cpu-start", WARNING if facts.allowed_cpus == 1 else NOTE,
            f"a process that starts with one CPU in its mask has {library}'s"
            f" {each.cell.precision} products at {each.ratio:.0%} of their speed (one thread)",
            cure + instead,
        )  # fmt: skip


def _tiles(facts: Facts) -> Iterator[Flag]:
    multiplied = {INT8, BF16} & set(facts.precisions)
    if (
        facts.starts
        and multiplied
        and AMX_FLAGS & set(facts.isa)
        and facts.starts[0].cell.precision in multiplied
        and facts.starts[0].tiles is False
    ):
        yield Flag(
            "amx-not-granted", WARNING,
            "this CPU has AMX, but a process that multiplied with"
            f" {facts.starts[0].cell.library} may not use its registers",
            "the kernel or a sandbox refuses them, or the library does not ask: try another kernel,"
            " another sandbox or a newer version, and compare the measured ceilings",
        )  # fmt: skip


def _levels(facts: Facts) -> Iterator[Flag]:
    faster = [level for level in facts.levels if level.faster]
    if faster:
        best = max(faster, key=lambda level: level.ratio)
        yield Flag(
            "graph-level", WARNING,
            f"ONNX Runtime takes {best.ratio:.2g} times as long at its highest level of graph"
            f" optimization (the default) as at the level {best.name!r}",
            "report it with the model to ONNX Runtime; until then take another variant, or set"
            " SessionOptions.graph_optimization_level where the session is yours",
        )  # fmt: skip
