"""How many cores and threads a replica uses; real replicas: test_replicas.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tiankong.server.settings import Settings
from tiankong.toolkit.errors import UnusableInputError

pytest.importorskip("ray", reason="Ray is not installed: pip install 'tiankong[ray]'")


@pytest.mark.parametrize(
    ("values", "cores", "shared", "threads", "streams"),
    [
        ({}, 4, True, 4, 4),  # four batches use one thread each, a single batch uses all
        ({}, 4, False, 4, 1),
        ({"threads": 2}, 4, False, 2, 2),
        ({"threads": 3}, 4, False, 3, 1),
        ({"threads": 7}, 4, False, 7, 1),
        ({"threads": 7, "streams": 3}, 4, False, 7, 3),
        ({"streams": 3}, 4, True, 4, 3),
    ],
)
def test_a_replica_keeps_to_its_cores_unless_told_otherwise(
    values: dict[str, int], cores: int, shared: bool, threads: int, streams: int
) -> None:
    from tiankong.server.ray_serve import shared_out

    own = shared_out(Settings(Path("v"), replicas=2, **values), cores, shared=shared)  # type: ignore[arg-type]
    assert (own.threads, own.streams) == (threads, streams)


@pytest.mark.parametrize(
    ("arguments", "cores", "reserves", "threads", "streams"),
    [
        ({}, 1, 1, 1, 1),
        ({"threads": "2"}, 2, 2, 2, 1),
        ({"cores": "2"}, 2, 2, 2, 2),
        ({"cores": 4, "threads": 2}, 4, 4, 2, 2),
        ({"cores": 1, "threads": 2}, 1, 2, 2, 1),
        ({"streams": 3}, 1, 1, 1, 3),
    ],
)
def test_in_a_cluster_a_replica_reserves_what_it_uses(
    arguments: dict[str, Any], cores: int, reserves: int, threads: int, streams: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from tiankong.server import ray_serve

    monkeypatch.setattr(ray_serve, "application", lambda *given: given)
    settings, given = ray_serve.app({"folder": "/models/v", **arguments})
    assert (given, ray_serve.reserved(settings, cores)) == (cores, reserves)
    own = ray_serve.shared_out(settings, cores, shared=not settings.threads)
    assert (own.threads, own.streams, own.replicas) == (threads, streams, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"speed": 2}, "unknown: speed; known: .*cores.*threads"),
        ({"threads": "two"}, "threads=two: no number"),
        ({"cores": -1}, "cores must be at least 1"),
    ],
)
def test_in_a_cluster_wrong_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    from tiankong.server.ray_serve import app

    with pytest.raises(UnusableInputError, match=words):
        app({"folder": "/models/v", **arguments})


def test_in_a_cluster_every_setting_has_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    from tiankong.server import ray_serve

    monkeypatch.setattr(ray_serve, "application", lambda *given: given)
    words = {"folder": "/v", "host": "::1", "port": "81", "spin": "true", "deadline": "2.5"}
    settings, _ = ray_serve.app({**words, "api_key_file": "/k", "max_replicas": 3})
    assert settings == Settings(
        Path("/v"), "::1", 81, spin=True, deadline=2.5, api_key_file=Path("/k"),
        replicas=1, max_replicas=3,
    )  # fmt: skip
