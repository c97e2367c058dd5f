"""Tokenization alone: sentences in, a batch of ids out (the same for every variant)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tiankong.bench.micro.ratios import BASELINE

if TYPE_CHECKING:
    from tiankong.bench.micro.conftest import OpenVariants


def test_tokenization(bench: OpenVariants, benchmark: Any, batch: int, length: int) -> None:
    """Sentences of one length, encoded and put into one batch."""
    encoder, texts = bench.predictor(BASELINE).encoder, bench.sentences(length, batch)
    benchmark.group = "tokenization"
    benchmark.extra_info.update(what="tokenization", batch=batch, length=length)
    encoded = benchmark(lambda: encoder.batch([encoder.encode(text) for text in texts]))
    assert encoded.input_ids.shape == (batch, length)
