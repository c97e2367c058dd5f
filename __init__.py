"""Benchmark and choose how to deploy a Chinese masked language model on ordinary CPUs.

The functions here are for notebooks and other programs; each calls what the command of the same
name calls.  docs/python.md shows them at work::

    import tiankong

    tiankong.build("builtin-small", ["onnx-int8"])
    tiankong.check("builtin-small", ["onnx-int8"]).passed
    predictor = tiankong.open_predictor("onnx-int8", "builtin-small")
    run_file = tiankong.sweep("builtin-small", ["onnx-int8"], plan="smoke")
    tiankong.records(run_file)
    tiankong.report([run_file], "pages")

Whatever a user can get wrong raises a subclass of ``TiankongError``, whose text is one line that
says what to do.  Importing this package imports nothing else (each function imports what it needs)
and switches off the telemetry of what is imported later: ``toolkit/telemetry.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .toolkit.telemetry import switch_off as _switch_off

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from .bench.compare.judgement import Comparison
    from .toolkit.building.folders import Built
    from .toolkit.building.store import Store
    from .toolkit.engines.predictor import Predictor
    from .toolkit.errors import TiankongError
    from .toolkit.gate.examination import Gated
    from .toolkit.models.info import ModelInfo
    from .toolkit.runs.run_file import Run

    PathLike = str | os.PathLike[str]

_switch_off()  # here, because every module of the package is imported after this one

__all__ = [
    "TiankongError",
    "build",
    "check",
    "compare",
    "frame",
    "models",
    "open_predictor",
    "read_run",
    "records",
    "report",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name == "TiankongError":
        from .toolkit.errors import TiankongError

        return TiankongError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def models() -> list[ModelInfo]:
    """Return the models that can be measured here: the built-in ones and those in the hub's cache.

    Each has its name, geometry and number of parameters.  Nothing is loaded or downloaded.
    """
    from .toolkit.models.loading import list_models

    return list_models()


def build(
    model: str = "builtin",
    variants: Sequence[str] = (),
    *,
    revision: str | None = None,
    recipes: PathLike | None = None,
    convert_pickle: bool = False,
    calibration: PathLike | None = None,
) -> list[Built]:
    """Build variants of a model and return them; valid ones that exist already are kept.

    Args:
        model: one of :func:`models`, a hub id or a folder.
        variants: names of recipes; empty means all that can be built here.
        revision: branch, tag or commit of a hub model.
        recipes: a folder of your own recipes, in addition to the shipped ones.
        convert_pickle: convert the weights of a model that has only ``pytorch_model.bin``.
        calibration: a file of sentences, each with a [MASK], for the scales of 8-bit variants.

    Each variant has its ``folder`` and its ``manifest``.  Raises UnusableInputError if the model
    cannot be loaded or a named recipe cannot be built from it on this machine; others that cannot
    are left out.

    """
    store = _store(model, revision, recipes, convert_pickle)
    if calibration is not None:
        from dataclasses import replace
        from pathlib import Path

        store = replace(store, calibration=Path(calibration))
    return store.build(variants)


def check(
    model: str = "builtin",
    variants: Sequence[str] = (),
    *,
    gold: str = "builtin",
    revision: str | None = None,
    recipes: PathLike | None = None,
    convert_pickle: bool = False,
) -> Gated:
    """Run the gate: tell whether answers still match the gold set and the reference variant.

    Args:
        model: as for :func:`build`.
        variants: names of recipes, built if missing; empty means all.
        gold: ``builtin``, ``heldout`` or the path of a JSON-lines file.
        recipes: as for :func:`build`.
        revision: as for :func:`build`; None means the one that was built last.
        convert_pickle: as for :func:`build`.

    The result has ``passed`` and one entry per variant in ``checks`` (shares lie in 0..1).  Raises
    UnusableInputError if a gold answer is not in the vocabulary or a variant is damaged.

    """
    from .toolkit.gate.examination import gate
    from .toolkit.gate.gold import find_gold

    gold_set = find_gold(gold)
    store = _store(model, revision, recipes, convert_pickle)
    return gate(store, store.get(variants, reference=True), gold_set)


def open_predictor(
    variant: str = "onnx-int8",
    model: str = "builtin",
    *,
    threads: int = 0,
    revision: str | None = None,
    recipes: PathLike | None = None,
    convert_pickle: bool = False,
) -> Predictor:
    """Open a variant in this process, to ask it sentences; it is built if missing.

    ``predictor.predict(["床前明月光,疑是地[MASK]霜。"], top_k=5)`` returns, for every sentence and
    every [MASK] in it, the tokens with their probabilities, best first.  ``threads`` is how many
    threads one batch gets; 0 means all usable cores.  ``revision`` and
    ``convert_pickle`` are as for :func:`check`.
    Raises UnusableInputError if the variant cannot be built or its files are damaged.
    """
    from .toolkit.building.opening import open_variant

    return open_variant(
        _store(model, revision, recipes, convert_pickle).to_open(variant).folder, threads
    )


def sweep(
    model: str = "",
    variants: Sequence[str] = (),
    *,
    plan: PathLike = "table",
    gold: str = "builtin",
    seed: int | None = None,
    revision: str | None = None,
    recipes: PathLike | None = None,
    convert_pickle: bool = False,
) -> Path:
    """Measure variants under a plan and return the run file.

    Args:
        model: as for :func:`build`; empty means the plan's.
        variants: names of recipes; empty means the plan's.
        plan: a plan's name (``smoke``, ``table``, ...) or the path of a TOML file.
        gold: as for :func:`check`; every answer is checked against it.
        seed: decides the order of the cells; None draws one.
        recipes: as for :func:`build`.
        revision: as for :func:`build`; None means the one that was built last.
        convert_pickle: as for :func:`build`.

    An interrupted sweep continues where it stopped.  Raises InvalidMeasurementError if a server or
    a load generator keeps exiting by itself.

    """
    from .bench.evidence.gathering import things_beside
    from .bench.sweep.plan import read_plan
    from .bench.sweep.sweep import sweep as run_sweep
    from .toolkit.gate.examination import ensure
    from .toolkit.gate.gold import find_gold

    chosen, gold_set = read_plan(str(plan)).of(variants), find_gold(gold)
    store = _store(model or chosen.model, revision, recipes, convert_pickle)
    choice = store.choose(chosen.needs(), optional=not variants).beside(chosen.not_suited)
    choice = store.prepare(choice)
    built = ensure(store, choice.names, gold_set)
    beside = things_beside(chosen, built, gold_set)
    return run_sweep(chosen, built, gold_set, seed, beside=beside)


def compare(
    a: str,
    b: str,
    model: str = "builtin",
    *,
    gold: str = "builtin",
    users: int = 4,
    seconds: float = 50.0,
    revision: str | None = None,
    recipes: PathLike | None = None,
    convert_pickle: bool = False,
) -> Comparison:
    """Compare two variants, measured in turns, and return the ratio of their QPS (B over A).

    ``a`` and ``b`` are named as for ``tiankong compare`` (``onnx-int8``,
    ``onnx-int8@streams=2``, ``onnx-fp32@stack=article``, or a server's URL).  ``users`` callers
    send requests without think time, for about ``seconds`` in all.  The result has ``ratio`` and
    ``control`` (A against itself), each with its 95 % interval, and ``verdict``: ``faster``,
    ``slower`` or ``too close to call``.  Raises InvalidMeasurementError if an answer is wrong under
    load.
    """
    from .bench.compare.contest import Contest
    from .bench.compare.rounds import CompareTerms

    contest = Contest.of(a, b, (), _store(model, revision, recipes, convert_pickle), gold)
    return contest.run(CompareTerms(users=users, seconds=seconds))


def read_run(path: PathLike) -> Run:
    """Read a run file: its header and its cells with raw latencies (milliseconds).

    Raises UnusableInputError naming the line that cannot be read.
    """
    from pathlib import Path

    from .toolkit.runs.run_file import read_run as read

    return read(Path(path))


def records(path: PathLike) -> list[dict[str, Any]]:
    """Return the cells of a run file as plain records: figures without raw times.

    They are those of ``tiankong sweep --json``: latencies ``p50_ms`` to ``p99_ms`` are in
    milliseconds, or None where there are too few answers.
    """
    from .toolkit.runs.validity import summary

    return [summary(cell) for cell in read_run(path).cells]


def frame(path: PathLike) -> Any:
    """Return :func:`records` as a pandas DataFrame, one row a cell, if pandas is installed.

    ``warnings`` holds the codes of what makes a cell doubtful.  Raises ModuleNotFoundError without
    pandas.
    """
    import pandas

    rows = [
        record | {"warnings": [warning["code"] for warning in record["warnings"]]}
        for record in records(path)
    ]
    return pandas.DataFrame(rows)


def report(
    run_files: Sequence[PathLike], out: PathLike, *, prices: PathLike | None = None
) -> list[Path]:
    """Write the pages of run files into a folder and return the files written.

    ``prices`` is a price file of your own.  Raises UnusableInputError for runs without cells or
    runs of different machines.
    """
    from pathlib import Path

    from .reports.copies import copy_names
    from .reports.writing import write_pages

    runs = [read_run(path) for path in run_files]
    copies = copy_names([Path(path) for path in run_files], Path(out))
    return write_pages(runs, Path(out), None if prices is None else Path(prices), copies=copies)


def _store(
    model: str, revision: str | None, recipes: PathLike | None, convert_pickle: bool
) -> Store:
    from pathlib import Path

    from .toolkit.building.store import Store

    own = None if recipes is None else Path(recipes)
    return Store(model, revision, own_recipes=own, convert_pickle=convert_pickle)
