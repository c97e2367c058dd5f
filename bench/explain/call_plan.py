"""What is measured of a variant: its batches, what each computes, and on which cores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...toolkit.engines.text import Batch, TextEncoder
from ...toolkit.machine import usable_cores
from .ceilings import Ceilings
from .findings import ExplainTerms
from .kernels.multiplication import Shape
from .subject import Subject
from .workload import Workload

if TYPE_CHECKING:
    from ...toolkit.engines.predictor import Predictor

MUCH = 0.1  # of the operations: a precision with less decides nothing


@dataclass(frozen=True)
class CallPlan:
    """What is measured: a subject, its batches, the workload of one call of each, and the cores.

    ``threads`` is the number for one call, ``used`` the number of cores that they can use at most.
    """

    subject: Subject
    terms: ExplainTerms
    batches: Sequence[Batch]
    works: Sequence[Workload]
    threads: int
    cores: int

    @classmethod
    def of(
        cls, subject: Subject, texts: Mapping[int, Sequence[str]], terms: ExplainTerms
    ) -> CallPlan:
        """Return the plan of a subject; the operations of its batches are counted."""
        cores = usable_cores()
        threads = terms.threads or cores
        encoder = subject.predictor(threads).encoder
        batches = [
            batch_of(encoder, texts[length], batch)
            for length in terms.lengths
            for batch in terms.batches
        ]
        subject.count(batches)
        works = [subject.workload(batch) for batch in batches]
        return cls(subject, terms, batches, works, threads, cores)

    @property
    def used(self) -> int:
        """The number of cores one call can use: its threads, but at most the usable cores."""
        return min(self.threads, self.cores)

    @property
    def predictor(self) -> Predictor:
        """The variant, opened for calls with ``threads`` threads."""
        return self.subject.predictor(self.threads)

    @property
    def smallest(self) -> Batch:
        """The smallest batch of the first length."""
        return min(self.batches[: len(self.terms.batches)], key=_rows)

    @property
    def largest(self) -> Batch:
        """The largest batch of the first length."""
        return max(self.batches[: len(self.terms.batches)], key=_rows)

    @property
    def precisions(self) -> list[str]:
        """The precisions that do much of the work, the most first."""
        operations = self.works[0].operations()
        much = {
            n: each for n, each in operations.items() if each >= MUCH * sum(operations.values())
        }
        return sorted(much, key=lambda name: -much[name])


def batch_of(encoder: TextEncoder, texts: Sequence[str], size: int) -> Batch:
    """Return a batch of so many sentences, of these texts in turn."""
    return encoder.batch([encoder.encode(texts[n % len(texts)]) for n in range(size)])


def _rows(batch: Batch) -> int:
    return int(batch.input_ids.shape[0])


def ceilings_of(
    plan: CallPlan, cores: Collection[int] = (), precisions: Collection[str] = ()
) -> Ceilings:
    """Return the ceilings for the shapes of the weights, those with the most operations first.

    By default of one core, of those in use and of all, and of all precisions that there are.
    """
    operations: dict[Shape, int] = {}
    for product in plan.works[0].products:
        if not product.inside:
            shape = (product.inner, product.columns)
            operations[shape] = operations.get(shape, 0) + product.operations
    shapes = sorted(operations, key=lambda shape: -operations[shape])
    parameters = sum(p.inner * p.columns for p in plan.works[0].products if not p.inside)
    cores = cores or {1, plan.used, plan.cores}
    return Ceilings(shapes, cores, parameters, tuple(precisions))
