"""A home of its own for measuring: copies of the built variants, asked a short gold set."""

from __future__ import annotations

import itertools
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tiankong.toolkit.gate.gold import BUILTIN, GoldSet, read_gold

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

ITEMS = 16


@dataclass(frozen=True)
class Home:
    folder: Path
    gold: GoldSet
    variants: dict[str, Built]


@pytest.fixture(scope="session")
def measuring_home(
    small_variants: dict[str, Built],
    tmp_path_factory: pytest.TempPathFactory,
) -> Home:
    from tiankong.toolkit.building.store import Store
    from tiankong.toolkit.gate.examination import gate

    folder = tmp_path_factory.mktemp("measuring")
    first = next(iter(small_variants.values()))
    shutil.copytree(first.folder.parent, folder / "variants" / "builtin-small")
    gold_file = folder / "short.jsonl"
    with BUILTIN.open(encoding="utf-8") as lines:
        gold_file.write_text("".join(itertools.islice(lines, ITEMS)), encoding="utf-8")
    gold = read_gold(gold_file)
    cores = os.sched_getaffinity(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIANKONG_ARTIFACTS", str(folder))
        store = Store("builtin-small")
        built = [store.standing(name) for name in small_variants]
        os.sched_setaffinity(0, {min(cores)})  # PyTorch's threads wait for each other on busy cores
        try:
            gate(store, built, gold)
        finally:
            os.sched_setaffinity(0, cores)
        return Home(folder, gold, {n: store.standing(n) for n in small_variants})


@pytest.fixture
def home(measuring_home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(measuring_home.folder))
    return measuring_home
