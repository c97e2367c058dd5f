"""Both languages have the same texts and placeholders, and no number is typed into a text."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tiankong.reports.facts.prices import read_prices
from tiankong.reports.printing import TEMPLATES
from tiankong.reports.text.language import LANGUAGES, read_language
from tiankong.toolkit.building.recipes import read_recipes
from tiankong.toolkit.models.builtin.catalogue import infos

# Names, not figures: percentiles, formats, hit@k, standards, an option with its value.
NAMES = re.compile(r"P50|P90|P95|P99|FP32|FP16|hit@1|hit@5|SHA-256|T4|top-[15]|x86|--processes 2")


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
    # The texts of the project's own data are English where they stand.
    of_data = ("seen.", "advice.", "known.")
    translated = {key for key in chinese if not key.startswith(of_data)}
    assert translated == set(english)
    assert {key: values(english[key]) for key in english} == {
        key: values(chinese[key]) for key in english
    }


@pytest.mark.parametrize("code", LANGUAGES)
def test_no_figure_is_typed_into_the_words(code: str) -> None:
    for key, text in texts(read_language(code).words):
        if key.startswith("known."):
            continue  # another test holds its figures to those of the original
        plain = NAMES.sub("", re.sub(r"\{\w+\}", "", text))
        assert not re.search(r"\d", plain), key


def test_no_figure_is_typed_into_the_templates() -> None:
    for path in TEMPLATES.glob("*.j2"):
        text = path.read_text(encoding="utf-8")
        visible = re.sub(r"<[^>]*>", "", re.sub(r"\{[%{].*?[%}]\}", "", text))
        assert not re.search(r"\d", visible), path.name


def texts_of_data() -> Iterator[str]:
    """The English texts that the project's own data bring onto a page."""
    for info in infos():
        yield from (info.title, info.caveat)
    for recipe in read_recipes():
        yield recipe.summary
    for price in read_prices():
        yield from (price.cloud, price.type, price.source.title, price.source.note or "")
        yield price.currency


def test_what_the_projects_data_say_is_said_in_chinese_too() -> None:
    chinese = read_language("zh")
    names = re.compile(r"AWS|GCP|Azure|github\.com/.*|[\w.-]*\d[\w.-]*|")
    for text in texts_of_data():
        said = chinese.known(text)
        assert names.fullmatch(text) or re.search(r"[\u4e00-\u9fff]", said), text


def test_translations_of_data_have_the_same_figures() -> None:
    known = read_language("zh").words["known"]
    for original, said in known.items():
        assert set(re.findall(r"\d+", original)) == set(re.findall(r"\d+", said)), original
