from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tiankong.bench.compare.revisions import Revision
from tiankong.bench.compare.side import Contender, opener, parse_contender, settings_of
from tiankong.bench.load.target import Target
from tiankong.server.settings import Settings
from tiankong.toolkit.errors import UnusableInputError

BUILT: Any = SimpleNamespace(folder=Path("variants/onnx-int8"), require_same=lambda: None)


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiankong.bench.compare.side.allowed_cpus", lambda: [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("onnx-int8", {"variant": "onnx-int8"}),
        ("onnx-int8@", {"variant": "onnx-int8"}),
        (
            "onnx-int8@streams=2,threads=1",
            {"variant": "onnx-int8", "settings": {"streams": 2, "threads": 1}},
        ),
        ("onnx-int8@cores=1", {"variant": "onnx-int8", "settings": {"cores": 1}}),
        ("onnx-fp32@stack=article", {"variant": "onnx-fp32", "stack": "article"}),
        (
            "onnx-fp32@cores=1,stack=article",
            {"variant": "onnx-fp32", "stack": "article", "settings": {"cores": 1}},
        ),
        ("onnx-fp32@stack=reference", {"variant": "onnx-fp32"}),
        (
            "onnx-int8@stack=ray,replicas=2",
            {"variant": "onnx-int8", "stack": "ray", "settings": {"replicas": 2}},
        ),
        ("http://127.0.0.1:8080", {"target": Target("http://127.0.0.1:8080")}),
        ("https://example.org/path/", {"target": Target("https://example.org/path")}),
    ],
)
def test_a_contender_in_a_few_words(text: str, expected: dict[str, Any]) -> None:
    assert parse_contender(text) == Contender(text, **expected)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "names no variant"),
        ("@streams=2", "names no variant"),
        ("a@speed=2", "'speed=2' is none of stack=reference|article|ray, streams=N"),
        ("a@streams", "'streams' is none of"),
        ("a@streams=", "'streams=' is none of"),
        ("a@streams=0", "'streams=0' is none of"),
        ("a@streams=-1", "'streams=-1' is none of"),
        ("a@threads=1.5", "'threads=1.5' is none of"),
        ("a@cores=two", "'cores=two' is none of"),
        ("a@join=1", "'join=1' is none of"),  # it would flatter: a plan alone may say so
        ("a@stack=flask", "'stack=flask' is none of"),
        ("a@stack=target", "'stack=target' is none of"),
        ("a@streams=2;threads=1", "'streams=2;threads=1' is none of"),
        ("a@b@streams=2", "'b@streams=2' is none of"),
        ("a@stack=article,streams=2", "has none of these settings"),
        ("a@threads=2,stack=article", "has none of these settings"),
        ("a@replicas=2", "replicas are for stack=ray"),
        ("a@replicas=2,stack=article", "replicas are for stack=ray"),
    ],
)
def test_what_makes_no_sense_is_named(text: str, part: str) -> None:
    with pytest.raises(UnusableInputError) as caught:
        parse_contender(text)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_contender_has_no_more_cores_than_there_are() -> None:
    assert parse_contender("a@cores=4").settings == {"cores": 4}
    with pytest.raises(UnusableInputError, match="'a@cores=5': there are 4 cores, not 5"):
        parse_contender("a@cores=5")


def test_a_label_tells_revisions_apart() -> None:
    assert Contender("onnx-int8", "onnx-int8").label == "onnx-int8"
    assert Contender("onnx-int8", "onnx-int8", revision="HEAD~3").label == "onnx-int8 (HEAD~3)"


@pytest.mark.parametrize(
    ("text", "streams", "threads"),
    [
        ("a@streams=3", 3, None),
        ("a@threads=3", None, 3),
        ("a@cores=3", None, None),  # the pinned server counts its cores itself
        ("a@cores=3,streams=1", 1, None),
        ("a@cores=3,streams=1,threads=2", 1, 2),
        ("a", None, None),
    ],
)
def test_settings_not_named_are_the_servers(
    text: str, streams: int | None, threads: int | None
) -> None:
    default = Settings(folder=BUILT.folder)
    settings = settings_of(parse_contender(text), BUILT)
    assert settings.folder == BUILT.folder
    assert settings.streams == (default.streams if streams is None else streams)
    assert settings.threads == (default.threads if threads is None else threads)


def test_a_url_is_taken_as_it_is() -> None:
    with opener(parse_contender("http://127.0.0.1:9/"), None, None)() as served:
        assert (served.url, served.pid, served.settings) == ("http://127.0.0.1:9", None, None)


def test_a_revision_serves_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(Revision, "serve", lambda _, *words: asked.append(words))
    revision = Revision("0" * 40, Path("nowhere"), Path("python"), "builtin")
    opener(parse_contender("a@stack=article,cores=1"), None, revision)()
    assert asked == [("a", "article", {"cores": 1})]


@pytest.mark.parametrize(
    ("text", "stack", "cores"),
    [("a@cores=1", "reference", 1), ("a@stack=article", "article", None), ("a", "reference", None)],
)
def test_a_built_variant_is_served_with_its_stack_and_cores(
    monkeypatch: pytest.MonkeyPatch, text: str, stack: str, cores: int | None
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("tiankong.bench.compare.side.serve", lambda *words: asked.append(words))
    contender = parse_contender(text)
    opener(contender, BUILT, None)()
    assert asked == [(stack, settings_of(contender, BUILT), cores)]
