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
    def names(**given: Any) -> list[str]:
        return [row.name for row in Settings(Path("v"), **given).changed()]

    assert names() == []
    assert names(threads=2) == ["threads"]
    assert names(port=1, cache=2) == ["port", "cache"]


def test_what_is_usual_is_not_said() -> None:
    folder = Path("v").absolute()
    place = [f"--variant-dir={folder}", "--host=127.0.0.1", "--port=8080"]
    assert Settings(Path("v")).arguments() == place
    settings = Settings(Path("v"), spin=True, access_log=False, deadline=2.5)
    own = ["--spin", "--deadline=2.5", "--no-access-log"]
    assert settings.arguments() == place + own
    assert settings.arguments(place=False) == own
    keys = Settings(Path("v"), api_key_file=Path("keys")).arguments(place=False)
    assert keys == [f"--api-key-file={Path('keys').absolute()}"]


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
        {"max_batch": 0},
        {"cache": -1},
        {"head_deadline": 0.0},
        {"head_deadline": math.inf},
        {"connections": 0},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UnusableInputError, match=next(iter(wrong))):
        Settings(Path("v"), **wrong)


def test_what_is_wrong_is_said() -> None:
    for wrong, line in {
        ("max_batch", 0): "max_batch must be at least 1, not 0",
        ("cache", -2): "cache must not be negative: -2",
        ("deadline", 0.0): "deadline must be a number of seconds: 0.0",
        ("port", 65536): "port must lie in 0..65535, not 65536",
    }.items():
        given: dict[str, Any] = dict([wrong])
        with pytest.raises(UnusableInputError) as caught:
            Settings(Path("v"), **given)
        assert str(caught.value) == line
