"""The command ``compare``, and the speed gate of ``bench``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...toolkit.console import say
from ...toolkit.errors import GateFailedError, InvalidMeasurementError
from ...toolkit.files import artifacts, write_json
from ...toolkit.options import (
    ApiKeyFile,
    AsJson,
    CaCert,
    ConvertPickle,
    Gold,
    Headers,
    Insecure,
    Model,
    Recipes,
    Revision,
    Slower,
    print_json,
    share,
)

if TYPE_CHECKING:
    from ...toolkit.building.store import Store
    from ..compare.contest import Contest
    from ..compare.judgement import Comparison


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="VARIANT[@streams=N,...] or URL")],
    b: Annotated[str, typer.Argument(metavar="B", help="the same; default: as A")] = "",
    rev: Annotated[
        list[str] | None, typer.Option("--rev", help="git revision of A; given twice, of A and B")
    ] = None,
    model: Model = "builtin", gold: Gold = "builtin", recipes: Recipes = None,
    revision: Revision = "", convert_pickle: ConvertPickle = False,
    users: Annotated[int, typer.Option("--users", min=1, help="callers, closed loop")] = 4,
    seconds: Annotated[float, typer.Option("--seconds", min=10, help="time to take")] = 50.0,
    seed: Annotated[int, typer.Option("--seed", help="order of the blocks")] = 0,
    key_file: ApiKeyFile = None, headers: Headers = None,
    cacert: CaCert = None, insecure: Insecure = False,
    fail: Slower = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Tell whether B is faster or slower than A: interleaved, with an A/A control."""
    from ...toolkit.building.store import Store
    from ..compare.contest import Contest
    from ..compare.rounds import CompareTerms
    from ..load.target import read_access

    limit = share(fail)
    access = read_access(headers or (), key_file, cacert, insecure=insecure)
    store = Store(model, revision or None, recipes, convert_pickle=convert_pickle)
    contest = Contest.of(a, b or a, tuple(rev or ()), store, gold, access)
    result = contest.run(CompareTerms(users=users, seconds=seconds, seed=seed))
    _keep(contest, result)
    if as_json:
        print_json(result.as_json())
    else:
        print_comparison(result)
    _require_speed([result], limit)


def _keep(contest: Contest, result: Comparison) -> None:
    from ...toolkit.machine import fingerprint, versions

    now = datetime.now(UTC)
    data = {"model": contest.store.model, "finished": now.isoformat(timespec="seconds")}
    data |= result.as_json() | {"machine": fingerprint(), "versions": versions()}
    path = artifacts() / "comparisons" / f"{now:%Y%m%dT%H%M%S%f}Z.json"
    write_json(path, data)
    say(f"comparison: {path}")


def _require_speed(results: Sequence[Comparison], limit: float | None) -> None:
    """Raise GateFailedError for a regression, or InvalidMeasurementError if one cannot be told."""
    if limit is None:
        return
    verdicts = {result: result.slower_than(limit) for result in results}
    slower = [result.b for result, is_slower in verdicts.items() if is_slower]
    unsure = [result.b for result, is_slower in verdicts.items() if is_slower is None]
    if slower:
        raise GateFailedError(f"{', '.join(slower)}: slower than A by more than {limit:.0%}")
    if unsure:
        raise InvalidMeasurementError(
            f"{', '.join(unsure)}: it cannot be told whether more than {limit:.0%} slower;"
            " measure longer (--seconds) or on a quieter machine"
        )


def compare_revision(
    revision: str, store: Store, variants: Sequence[str], gold: str, fail: str
) -> None:
    """Tell whether variants are slower than at a revision; raise GateFailedError if they are."""
    from ..compare.contest import Contest
    from ..compare.rounds import CompareTerms

    limit = share(fail)
    results: list[Any] = []
    for variant in variants:
        contest = Contest.of(variant, variant, (revision,), store, gold)
        results.append(contest.run(CompareTerms()))
        _keep(contest, results[-1])
        print_comparison(results[-1])
    _require_speed(results, limit)


def print_comparison(result: Comparison) -> None:
    """Print both sides, the ratio and the control with their intervals, and the verdict."""
    ratio, control = result.ratio, result.control
    print(f"A  {result.a}: {result.qps[0]:.4g} QPS, median {result.median_ms[0]:.4g} ms")
    print(f"B  {result.b}: {result.qps[1]:.4g} QPS, median {result.median_ms[1]:.4g} ms")
    print(f"B / A  {ratio.ratio:.3f}  95 % interval {ratio.low:.3f} to {ratio.high:.3f}")
    print(f"A / A  {control.ratio:.3f}  95 % interval {control.low:.3f} to {control.high:.3f}")
    print(f"verdict for B: {result.verdict}")
    taken = result.others_percent
    others = "what other processes used is not known"
    if taken is not None:
        others = f"other processes used {taken:.0f} % of the machine"
    print(f"{result.users} users, {result.generations} starts, {result.rounds} rounds; {others}")
    for note in result.notes:
        print(f"note: {note}")
