"""A new dependency with telemetry is noticed: each one with signs of it stands in the docs."""

from __future__ import annotations

import mmap
import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest

packaging = pytest.importorskip("packaging.requirements")

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
WORDS = [
    b"do_not_track", b"usage_stats", b"usage-stats", b"google-analytics", b"data.microsoft.com",
    b"posthog", b"sentry_sdk", b"sentry.io", b"statsig", b"mixpanel", b"amplitude.com",
    b"segment.io", b"scarf.sh", b"applicationinsights", b"169.254.169.254",
]  # fmt: skip
"""Signs of telemetry in a program's text; the last is where clouds say what a machine is."""
IN_LIBRARIES = [
    b"DISABLE_TELEMETRY", b"DO_NOT_TRACK", b"google-analytics", b"data.microsoft.com", b"posthog",
    b"sentry.io",
]  # fmt: skip
ADVICE = (
    "find out what it sends and how that is switched off; enter the switch in"
    " toolkit/telemetry.py and the dependency in docs/reliability.md"
)


def needed() -> dict[str, Distribution]:
    """Return the installed distributions that the project and its extras need, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()

    def walk(lines: Iterable[str], of: Iterable[str]) -> None:
        for line in lines:
            wanted = packaging.Requirement(line)
            key = (canonical(wanted.name), frozenset(wanted.extras))
            places = [{"extra": extra} for extra in ("", *of)]
            if wanted.marker and not any(wanted.marker.evaluate(place) for place in places):
                continue
            if key[0] == project["name"] or key in seen:
                continue
            seen.add(key)
            try:
                found[key[0]] = distribution(key[0])
            except PackageNotFoundError:
                continue  # an extra that is not installed here
            walk(found[key[0]].requires or (), wanted.extras)

    walk([line for lines in (project["dependencies"], *extras) for line in lines], ())
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def signs(paths: Iterable[Path]) -> set[str]:
    """Return the signs of telemetry in Python, JavaScript and compiled files."""
    found: set[bytes] = set()
    for path in paths:
        if path.suffix in (".py", ".js"):
            text = path.read_bytes().lower()
            found |= {word for word in WORDS if word in text}
            # OpenTelemetry is a library for an application's own figures.
            if text.count(b"telemetry") > text.count(b"opentelemetry"):
                found.add(b"telemetry")
        elif ".so" in path.name and path.stat().st_size:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m:
                found |= {word for word in IN_LIBRARIES if m.find(word) >= 0}
    return {word.decode() for word in found}


def files_of(distribution: Distribution) -> Iterator[Path]:
    for file in distribution.files or ():
        path = Path(str(file.locate()))
        if path.is_file():
            yield path


def documented() -> set[str]:
    """Return the names in the first columns of the page's tables of dependencies."""
    text = PAGE.read_text(encoding="utf-8").partition("## Nothing is sent")[2]
    tables = re.findall(r"^\| dependency .*\n\|[-| ]+\n((?:\|.*\n)+)", text, re.M)
    assert len(tables) == 2
    rows = "".join(tables).splitlines()
    return {name for row in rows for name in re.findall(r"`([\w-]+)`", row.split("|")[1])}


def test_each_dependency_with_signs_of_telemetry_is_known() -> None:
    marked = {name: found for name, each in needed().items() if (found := signs(files_of(each)))}
    assert len(marked) > 3
    unknown = {
        f"{name}: {', '.join(sorted(found))}: {ADVICE}"
        for name, found in marked.items()
        if name not in documented()
    }
    assert not unknown


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("client.py", b"requests.post('https://eu.PostHog.com/capture')", {"posthog"}),
        ("client.py", b"from opentelemetry import trace", set()),
        ("client.py", b"def send_telemetry(): ...  # not opentelemetry's", {"telemetry"}),
        (
            "core.cpython-311.so",
            b"\0https://x.events.data.microsoft.com/\0",
            {"data.microsoft.com"},
        ),
        ("readme.md", b"telemetry", set()),
    ],
)
def test_the_signs(tmp_path: Path, name: str, content: bytes, found: set[str]) -> None:
    (tmp_path / name).write_bytes(content)
    assert signs([tmp_path / name]) == found
