"""Both languages have the same texts and placeholders, and no number is typed into a text."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tiankong.reports.printing import TEMPLATES
from tiankong.reports.text.language import LANGUAGES, read_language

# Names, not figures: percentiles, formats, hit@k, standards.
NAMES = re.compile(r"P50|P90|P95|P99|FP32|FP16|hit@1|hit@5|SHA-256|T4|top-[15]|x86")


def texts(words: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in words.items():
        if isinstance(value, Mapping):
            yield from texts(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def values(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_the_languages_have_the_same_words_with_the_same_values() -> None:
    english = dict(texts(read_language("en").words))
    chinese = dict(texts(read_language("zh").words))
    # English warnings come from the run file; only other languages translate them.
    translated = {key for key in chinese if not key.startswith(("seen.", "advice."))}
    assert translated == set(english)
    assert {key: values(english[key]) for key in english} == {
        key: values(chinese[key]) for key in english
    }


@pytest.mark.parametrize("code", LANGUAGES)
def test_no_figure_is_typed_into_the_words(code: str) -> None:
    for key, text in texts(read_language(code).words):
        plain = NAMES.sub("", re.sub(r"\{\w+\}", "", text))
        assert not re.search(r"\d", plain), key


def test_no_figure_is_typed_into_the_templates() -> None:
    for path in TEMPLATES.glob("*.j2"):
        text = path.read_text(encoding="utf-8")
        visible = re.sub(r"<[^>]*>", "", re.sub(r"\{[%{].*?[%}]\}", "", text))
        assert not re.search(r"\d", visible), path.name
