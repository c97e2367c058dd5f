"""Exit code 1 means gate or regression: troubles of the system are one line and exit code 2.

The commands are real processes, and so are the troubles, in ways that work for root too.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

SMALL = ("--model", "builtin-small")
TEXT = "床前明月光,疑是地[MASK]霜。"
PREDICT = ("predict", TEXT, *SMALL)
GBK = os.fsdecode("床前".encode("gbk")) + "[MASK]"
TOOL = (sys.executable, "-m", "tiankong")
SERVER = (sys.executable, "-m", "tiankong.server")
DOORS = {
    "models": ("models",),
    "build": ("build", *SMALL, "--variants", "onnx-int8"),
    "check": ("check", *SMALL, "--variants", "onnx-int8"),
    "predict": PREDICT,
    "serve": ("serve", *SMALL, "--port", "0"),
    "export": ("export", *SMALL, "--triton", "repository", "--variants", "onnx-int8"),
    "report": ("report",),
    "sweep": ("sweep", *SMALL, "--plan", "smoke", "--variants", "onnx-int8"),
    "compare": ("compare", "onnx-int8", "onnx-fp32", *SMALL),
    "capacity": ("capacity", "onnx-int8", "--slo", "p95=1s", *SMALL),
    "tune": ("tune", "onnx-int8", "--slo", "p95=1s", *SMALL),
    "worker": ("worker", "--master", "127.0.0.1:1"),
    "bench": ("bench", *SMALL, "--plan", "smoke", "--variants", "onnx-int8"),
    "explain": ("explain", "onnx-int8", *SMALL),
    "bundle": ("bundle", "onnx-int8", "deployment", *SMALL),
}


def run(
    argv: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    *,
    out: int = subprocess.PIPE,
    limit: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, cwd=folder, env=os.environ | (environment or {}), stdin=subprocess.DEVNULL,
        stdout=out, stderr=subprocess.PIPE, encoding="utf-8", errors="backslashreplace",
        timeout=100, check=False, preexec_fn=limit,
    )  # fmt: skip


def refused(ran: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """Return the one line of a command that was ended."""
    # What was done before is said too: steps, variants that this machine cannot have.
    *before, last = ran.stderr.splitlines() or [""]
    assert ran.returncode == code, ran.stderr
    assert "Traceback" not in ran.stderr
    assert last.startswith("tiankong: "), ran.stderr
    assert not any(line.startswith("tiankong: ") for line in before), ran.stderr
    return last


def limited(what: int, value: int) -> Callable[[], None]:
    return partial(resource.setrlimit, what, (value, value))


@contextmanager
def small_disk(place: Path, option: str) -> Iterator[Path]:
    """Mount a file system with an option; skip the test without the right to do so."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", option, "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def run_file() -> Path:
    """A run file as it was written before."""
    return Path(__file__).parent / "data" / "before" / "run_format_2.jsonl"


@pytest.fixture
def home(small_variants: Mapping[str, Built], tmp_path: Path) -> Path:
    """A folder whose ``artifacts`` has two built variants of its own."""
    for name in ("onnx-int8", "pytorch-fp32"):
        source = small_variants[name].folder
        shutil.copytree(source, tmp_path / "artifacts" / "variants" / source.parent.name / name)
    return tmp_path


@pytest.fixture
def own(home: Path) -> dict[str, str]:
    return {"TIANKONG_ARTIFACTS": str(home / "artifacts")}


@pytest.mark.parametrize("door", sorted(DOORS))
def test_gbk_bytes_in_an_argument(door: str, tmp_path: Path) -> None:
    line = refused(run([*TOOL, *DOORS[door], GBK], tmp_path))
    assert "is not utf-8 text (its bytes: b4 b2 c7 b0 5b" in line


