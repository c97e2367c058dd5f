"""What the server counts, in Prometheus' text formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Gauge, Info, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from ...toolkit.runs.stages import STAGES
from .series import Amounts, Buckets, Kind, Series, Sum

SECONDS = (0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LONG = (15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)
LATE = 1.0  # seconds beyond the deadline: the bucket of what is answered too late
STAGE_SECONDS = "stage_seconds"
SENTENCES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


class Metrics:
    """Counters of one server, in a registry of its own.

    Times are in seconds; their histograms reach the ``deadline`` and somewhat beyond.  Requests are
    labelled with the route pattern, so that unknown paths add no time series; ``failures`` with the
    reasons in ``problems.py``.

    What every request and every batch adds to is in :class:`.Series`, the rest in the library's own
    metrics.  Any thread may count.
    """

    def __init__(self, deadline: float) -> None:
        seconds = buckets(deadline)
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._served = Info("tiankong_served", "What is served, and how.", registry=self.registry)
        self._lock = Lock()  # held while an event is added to its series, and while one is read
        self._requests = self._series(Sum, "requests", "Requests answered.", ("route", "status"))
        self.failures = self.counter("failures", "Requests without an answer.", "reason")
        self._request_seconds = self._series(
            Buckets, "request_seconds", "From a request's arrival to its last byte.",
            ("route",), seconds,
        )  # fmt: skip
        stages = self._series(
            Amounts, STAGE_SECONDS, "Where the time of answered requests goes.", ("stage",)
        )
        self._stages = [(stage, stages.of(stage)) for stage in STAGES]
        self._queue_seconds = self._series(
            Buckets, "queue_seconds", "How long sentences wait.", (), seconds
        ).of()
        self._inference_seconds = self._series(
            Buckets, "inference_seconds", "How long a batch is inferred.", (), seconds
        ).of()
        self._batch_sentences = self._series(
            Buckets, "batch_sentences", "Sentences in a batch.", (), SENTENCES
        ).of()
        self._tokens = self._series(
            Sum, "tokens", "Tokens inferred: of the text, and padding.", ("kind",)
        )
        self.cache = self.counter("cache", "Sentences looked up in the answer cache.", "result")
        self.dropped = self.counter("access_log_dropped", "Lines lost to a slow reader of the log.")

    def tell(self, variant: str, in_force: Mapping[str, object]) -> None:
        """Publish which variant is served, and with which settings."""
        shown = {key: str(value) for key, value in in_force.items()}
        self._served.info({"variant": variant, "version": version("tiankong"), **shown})

    def requested(
        self, route: str, status: int, seconds: float, stages: Mapping[str, float] | None
    ) -> None:
        """Count a request that took ``seconds``.

        ``stages`` are the seconds of an answered one's stages (0 for those that it skipped); None:
        it has no answer, or asked nothing.
        """
        with self._lock:
            self._requests.of(route, str(status)).add()
            self._request_seconds.of(route).add(seconds)
            if stages is not None:
                for stage, amounts in self._stages:
                    amounts.add(stages.get(stage, 0.0))

    def inferred(self, seconds: float, waited: Sequence[float], text: int, padding: int) -> None:
        """Count a batch that took ``seconds``: how long each sentence waited, and its tokens."""
        with self._lock:
            self._inference_seconds.add(seconds)
            self._batch_sentences.add(len(waited))
            for each in waited:
                self._queue_seconds.add(each)
            self._tokens.of("text").add(text)
            self._tokens.of("padding").add(padding)

    def watch(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """Add a gauge that calls ``value`` each time it is read."""
        gauge = Gauge(f"tiankong_{name}", help_text, registry=self.registry)
        gauge.set_function(value)

    def exposition(self, accept: str, collected: Collected | None = None) -> tuple[bytes, str]:
        """Return the document and its media type, in the format an Accept header asks for.

        ``collected`` replaces this server's own counters.
        """
        encode, media_type = choose_encoder(accept)
        return encode(collected or self.registry), media_type

    def counter(self, name: str, help_text: str, *labels: str) -> Counter:
        """Add a counter."""
        return Counter(f"tiankong_{name}", help_text, labels, registry=self.registry)

    def _series(
        self,
        kind: type[Kind],
        name: str,
        help_text: str,
        labels: tuple[str, ...] = (),
        bounds: Sequence[float] = (),
    ) -> Series[Kind]:
        series = Series(kind, f"tiankong_{name}", help_text, self._lock, labels, bounds)
        self.registry.register(series)
        return series


def buckets(deadline: float) -> tuple[float, ...]:
    """Return the upper bounds of the histograms of times, in seconds: up to beyond the deadline.

    >>> buckets(30.0)[-5:]
    (10.0, 15.0, 20.0, 30.0, 31.0)
    """
    longer = [bound for bound in LONG if bound < deadline]
    return tuple(sorted({*SECONDS, *longer, deadline, deadline + LATE}))


class Collected(CollectorRegistry):
    """The metrics of several replicas, each sample labelled with its ``replica``."""

    def __init__(self, parts: Mapping[str, Iterable[Metric]]) -> None:
        super().__init__()
        self._families: dict[str, Metric] = {}
        for replica, metrics in parts.items():
            for metric in metrics:
                self._add(replica, metric)

    def _add(self, replica: str, metric: Metric) -> None:
        family = self._families.setdefault(
            metric.name, Metric(metric.name, metric.documentation, metric.type, metric.unit)
        )
        for sample in metric.samples:
            labels = {"replica": replica, **sample.labels}
            family.samples.append(sample._replace(labels=labels))

    def collect(self) -> Iterable[Metric]:
        """Yield the metric families, each with the samples of all replicas."""
        yield from self._families.values()
