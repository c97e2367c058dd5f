"""A report: all facts on its pages, computed once from runs, prices and the article."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...toolkit.errors import UnusableInputError
from ...toolkit.runs.run_file import Header, Run
from .answer import Answer, answer
from .article import Article
from .candidates import Evidence
from .capacity import Searched, best_points, is_search, searched
from .costs import MeasuredMachine, yardsticks
from .history.history import History, history
from .history.pooling import Epoch, epochs, unequal
from .planned import Planned, planned
from .points import ARTICLE_STACK, MeasuredPoint, Series, article_points, points
from .prices import Price
from .question import NO_WISHES, Question, Wishes, question
from .scaling import Scaling, scaling
from .variants import VariantRow, variant_rows

NEEDED = {"machine": ("cpu", "architecture", "usable_cores"), "model": ("name", "parameters")}


@dataclass(frozen=True)
class Report:
    """One report's facts; ``header`` is the first run's, ``best`` each series' best point.

    ``given`` has all runs.  Of a history of several epochs only the newest bears the rest: ``runs``
    are its sweeps (if there are any).  If they show no growth, ``scaling`` is that of the newest
    epoch before that does, and ``growth_runs`` are its runs (else empty).  ``points`` are the plain
    ones (a closed loop over the gold set): answer, costs and the comparison with the article use
    these alone.  Any kind of points may be missing.  ``searches`` are what capacity searches found,
    ``planned`` is what the runs would measure of plain points.
    """

    given: tuple[Run, ...]
    history: History | None
    runs: tuple[Run, ...]
    article: Article
    prices: tuple[Price, ...]
    bench: MeasuredMachine
    points: tuple[MeasuredPoint, ...]
    open_points: tuple[MeasuredPoint, ...]
    scaling: Scaling
    variants: tuple[VariantRow, ...]
    searches: tuple[Searched, ...]
    planned: Planned
    answer: Answer
    best: Mapping[Series, MeasuredPoint]
    yardsticks: tuple[Price, ...]
    gpu: tuple[MeasuredPoint, ...] = ()
    gpu_run: str = ""
    growth_runs: tuple[Run, ...] = ()

    @property
    def question(self) -> Question:
        """The question that was answered."""
        return self.answer.question

    @property
    def evidence(self) -> Evidence:
        """What the answer rests on, for the same question with other figures."""
        return Evidence(
            self.points, self.searches, self.variants, self.planned, self.bench, self.prices,
            self.gpu,
        )  # fmt: skip

    @property
    def header(self) -> Header:
        """The first run's header, for what all runs have in common."""
        return self.runs[0].header

    @property
    def every_point(self) -> tuple[MeasuredPoint, ...]:
        """All points of ``runs``: plain, open loop, scaling."""
        return (*self.points, *self.open_points, *(() if self.growth_runs else self._shaped))

    @property
    def shown_points(self) -> tuple[MeasuredPoint, ...]:
        """All points that are shown: ``every_point``, and an earlier epoch's growth."""
        return (*self.points, *self.open_points, *self._shaped)

    @property
    def shown_runs(self) -> tuple[Run, ...]:
        """The runs of ``shown_points``."""
        return (*self.runs, *self.growth_runs)

    @property
    def _shaped(self) -> tuple[MeasuredPoint, ...]:
        scaled = (*self.scaling.points, *self.scaling.others)
        return tuple(point for point in scaled if not point.load.plain)

    @property
    def article_points(self) -> dict[int, MeasuredPoint]:
        """The points of the article's server, by users."""
        return article_points(self.points, self.article.variant)

    @property
    def chosen_points(self) -> dict[int, MeasuredPoint]:
        """The chosen series' points by users; empty if the article's server itself was chosen."""
        chosen = self.answer.leading
        if chosen is None or chosen.stack == ARTICLE_STACK:
            return {}
        return {point.users: point for point in self.points if point.series == chosen.series}


