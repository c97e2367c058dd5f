"""Texts that a user writes are read with a byte order mark before them; UTF-16 is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tiankong.bench.sweep.plan import FOLDER as PLANS
from tiankong.bench.sweep.plan import read_plan
from tiankong.reports.facts.prices import PRICES, read_prices
from tiankong.server.http.api_keys import read_keys
from tiankong.toolkit.building.recipes import FOLDER as RECIPES
from tiankong.toolkit.building.recipes import read_recipe
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.files import read_json
from tiankong.toolkit.gate.gold import HELDOUT, read_gold

TEXTS: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "plan": ("smoke.toml", (PLANS / "smoke.toml").read_text("utf-8"), lambda p: read_plan(str(p))),
    "prices": ("prices.toml", PRICES.read_text("utf-8"), read_prices),
    "recipe": ("onnx-fp32.toml", (RECIPES / "onnx-fp32.toml").read_text("utf-8"), read_recipe),
    "keys": ("keys", "correct-horse-battery\n", read_keys),
    "gold": ("gold.jsonl", HELDOUT.read_text("utf-8"), lambda p: read_gold(p).items),
    "JSON": ("config.json", '{"model_type": "bert"}', read_json),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_byte_order_mark_changes_nothing(kind: str, tmp_path: Path) -> None:
    name, text, read = TEXTS[kind]
    for folder, encoding in (("plain", "utf-8"), ("marked", "utf-8-sig")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text, encoding=encoding)
    assert read(tmp_path / "marked" / name) == read(tmp_path / "plain" / name)


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-16", "gb18030"])
def test_another_encoding_is_named(kind: str, encoding: str, tmp_path: Path) -> None:
    name, text, read = TEXTS[kind]
    path = tmp_path / name
    path.write_bytes(f"{text}# 别的编码\n".encode(encoding))
    with pytest.raises(UnusableInputError, match="save it as UTF-8") as caught:
        read(path)
    assert path.name in str(caught.value)
    assert ("UTF-16" in str(caught.value)) == (encoding == "utf-16")
