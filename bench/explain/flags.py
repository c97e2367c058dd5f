"""Flags: common performance problems, detected from a few facts, each with advice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ...toolkit.machine import BF16_FLAGS
from .workload import BF16, FP16, INT8

WARNING, NOTE = "warning", "note"
INT8_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8"}
X86 = {"x86_64", "AMD64", "i686"}
SPINNING = 0.1  # limit of cores kept busy by an idle process
PADDING = 0.1  # limit of the share of tokens that are padding


@dataclass(frozen=True)
class Facts:
    """The facts that the flags depend on.

    ``isa`` are instruction sets as the fingerprint names them, ``precisions`` those of the
    variant's products.  ``threads`` is the number for one call; ``environment_threads`` the number
    that OMP_NUM_THREADS or a similar variable sets (None: not set).  ``spinning`` is how many cores
    the process kept busy just after a call had returned.  ``shared``: other processes or machines
    may use these cores.  ``padding`` is the share (0..1) of padding tokens if sentences in their
    natural order are put into batches of ``padding_batch``.
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
        *_eight_bits(facts), *_padding(facts),
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
