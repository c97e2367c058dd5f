"""What several rooms share: the variants of the built-in small model, built and gated once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tiankong.toolkit.build import Built

ARTIFACTS = "TIANKONG_ARTIFACTS"


@pytest.fixture(scope="session")
def shared_artifacts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The artifacts folder of the whole session; TIANKONG_ARTIFACTS points at it.

    A test that needs a folder of its own sets the variable again with monkeypatch.
    """
    before = os.environ.get(ARTIFACTS)
    folder = tmp_path_factory.mktemp("artifacts")
    os.environ[ARTIFACTS] = str(folder)
    yield folder
    if before is None:
        os.environ.pop(ARTIFACTS, None)
    else:
        os.environ[ARTIFACTS] = before


@pytest.fixture(scope="session")
def small_variants(shared_artifacts: Path) -> dict[str, Built]:
    """All variants of builtin-small that can be here, built once.  Copy one before spoiling it."""
    from tiankong.toolkit.availability import choose
    from tiankong.toolkit.build import build

    return {built.manifest.variant: built for built in build("builtin-small", choose().recipes)}


@pytest.fixture(scope="session")
def gated_variants(small_variants: dict[str, Built]) -> dict[str, Built]:
    """The same variants after the gate on the built-in gold set (their answers are kept)."""
    from tiankong.toolkit.build import standing
    from tiankong.toolkit.checking import find_gold, gate

    gate("builtin-small", list(small_variants.values()), find_gold("builtin"))
    return {name: standing("builtin-small", name) for name in small_variants}
