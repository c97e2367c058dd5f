"""Counts that cost little to add to, for prometheus-client's registry.

The library's own metrics take a lock for every number they add to, and look their labels up under
another; a request adds to some twenty numbers.  These take none: who adds holds one lock for all
numbers of an event (:class:`.Metrics`).  What they expose is what the library's would.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Generic, Literal, TypeVar

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import INF, floatToGoString

Labels = tuple[str, ...]
# The library leaves out when a series was made if this variable says so.
CREATED = os.environ.get("PROMETHEUS_DISABLE_CREATED_SERIES", "").lower() not in ("true", "1", "t")


class Sum:
    """One series of a counter: what was added up."""

    kind: Literal["counter"] = "counter"
    __slots__ = ("created", "value")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.created = time.time()
        self.value = 0.0

    def add(self, value: float = 1.0) -> None:
        """Add to it."""
        self.value += value

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Yield the suffix of the name, further labels and the value of each sample."""
        yield "_total", {}, self.value


class Amounts:
    """One series of a summary: how many values there were, and their sum."""

    kind: Literal["summary"] = "summary"
    __slots__ = ("count", "created", "value")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.created = time.time()
        self.count = 0
        self.value = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.count += 1
        self.value += value

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Yield the suffix of the name, further labels and the value of each sample."""
        yield "_count", {}, self.count
        yield "_sum", {}, self.value


class Buckets:
    """One series of a histogram: how many values were at most each of the ascending ``bounds``."""

    kind: Literal["histogram"] = "histogram"
    __slots__ = ("_bounds", "_counts", "created", "value")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.created = time.time()
        self.value = 0.0
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)

    def add(self, value: float) -> None:
        """Count a value."""
        self.value += value
        self._counts[bisect_left(self._bounds, value)] += 1

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Yield the suffix of the name, further labels and the value of each sample."""
        reached = 0
        for bound, count in zip((*self._bounds, INF), self._counts, strict=True):
            reached += count
            edge: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
            yield "_bucket", {"le": edge}, reached
        yield "_count", {}, reached
        yield "_sum", {}, self.value


Kind = TypeVar("Kind", bound=Sum | Amounts | Buckets)


class Series(Collector, Generic[Kind]):
    """The series of one metric, by the values of its ``labels``; without labels there is one.

    ``lock`` is taken to read them; who adds to one, or calls ``of``, holds it.
    """

    def __init__(
        self,
        kind: type[Kind],
        name: str,
        help_text: str,
        lock: Lock,
        labels: Labels = (),
        bounds: Sequence[float] = (),
    ) -> None:
        self._kind = kind
        self._about = (name, help_text, kind.kind)
        self._lock = lock
        self._labels = labels
        self._bounds = bounds
        self._series: dict[Labels, Kind] = {}
        if not labels:
            self.of()

    def of(self, *values: str) -> Kind:
        """Return the series with these values of the labels."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = self._kind(self._bounds)
        return series

    def describe(self) -> list[Metric]:
        """Return the metric without samples: the registry reads its names from it."""
        return [Metric(*self._about)]

    def collect(self) -> list[Metric]:
        """Return the metric with the samples of all its series."""
        metric = Metric(*self._about)
        with self._lock:
            for values, series in self._series.items():
                labels = dict(zip(self._labels, values, strict=True))
                for suffix, more, value in series.samples():
                    metric.add_sample(metric.name + suffix, {**labels, **more}, float(value))
                if CREATED:
                    metric.add_sample(f"{metric.name}_created", labels, series.created)
        return [metric]