@pytest.mark.parametrize("door", sorted(set(DOORS) - {"models", "worker", "explain", "predict"}))
def test_a_file_in_place_of_the_artifacts(door: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = run([*TOOL, *DOORS[door]], tmp_path, {"TIANKONG_ARTIFACTS": "file"})
    assert "file is no folder: set TIANKONG_ARTIFACTS to one" in refused(ran)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


@pytest.mark.parametrize(
    ("door", "unbuffered"), [("models", ""), ("models", "1"), ("predict", ""), ("--help", "")]
)
def test_a_full_disk_behind_standard_output(
    door: str, unbuffered: str, home: Path, own: dict[str, str]
) -> None:
    with Path("/dev/full").open("w") as full:
        ran = run(
            [*TOOL, *DOORS.get(door, (door,))], home, own | {"PYTHONUNBUFFERED": unbuffered},
            out=full.fileno(),
        )  # fmt: skip
    assert "No space left on device" in refused(ran)


@pytest.mark.parametrize("door", ["models", "predict", "--help"])
def test_a_closed_pipe(door: str, home: Path, own: dict[str, str]) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    try:
        ran = run([*TOOL, *DOORS.get(door, (door,))], home, own, out=writes)
    finally:
        os.close(writes)
    assert "Broken pipe" in refused(ran)


def test_standard_streams_that_are_closed(home: Path, own: dict[str, str]) -> None:
    def shut(*numbers: int) -> Callable[[], None]:
        return lambda: [os.close(number) for number in numbers] and None

    assert "standard output" in refused(run([*TOOL, *PREDICT], home, own, limit=shut(0, 1)))
    ran = run([*TOOL, *PREDICT], home, own, limit=shut(2))
    assert (ran.returncode, ran.stdout[0]) == (0, "上")
    assert run([*TOOL, "nope"], home, own, limit=shut(2)).returncode == 2


def test_a_terminal_that_is_not_utf_8(home: Path, own: dict[str, str]) -> None:
    latin = own | {"PYTHONIOENCODING": "latin-1"}
    line = refused(run([*TOOL, *PREDICT], home, latin))
    assert "standard output is latin-1, which has no '\\u4e0a': set PYTHONIOENCODING=utf-8" in line
    ran = run([*TOOL, *PREDICT, "--json"], home, latin)
    assert ran.stdout.isascii()
    assert json.loads(ran.stdout)["results"][0]["token"] == "上"
    plain = own | {"LC_ALL": "C", "LANG": "C"}
    assert run([*TOOL, *PREDICT], home, plain).stdout.startswith("上\t")
    old = plain | {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert "which has no" in refused(run([*TOOL, "predict", *SMALL, "a[MASK]"], home, old))


@pytest.mark.parametrize(
    ("door", "least"), [("build", 3_000_000), ("report", 10_000), ("export", 1_000_000)]
)
def test_a_file_that_may_not_grow(
    door: str, least: int, home: Path, own: dict[str, str], run_file: Path
) -> None:
    argv = {**DOORS, "report": ("report", str(run_file), "--out", "pages")}[door]
    if door == "build":
        shutil.rmtree(home / "artifacts" / "variants")
    ran = run([*TOOL, *argv], home, own, limit=limited(resource.RLIMIT_FSIZE, least))
    assert "File too large: raise 'ulimit -f'" in refused(ran)
    left = [p for p in home.rglob("*.part*") if p.exists()]
    assert left == []


@pytest.mark.parametrize("option", ["ro", "size=64k"])
def test_a_report_on_a_full_or_read_only_disk(option: str, tmp_path: Path, run_file: Path) -> None:
    with small_disk(tmp_path / "disk", option) as disk:
        ran = run([*TOOL, "report", str(run_file), "--out", str(disk / "pages")], tmp_path)
        line = refused(ran)
    assert str(tmp_path / "disk" / "pages") in line
    assert {"ro": "Read-only file system", "size=64k": "No space left"}[option] in line


def test_a_read_only_disk_for_the_artifacts(home: Path) -> None:
    with small_disk(home / "disk", "ro") as disk:
        for door in ("build", "sweep", "bundle"):
            ran = run([*TOOL, *DOORS[door]], home, {"TIANKONG_ARTIFACTS": str(disk / "made")})
            assert "Read-only file system" in refused(ran), door


def test_other_things_in_the_way(home: Path, own: dict[str, str], run_file: Path) -> None:
    (home / "file").touch()
    (home / "loop").symlink_to("loop")
    for out, part in [
        ("file", "file: File exists"),
        ("loop/pages", "Too many levels of symbolic links"),
    ]:
        ran = run([*TOOL, "report", str(run_file), "--out", out], home, own)
        assert part in refused(ran), out


def test_too_little_memory(home: Path, own: dict[str, str]) -> None:
    for argv in ([*TOOL, *PREDICT], [*SERVER, "--variant-dir=nowhere"]):
        ran = run(argv, home, own, limit=limited(resource.RLIMIT_AS, 300 << 20))
        assert "'ulimit -v' allows 300 MiB of memory" in refused(ran)
    shutil.rmtree(home / "artifacts" / "variants")
    ran = run([*TOOL, *DOORS["build"]], home, own, limit=limited(resource.RLIMIT_AS, 420 << 20))
    assert "close other programs or use a larger machine" in refused(ran)


def test_too_few_descriptors(home: Path, own: dict[str, str]) -> None:
    variant = home / "artifacts" / "variants" / "builtin-small" / "onnx-int8"
    for argv in ([*TOOL, *DOORS["serve"]], [*SERVER, f"--variant-dir={variant}", "--port=0"]):
        ran = run(argv, home, own, limit=limited(resource.RLIMIT_NOFILE, 8))
        assert "too few descriptors: 'ulimit -n' allows 8 open files" in refused(ran)
    soft = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (8, 512))  # it may be raised
    assert run([*TOOL, *PREDICT], home, own, limit=soft).stdout.startswith("上")


def test_the_server_refuses_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for argument, part in [
        (f"--variant-dir={GBK}", "is not utf-8 text"),
        ("--variant-dir=file", "file is no variant"),
        (f"--variant-dir={'n' * 300}", "File name too long"),
    ]:
        assert part in refused(run([*SERVER, argument, "--port=0"], tmp_path))


def test_what_nobody_foresaw(home: Path, own: dict[str, str]) -> None:
    planted = (
        "import sys, tiankong.toolkit.models.loading as loading\n"
        "loading.list_models = lambda: 1 / 0\n"
        "from tiankong.__main__ import main\n"
        "sys.exit(main(['models']))\n"
    )
    line = refused(run([sys.executable, "-c", planted], home, own), 70)
    (report,) = (home / "artifacts" / "unforeseen").iterdir()
    assert "this should not happen: ZeroDivisionError: division by zero" in line
    assert f"the report is {report}" in line
    assert "in <lambda>" in report.read_text(encoding="utf-8")
