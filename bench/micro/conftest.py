"""What the micro-benchmarks share: options, variants, and rounds in turns with the baseline.

pytest-benchmark runs one benchmark after the other, minutes apart.  A shared machine is not equally
fast all that time, so a ratio of two such results is wrong.  Therefore every round of a variant's
benchmark first runs the baseline (as the round's setup, timed by us), and each ratio is taken
within a round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tiankong.bench.load.sentences import of_length
from tiankong.bench.micro.ratios import BASELINE, Paired, markdown
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.building.recipes import read_recipes
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.engines.predictor import Predictor
from tiankong.toolkit.errors import TiankongError
from tiankong.toolkit.files import artifacts, write_json, write_text
from tiankong.toolkit.gate.gold import GoldSet, find_gold
from tiankong.toolkit.machine import fingerprint, versions
from tiankong.toolkit.options import names, numbers

LEAST_ROUNDS, MOST_ROUNDS = 3, 200
MEASURED = pytest.StashKey[list[Paired]]()

Call = Callable[[], object]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what to measure."""
    group = parser.getgroup("tiankong")
    group.addoption("--model", default="builtin", help="builtin, builtin-small, hub id, folder")
    group.addoption("--variants", default="", help="names, comma-separated (default: all)")
    group.addoption("--gold", default="builtin", help="builtin, heldout, or a JSON-lines file")
    group.addoption("--batches", default="1,4,16", help="sentences a call")
    group.addoption("--lengths", default="16,32,128", help="tokens a sentence")
    group.addoption("--ratios", default="", help="file (default: artifacts/micro/TIME.ratios.json)")
    group.addoption("--seconds", type=float, default=2.0, help="of each benchmark")


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the list of results, which are printed at the end."""
    config.stash[MEASURED] = []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a benchmark of every variant, batch and length asked for."""
    option = metafunc.config.getoption
    try:
        asked = {
            "variant": [recipe.name for recipe in read_recipes(names(option("--variants")))],
            "batch": numbers("--batches", option("--batches")),
            "length": numbers("--lengths", option("--lengths")),
        }
    except TiankongError as error:
        raise pytest.UsageError(str(error)) from None
    for name, values in asked.items():
        if name in metafunc.fixturenames:
            # The baseline against itself shows how much a true ratio of 1 varies.
            metafunc.parametrize(name, values, ids=[f"{name}={value}" for value in values])


class OpenVariants:
    """The variants of one model; the baseline and the last one asked for are open."""

    def __init__(self, model: str, variants: Sequence[str], gold: GoldSet) -> None:
        wanted = list(dict.fromkeys([BASELINE, *variants]))
        built = Store(model).get(wanted)
        self.model, self.gold = model, gold
        self.folders = {each.manifest.variant: each.folder for each in built}
        self._open: dict[str, Predictor] = {}

    def predictor(self, variant: str) -> Predictor:
        """Return an open variant; drop the others except the baseline."""
        if variant not in self._open:
            kept = {name: each for name, each in self._open.items() if name == BASELINE}
            self._open = kept | {variant: open_variant(self.folders[variant])}
        return self._open[variant]

    def sentences(self, length: int, count: int) -> list[str]:
        """Return ``count`` sentences of exactly ``length`` tokens."""
        texts = of_length(self.folders[BASELINE], self.gold, length, 0)
        return [texts[number % len(texts)] for number in range(count)]

    def mixed(self, count: int) -> list[str]:
        """Return ``count`` gold sentences of mixed lengths."""
        texts = [item.text for item in self.gold.items]
        return [texts[number % len(texts)] for number in range(count)]


@pytest.fixture(scope="session")
def bench(pytestconfig: pytest.Config) -> OpenVariants:
    """Return the variants, built if need be."""
    option = pytestconfig.getoption
    wanted = [recipe.name for recipe in read_recipes(names(option("--variants")))]
    try:
        return OpenVariants(option("--model"), wanted, find_gold(option("--gold")))
    except TiankongError as error:
        pytest.exit(str(error), returncode=error.exit_code)


@pytest.fixture
def paired(benchmark: Any, pytestconfig: pytest.Config) -> Callable[..., None]:
    """Return a function that benchmarks a call in turns with the baseline's."""

    def run(call: Call, baseline: Call, what: str, variant: str, batch: int, length: Any) -> None:
        rounds = _rounds(call, baseline, pytestconfig.getoption("--seconds"))
        turns: list[float] = []

        def setup() -> None:
            begun = time.perf_counter()
            baseline()
            turns.append(time.perf_counter() - begun)

        benchmark.group = f"{what}, batch {batch}, {length or 'mixed'} tokens"
        benchmark.pedantic(call, setup=setup, rounds=rounds)
        seconds = list(benchmark.stats.stats.data) if benchmark.stats else []
        turns = turns[: len(seconds)]
        benchmark.extra_info.update(
            what=what, variant=variant, batch=batch, length=length, baseline=BASELINE,
            baseline_seconds=turns,
        )  # fmt: skip
        if seconds:
            measured = Paired(what, variant, batch, length, seconds, turns)
            benchmark.extra_info["ratio"] = measured.ratio().as_json()
            pytestconfig.stash[MEASURED].append(measured)

    return run


def _rounds(call: Call, baseline: Call, seconds: float) -> int:
    """Return how many rounds fit into ``seconds``, within bounds; calls each function twice."""
    call(), baseline()
    begun = time.perf_counter()
    call(), baseline()
    fitting = seconds / (time.perf_counter() - begun)
    return int(min(MOST_ROUNDS, max(LEAST_ROUNDS, fitting)))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the ratios and write them, as JSON and as Markdown."""
    ratios = [each.ratio() for each in config.stash[MEASURED]]
    if not ratios:
        return
    model = config.getoption("--model")
    now = f"{datetime.now(UTC):%Y%m%dT%H%M%S}Z"
    path = Path(config.getoption("--ratios") or artifacts() / "micro" / f"{now}.ratios.json")
    table = markdown(model, ratios)
    ran = {"model": model, "baseline": BASELINE, "ratios": [each.as_json() for each in ratios]}
    write_json(path, ran | {"finished": now, "machine": fingerprint(), "versions": versions()})
    write_text(path.with_suffix(".md"), table)
    terminalreporter.write_line(f"\n{table}\n{path}")
