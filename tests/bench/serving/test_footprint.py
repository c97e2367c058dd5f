"""bench/serving/footprint.py on a real server."""

from __future__ import annotations

from typing import Any

from tiankong.bench.serving.footprint import measure
from tiankong.server.settings import Settings
from tiankong.toolkit.gate.gold import read_gold


def test_a_real_server_is_measured(home: Any) -> None:
    folder = home.variants["onnx-int8"].folder
    footprint = measure(Settings(folder, threads=1, max_batch=3), read_gold(), cores=1)
    assert footprint.settings["max_batch"] == 3
    assert footprint.settings["streams"] == 1  # one core
    assert footprint.longest == 512
    assert 40 << 20 < footprint.resident <= footprint.peak < 1000 << 20
    assert 0.1 < footprint.start_seconds < 60
