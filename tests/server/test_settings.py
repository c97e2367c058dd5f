from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tiankong.server.settings import Settings
from tiankong.toolkit.errors import UnusableInputError


def test_defaults_are_the_promised_ones() -> None:
    settings = Settings(Path("v"))
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert (settings.streams, settings.threads) == (0, 0)
    assert (settings.queue_limit, settings.batch_limit) == (256, 256)
    assert (settings.deadline, settings.body_limit) == (30, 65536)


def test_what_was_changed_is_named() -> None:
    assert Settings(Path("v")).changed() == set()
    assert Settings(Path("v"), threads=2).changed() == {"threads"}
    assert Settings(Path("v"), port=1, cache=2).changed() == {"port", "cache"}


def test_the_most_replicas() -> None:
    assert [
        Settings(Path("v"), replicas=a, max_replicas=b).most_replicas
        for a, b in ((0, 0), (2, 0), (1, 3), (3, 3))
    ] == [1, 2, 3, 3]


@pytest.mark.parametrize(
    "wrong",
    [
        {"streams": -1},
        {"threads": -1},
        {"queue_limit": -1},
        {"deadline": 0.0},
        {"deadline": math.nan},
        {"deadline": math.inf},
        {"port": 65536},
        {"port": -1},
        {"body_limit": 0},
        {"batch_limit": 0},
        {"replicas": -1},
        {"max_replicas": -1},
        {"max_replicas": 1, "replicas": 2},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UnusableInputError, match=next(iter(wrong))):
        Settings(Path("v"), **wrong)
