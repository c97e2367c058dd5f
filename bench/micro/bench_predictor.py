"""The whole predictor of each variant: gold sentences in, ranked tokens out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tiankong.bench.micro.ratios import BASELINE

if TYPE_CHECKING:
    from tiankong.bench.micro.conftest import OpenVariants


def test_predictor(
    bench: OpenVariants, paired: Callable[..., None], variant: str, batch: int
) -> None:
    """A batch of sentences of mixed lengths: tokenization, padding, engine, ranking."""
    texts = bench.mixed(batch)
    predictor, baseline = bench.predictor(variant), bench.predictor(BASELINE)
    call, baseline_call = (lambda: predictor.predict(texts)), (lambda: baseline.predict(texts))
    paired(call, baseline_call, "predictor", variant, batch, None)
