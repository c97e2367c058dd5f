"""One call of each variant's engine: token ids in, the best tokens' ids and scores out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tiankong.bench.micro.ratios import BASELINE
from tiankong.toolkit.engines.outputs import TOP

if TYPE_CHECKING:
    from tiankong.bench.micro.conftest import OpenVariants


def test_engine(
    bench: OpenVariants, paired: Callable[..., None], variant: str, batch: int, length: int
) -> None:
    """A batch of sentences of one length."""
    texts = bench.sentences(length, batch)

    def call(name: str) -> Callable[[], Any]:
        predictor = bench.predictor(name)
        token_ids = predictor.encoder.batch([predictor.encoder.encode(text) for text in texts])
        return lambda: predictor.engine.best(token_ids, TOP)

    paired(call(variant), call(BASELINE), "engine", variant, batch, length)
