"""The registry's rows, engines of other packages, and the errors such a package can have."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name

import pytest

from tiankong.toolkit.engines.kinds import (
    GROUP,
    KINDS,
    all_kinds,
    find_kind,
    import_engine,
    kind_of,
)
from tiankong.toolkit.errors import UnusableInputError

COUNTER = iter(range(1000))
ROW = "Kind('{name}', 'An abacus', '{module}', (), ())"
Plant = Callable[..., str]


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plant:
    """Install a package that brings an engine of a new name; return the name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(row: str = ROW, name: str = "", package: str = "beads", file: str = "") -> str:
        number = next(COUNTER)  # engines are cached by name
        name, module = name or f"abacus-{number}", f"abacus_{number}"
        code = "from tiankong.toolkit.engines.kinds import Kind\n"
        code += f"KIND = {row.format(name=name, module=f'{module}_engine')}\n"
        (tmp_path / f"{module}.py").write_text(code)
        if file:
            (tmp_path / f"{module}_engine.py").write_text(file)
        facts = tmp_path / f"{package}-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {module}:KIND\n")
        return name

    return write


def test_what_the_rows_name_is_there() -> None:
    for name, kind in KINDS.items():
        assert kind.name == name
        assert callable(import_engine(kind).open_engine)
        assert callable(resolve_name(kind.builder))
        assert not kind.subject or callable(resolve_name(kind.subject))


def test_a_package_brings_an_engine(plant: Plant) -> None:
    name = plant(file="def open_engine(files, threads): return 'beads'")
    kind = kind_of(name)
    assert kind.title == "An abacus"
    assert list(all_kinds()) == [*KINDS, name]
    assert import_engine(kind).open_engine(None, None) == "beads"


def test_an_unknown_engine_is_named_with_those_that_are_known(plant: Plant) -> None:
    name = plant()
    assert find_kind("no-such-engine") is None
    known = f"'no-such-engine'; known: {', '.join(KINDS)}, {name}$"
    with pytest.raises(UnusableInputError, match=known):
        kind_of("no-such-engine")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("1 / 0", "division by zero"),
        ("Kind(", "was never closed"),
        ("Kind('beads')", "missing 4 required positional arguments"),
        ("'beads'", "is no Kind"),
        ("Kind('other', 'Other', 'other', (), ())", "its Kind has the name 'other'"),
    ],
)
def test_a_broken_package_is_one_line(plant: Plant, row: str, why: str) -> None:
    name = plant(row)
    with pytest.raises(UnusableInputError, match=why) as caught:
        kind_of(name)
    line = str(caught.value)
    assert line.startswith(f"the engine {name!r} of the package beads is broken: ")
    assert "\n" not in line
    with pytest.raises(UnusableInputError, match="is broken"):
        all_kinds()


def test_two_packages_of_one_name(plant: Plant) -> None:
    name = plant()
    plant(name=name, package="pebbles")
    with pytest.raises(UnusableInputError, match=r"package beads and the package pebbles both"):
        kind_of(name)


def test_a_package_cannot_take_the_place_of_an_engine_of_ours(plant: Plant) -> None:
    plant(name="onnxruntime")
    assert kind_of("onnxruntime") is KINDS["onnxruntime"]
    taken = "the package beads brings an engine 'onnxruntime', a name that is taken"
    with pytest.raises(UnusableInputError, match=taken):
        all_kinds()


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("", "cannot be imported: No module named"),
        ("import no_such_library", "cannot be imported: No module named 'no_such_library'"),
        ("def opens(): ...", "has no open_engine"),
    ],
)
def test_an_engine_file_that_cannot_be_used(plant: Plant, file: str, why: str) -> None:
    name = plant(file=file)
    with pytest.raises(UnusableInputError, match=f"^the engine {name!r}.* {why}"):
        import_engine(kind_of(name))


def test_the_registry_is_read_without_a_library() -> None:
    code = (
        "import sys; from tiankong.toolkit.engines.kinds import kind_of; kind_of('onnxruntime');"
        "print({'numpy', 'onnxruntime', 'importlib.metadata'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