def compose(
    runs: Sequence[Run],
    article: Article,
    prices: Sequence[Price],
    wishes: Wishes = NO_WISHES,
    gpu: Run | None = None,
) -> Report:
    """Return the report of runs measured on one machine with one model.

    Runs with different software make a history; the newest ones bear everything else.
    Runs of sweeps give the points, finished searches of ``capacity`` the capacities that they
    found; ``gpu`` is a run of the same model on a machine with an accelerator, for the break-even.
    Raises UnusableInputError if there is no cell, if a wish is not one, or if two runs
    differ, naming the field.
    """
    if not any(run.cells for run in runs):
        names = ", ".join(repr(run.header.run) for run in runs) or "none"
        raise UnusableInputError(f"nothing to report: no cell was measured (runs: {names})")
    for run in runs:
        _refuse_incomplete(run)
    every_epoch = epochs(runs)
    given, runs = runs, every_epoch[-1]
    if not any(run.cells for run in runs):
        raise UnusableInputError(
            f"run {runs[0].header.run!r} is the newest, and no cell was measured: leave it out"
        )
    machine = runs[0].header.machine
    bench = MeasuredMachine(
        int(machine["usable_cores"]), machine["architecture"], machine.get("threads_per_core")
    )
    asked = question(wishes, article.slowest_p95_ms, prices, bench)
    searches = searched([run for run in runs if is_search(run)])
    sweeps = [run for run in runs if not is_search(run)]
    every = points(sweeps, article.variant, asked.limit_ms) if sweeps else ()
    grown, growth_runs = _growth(every, every_epoch[:-1], article, asked.limit_ms)
    plain = tuple(point for point in every if point.load.plain)
    # Memory is compared at plain loads: others need more, and not every variant was measured there.
    variants = variant_rows(runs, plain or every)
    plan = planned(sweeps, plain)
    beside = _gpu_points(gpu, runs[0].header, article, asked.limit_ms) if gpu else ()
    evidence = Evidence(plain, searches, variants, plan, bench, prices, beside)
    _refuse_emptied(asked.without, variants)
    return Report(
        tuple(given),
        history(every_epoch, article.variant, asked.limit_ms, plain),
        tuple(sweeps) or tuple(runs),
        article,
        tuple(prices),
        bench,
        plain,
        tuple(point for point in every if point.load.is_open),
        grown,
        variants,
        searches,
        plan,
        answer(asked, evidence.left(asked.without)),
        best_points(plain, asked.rank, asked.limit_ms),
        yardsticks(prices, asked.price),
        beside,
        gpu.header.run if gpu else "",
        growth_runs,
    )


def _growth(
    newest: Sequence[MeasuredPoint], earlier: Sequence[Epoch], article: Article, limit_ms: float
) -> tuple[Scaling, tuple[Run, ...]]:
    """Return the growth that the newest epoch's points show, else an earlier one's and its runs.

    Growth is measured seldom: a newer table alone is no reason to forget it.
    """
    own = scaling(newest)
    if any(point.load.shaped and not point.load.is_open for point in newest):
        return own, ()
    for epoch in reversed(earlier):
        sweeps = tuple(run for run in epoch if not is_search(run))
        found = scaling(points(sweeps, article.variant, limit_ms)) if sweeps else own
        if any(point.load.shaped for axis in found.axes for point in axis.points):
            return found, sweeps
    return own, ()


def _refuse_emptied(without: Sequence[str], variants: Sequence[VariantRow]) -> None:
    names = [row.name for row in variants]
    unknown = [name for name in without if name not in names]
    if unknown or (names and not set(names) - set(without)):
        told = f"{unknown[0]!r} was not measured" if unknown else "no variant is left"
        raise UnusableInputError(f"--without: {told}; measured: {', '.join(names)}")


def _gpu_points(
    run: Run, header: Header, article: Article, limit_ms: float
) -> tuple[MeasuredPoint, ...]:
    """Return a GPU machine's plain points of variants that passed; refuse another model's run."""
    for field, here, there in unequal("model", dict(header.model), dict(run.header.model)):
        raise UnusableInputError(
            f"run {run.header.run!r} (--gpu) is of another model: {field} differs"
            f" ({here!r}, {there!r})"
        )
    _refuse_incomplete(run)
    measured = [point for point in points([run], article.variant, limit_ms) if point.load.plain]
    rows = variant_rows([run], measured)
    passed = {row.name for row in rows if row.gate and row.gate.recommended}
    return tuple(point for point in measured if point.variant in passed)


def _refuse_incomplete(run: Run) -> None:
    header = run.header
    for part, keys in NEEDED.items():
        for key in keys:
            if getattr(header, part).get(key) is None:
                raise UnusableInputError(f"run {header.run!r}: its header has no {part}.{key}")
    for cell in run.cells:
        if cell.seconds <= 0:
            raise UnusableInputError(f"run {header.run!r}: cell {cell.point} lasted no time")
