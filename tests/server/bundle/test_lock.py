"""The requirements of serving, and the pins made from pip's report.

tests/e2e/test_bundle.py installs from a file that was made from pip's real report.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tiankong.server.bundle.lock import Pin, pins, requirements_text, resolve, serving
from tiankong.toolkit.engines.kinds import KINDS
from tiankong.toolkit.errors import UnusableInputError


def names(requirements: list[str]) -> set[str]:
    return {requirement.partition("==")[0] for requirement in requirements}


@pytest.mark.parametrize("engine", KINDS)
def test_one_engine_and_no_other(engine: str) -> None:
    requirements = serving(metadata.requires("tiankong") or [], engine)
    others = {name for kind in KINDS.values() if kind.name != engine for name in kind.distributions}
    assert names(requirements) >= {"starlette", "uvicorn", *KINDS[engine].distributions}
    assert not names(requirements) & {*others, "nncf", "locust", "pytest", "jinja2"}
    assert all("==" in requirement and ";" not in requirement for requirement in requirements)


def test_markers_of_other_systems_are_kept_out() -> None:
    declared = [
        "numpy==2",
        'uvloop==1; sys_platform == "win32" and extra == "serve"',
        'starlette==1; extra == "serve"',
        'onnxruntime==1; extra == "serve"',
        'onnxruntime==1; extra == "build"',
    ]
    assert serving(declared, "onnxruntime") == ["onnxruntime==1", "starlette==1"]


def report(**changes: Any) -> dict[str, Any]:
    item = {
        "metadata": {"name": "Thing", "version": "1.0+cpu"},
        "download_info": {
            "url": "https://index.example/secret/thing.whl",
            "archive_info": {"hashes": {"sha256": "ab" * 32}},
        },
    }
    return {"version": "1", "install": [item | changes]}


def test_no_address_gets_into_the_file() -> None:
    pinned = pins(report())
    assert pinned == [Pin("Thing", "1.0+cpu", "ab" * 32)]
    text = requirements_text(pinned, "wheels")
    assert f"Thing==1.0+cpu \\\n    --hash=sha256:{'ab' * 32}\n" in text
    assert "example" not in text
    assert "://" not in text


def test_a_report_that_is_not_understood_is_refused() -> None:
    with pytest.raises(UnusableInputError, match="format 2"):
        pins(report() | {"version": "2"})
    without = report(download_info={"url": "https://index.example", "vcs_info": {}})
    with pytest.raises(UnusableInputError, match="lacks 'archive_info'"):
        pins(without)


def test_what_cannot_be_resolved_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pip", reason="this environment has no pip")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UnusableInputError, match="package index in reach") as refused:
        resolve(tmp_path / "missing-1.0-py3-none-any.whl", ["starlette==1"])
    assert "\n" not in str(refused.value)
