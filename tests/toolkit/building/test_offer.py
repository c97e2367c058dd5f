"""The options that bring a file, together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tiankong.toolkit.building.offer import Offer, read_offer, read_promised_offer
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.errors import UnusableInputError

if TYPE_CHECKING:
    pass


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    assert read_offer(None, None) is None
    assert read_promised_offer(None, None, "builtin", "", None) is None
    assert read_offer(tmp_path, tmp_path) == Offer(tmp_path, tmp_path, None)
    for options, message in (
        ((tmp_path, None, "", "", None), "go together"),
        ((None, tmp_path, "", "", None), "go together"),
        ((tmp_path, tmp_path, "", "onnx-int8", None), "--promise compares"),
        ((None, None, "builtin", "", 0.9), "go with --onnx"),
        ((tmp_path, tmp_path, "builtin", "onnx-none", None), "unknown variant"),
    ):
        with pytest.raises(UnusableInputError, match=message):
            read_promised_offer(*options)
    with pytest.raises(UnusableInputError, match="--variants with --onnx"):
        Store("", offer=Offer(tmp_path, tmp_path)).get(["onnx-int8"])
