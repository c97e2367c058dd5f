"""What an installed bundle takes, with a wheel so small that its bytes can be told."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tiankong.bench.evidence import image
from tiankong.server.bundle.lock import Pin
from tiankong.toolkit.errors import UnusableInputError

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

PAYLOAD = 3_000_000


def write_wheel(folder: Path) -> str:
    """Write a wheel of a package with a large file; return the line that requires it."""
    folder.mkdir()
    path = folder / "payload-1.0-py3-none-any.whl"
    about = "payload-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("payload/data.bin", b"\1" * PAYLOAD)
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: payload\nVersion: 1.0\n")
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"--find-links wheels\npayload==1.0 --hash=sha256:{digest}\n"


@pytest.fixture
def possible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bundle's requirements be the small wheel, without any index."""

    def write(place: Path, engine: str) -> list[Pin]:
        assert engine == "onnxruntime"
        text = write_wheel(place / "wheels")
        (place / "requirements.txt").write_text(text)
        return [Pin("payload", "1.0", "")]

    monkeypatch.setattr(image, "require_possible", lambda *_: None)
    monkeypatch.setattr(image, "write_requirements", write)
    monkeypatch.setenv("PIP_NO_INDEX", "1")


@pytest.mark.usefixtures("possible")
def test_environment_and_variant_are_added_without_pip(small_variants: dict[str, Built]) -> None:
    variants = [small_variants[name] for name in ("onnx-fp32", "onnx-int8")]
    found = image.measure_image(variants)
    assert found["variant"] == "onnx-int8"  # the one that is served by default
    files = sum(p.stat().st_size for p in variants[1].folder.rglob("*") if p.is_file())
    assert found["variant_bytes"] == pytest.approx(files, rel=0.05)
    assert PAYLOAD <= found["environment_bytes"] < PAYLOAD + 1_000_000  # pip has 10 MB
    assert found["bytes"] == found["environment_bytes"] + found["variant_bytes"]
    assert found["distributions"] == 1


@pytest.mark.usefixtures("possible")
def test_what_cannot_be_installed_is_one_line(
    small_variants: dict[str, Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(place: Path, _: str) -> list[Pin]:
        (place / "requirements.txt").write_text("payload==2.0 --hash=sha256:" + "0" * 64)
        return []

    monkeypatch.setattr(image, "write_requirements", write)
    with pytest.raises(UnusableInputError, match=r"^the bundle cannot be installed: ERROR: .*$"):
        image.measure_image([small_variants["onnx-int8"]])


def test_without_a_variant_that_can_be_bundled_there_is_none(
    small_variants: dict[str, Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnusableInputError, match="no variant to bundle"):
        image.measure_image([])

    def refuse(*_: object) -> None:
        raise UnusableInputError("it is not possible here")

    monkeypatch.setattr(image, "require_possible", refuse)
    with pytest.raises(UnusableInputError, match="not possible here"):
        image.measure_image([small_variants["onnx-int8"]])


def test_blocks_are_counted_as_the_disk_has_them(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    alone = image.on_disk(tmp_path / "a")
    assert alone >= image.BLOCK
    (tmp_path / "link").symlink_to("a")
    assert image.on_disk(tmp_path) < 3 * alone + image.on_disk(tmp_path / "a") + 8192
