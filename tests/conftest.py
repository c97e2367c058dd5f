"""Fixtures for several rooms: the variants of the built-in small model, built and gated once."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tiankong  # noqa: F401 (switches telemetry off, here and in what the tests start)

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tiankong.toolkit.building.folders import Built

ARTIFACTS = "TIANKONG_ARTIFACTS"
SHARED = "TIANKONG_TEST_ARTIFACTS"  # set by nox: several test processes build the variants once
LOADING = {"bench", "e2e"}
QUIET = {"explain"}  # a room within them whose tests measure for an instant only


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of rooms that measure: they need the machine for themselves."""
    for item in items:
        rooms = set(item.path.relative_to(Path(__file__).parent).parts)
        if rooms & LOADING and not rooms & QUIET:
            item.add_marker(pytest.mark.machine)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Lock a folder that test processes share: the others wait while one writes there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def shared_artifacts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The artifacts folder of the whole session; TIANKONG_ARTIFACTS points at it.

    A test that needs a folder of its own sets the variable again with monkeypatch.
    """
    before = os.environ.get(ARTIFACTS)
    shared = os.environ.get(SHARED)
    folder = Path(shared) if shared else tmp_path_factory.mktemp("artifacts")
    os.environ[ARTIFACTS] = str(folder)
    yield folder
    if before is None:
        os.environ.pop(ARTIFACTS, None)
    else:
        os.environ[ARTIFACTS] = before


@pytest.fixture(scope="session")
def small_variants(shared_artifacts: Path) -> dict[str, Built]:
    """All variants of builtin-small that this machine can run, built once.  Damage copies only."""
    from tiankong.toolkit.building.store import Store

    with one_at_a_time(shared_artifacts):
        return {built.manifest.variant: built for built in Store("builtin-small").build()}


@pytest.fixture(scope="session")
def gated_variants(small_variants: dict[str, Built], shared_artifacts: Path) -> dict[str, Built]:
    """The same variants after the gate on the built-in gold set; manifests have its result."""
    from tiankong.toolkit.building.store import Store
    from tiankong.toolkit.gate.examination import ensure
    from tiankong.toolkit.gate.gold import find_gold

    with one_at_a_time(shared_artifacts):
        gated = ensure(Store("builtin-small"), list(small_variants), find_gold("builtin"))
    return {built.manifest.variant: built for built in gated}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; on a build server its absence is a failure, elsewhere a skip."""
    chromium = shutil.which("chromium")
    if chromium is None and not os.environ.get("CI"):
        pytest.skip("no chromium on this machine")
    api = pytest.importorskip("playwright.sync_api")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield started
        started.close()
