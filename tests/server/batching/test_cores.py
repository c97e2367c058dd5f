from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tiankong.server.batching.cores import cores_each, open_served
from tiankong.server.settings import Settings
from tiankong.toolkit.machine import usable_cores

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

USABLE = "tiankong.toolkit.engines.onnx_engine.usable_cores"


def test_replicas_share_the_cores() -> None:
    cores = usable_cores()
    for count, share in ((1, cores), (cores, 1), (cores + 1, 1)):
        assert cores_each(count) == share


def test_where_nothing_can_be_kept_batches_do_not_share_and_that_is_said(
    small_variants: dict[str, Built],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "file"))
    monkeypatch.setattr(USABLE, lambda: 2)
    predictor = open_served(Settings(small_variants["onnx-int8"].folder))
    assert not predictor.engine.about.widths
    assert predictor.predict(["床前明月光,疑是地[MASK]霜。"])[0][0][0].token == "上"
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "cannot be kept prepared: " in line
    assert "TIANKONG_ARTIFACTS" in line


@pytest.mark.parametrize(
    ("given", "wanted"), [({}, [1, 2]), ({"threads": 2}, []), ({"spin": True}, [])]
)
def test_batches_share_the_cores_unless_told_otherwise(
    small_variants: dict[str, Built],
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any],
    wanted: list[int],
) -> None:
    monkeypatch.setattr(USABLE, lambda: 2)
    settings = Settings(small_variants["onnx-int8"].folder, **given)
    assert list(open_served(settings).engine.about.widths) == wanted


def test_a_replica_has_the_form_that_shares_its_cores(small_variants: dict[str, Built]) -> None:
    folder = small_variants["onnx-int8"].folder
    told: list[str] = []
    for cores, widths in (1, [1]), (2, [1, 2]):
        about = open_served(Settings(folder), cores, told.append).engine.about
        assert (about.widths, about.unpads) == (widths, True)
    assert open_served(Settings(folder, threads=2), 2, told.append).engine.about.widths == ()
    assert told == []


def test_a_replica_says_that_its_weights_are_its_own(
    small_variants: dict[str, Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "file"))
    told: list[str] = []
    assert not open_served(
        Settings(small_variants["onnx-int8"].folder), 1, told.append
    ).engine.about.widths
    [line] = told
    assert "all cores of its replica, which has weights of its own (a writable" in line
