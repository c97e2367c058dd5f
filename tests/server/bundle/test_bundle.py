"""Bundles that are refused, and failures that leave no files.

tests/e2e/test_bundle.py tests what a bundle contains, and that it serves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tiankong.server.bundle import bundle
from tiankong.server.bundle.bundle import BundleTerms, require_possible, write_bundle
from tiankong.server.bundle.sizing import Footprint
from tiankong.server.settings import Settings
from tiankong.toolkit.building.folders import Built
from tiankong.toolkit.building.manifest import read_manifest
from tiankong.toolkit.errors import GateFailedError, UnusableInputError

MEASURED = Footprint(
    cores=2, start_seconds=4.2, resident=100 << 20, peak=200 << 20, sentences=300, callers=16,
    longest=512, settings={"streams": 2}, day="2026-01-31",
)  # fmt: skip


@pytest.fixture
def built(tmp_path: Path, write_variant: Callable[..., None]) -> Built:
    folder = tmp_path / "variant"
    folder.mkdir()
    write_variant(folder)
    return Built(folder, read_manifest(folder), skipped=True)


def test_figures_are_rounded_up_with_room() -> None:
    assert (MEASURED.memory_request, MEASURED.memory_limit) == (112, 256)
    assert MEASURED.start_limit == 42
    small = replace(MEASURED, resident=1, peak=1, start_seconds=0.5)
    assert (small.memory_request, small.memory_limit, small.start_limit) == (16, 16, 30)


def test_a_folder_in_use_is_refused(built: Built, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    target.mkdir()
    require_possible(target, built.manifest)  # an empty folder is allowed
    (target / "file").touch()
    with pytest.raises(UnusableInputError, match="not empty"):
        require_possible(target, built.manifest)
    with pytest.raises(UnusableInputError, match="not empty"):
        require_possible(target / "file", built.manifest)


def test_what_failed_the_gate_is_no_bundle(built: Built, tmp_path: Path) -> None:
    with pytest.raises(GateFailedError, match="did not pass the gate"):
        require_possible(tmp_path / "new", built.manifest.with_gate({"passed": False}))


def test_what_runs_elsewhere_is_no_bundle(built: Built, tmp_path: Path) -> None:
    recipe = replace(built.manifest.recipe, device="cuda")
    with pytest.raises(UnusableInputError, match="runs on cuda"):
        require_possible(tmp_path / "new", replace(built.manifest, recipe=recipe))


def test_replicas_are_a_range() -> None:
    for replicas in (0, 9):
        with pytest.raises(UnusableInputError, match="at least 1 and not above"):
            BundleTerms(replicas=replicas, most_replicas=8)


def test_a_failure_leaves_nothing(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise UnusableInputError("no index")

    settings = Settings(built.folder)
    monkeypatch.setattr(bundle, "resolve", fails)
    with pytest.raises(UnusableInputError, match="no index"):
        write_bundle(tmp_path / "new", built, settings, MEASURED, BundleTerms())
    (built.folder / "config.json").write_text("{}")
    with pytest.raises(UnusableInputError, match="damaged"):
        write_bundle(tmp_path / "new", built, settings, MEASURED, BundleTerms())
    assert [path.name for path in tmp_path.iterdir()] == ["variant"]


def test_the_image_of_an_older_debian_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for glibc, debian in (("2.31", "bookworm"), ("2.36", "bookworm"), ("2.39", "trixie")):
        monkeypatch.setattr("platform.libc_ver", lambda glibc=glibc: ("glibc", glibc))
        assert bundle._debian() == debian
