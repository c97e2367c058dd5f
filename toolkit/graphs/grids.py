"""How an activation is put on a grid of 256 values: chosen by the error that its products make.

An activation may be shifted and divided channel by channel before it is quantized, if the weights
that multiply it are changed to match.  A shift lets channels with large averages share a scale
(Wei et al. 2023, "Outlier Suppression+", arXiv:2304.09145); factors move the size of a channel into
the weights (Xiao et al. 2023, "SmoothQuant", arXiv:2211.10438).  Then the range may be cut: few
values are clipped, all others get a finer step.  Every choice is the one with the least error of
the products' results on calibration rows; whatever is constant in it a bias takes away.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UnusableInputError

Floats = NDArray[np.float32]

ALPHAS = (0.3, 0.5, 0.7, 0.85)  # of SmoothQuant: how much of a channel's size the weights take
SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)  # of the range that is kept
OUT_OF_LINE = (4, 2)  # so many times as large as most, a channel may be divided
WORTH = 0.5  # what is left of the error, at most, where channels are divided
ROOM = 2  # a channel is enlarged to half of the largest, or to twice the median weight, at most
OUTPUTS = 256  # so many results of a product are looked at
CLIPPING = 0.7  # what is left of the error, at most, where values are clipped
SMALLEST = 1e-6  # a channel, or a weight's row, of zeros counts as this large
STEPS = 255


@dataclass(frozen=True)
class Observed:
    """An activation on calibration sentences: some rows, and each channel's extremes over all.

    ``count`` is how many rows there were.
    """

    rows: Floats
    low: Floats
    high: Floats
    count: int

    def changed(self, change: Change) -> Observed:
        """Return what is observed after a change of the channels."""
        rows, low, high = (
            (values - change.shift) / change.factors for values in (self.rows, self.low, self.high)
        )
        return Observed(rows, low, high, self.count)


@dataclass(frozen=True)
class Change:
    """A change of channels before quantization, ``(x - shift) / factors``; both are vectors."""

    shift: Floats
    factors: Floats

    @property
    def scales(self) -> bool:
        """Whether any channel is divided."""
        return bool((self.factors != 1).any())


@dataclass(frozen=True)
class Range:
    """What the 256 values of an activation span; whatever lies outside is clipped."""

    low: float
    high: float

    @property
    def scale(self) -> float:
        """The step between two values."""
        return (self.high - self.low) / STEPS

    @property
    def zero(self) -> int:
        """Which of the 256 values is 0."""
        return int(np.clip(np.rint(-self.low / self.scale), 0, STEPS))

    def applied(self, rows: Floats) -> Floats:
        """Return rows as they read after quantization."""
        scale, zero = np.float32(self.scale), self.zero
        values = np.clip(np.rint(rows / scale) + zero, 0, STEPS)
        result: Floats = ((values - zero) * scale).astype(np.float32)
        return result


def rounded(
    weight: Floats, axis: int, importance: Floats | None = None
) -> tuple[NDArray[np.int8], Floats]:
    """Return a weight as int8 and its scales, one for each index along ``axis``.

    With the ``importance`` of the other axis's channels (their mean squares), large weights of
    unimportant channels may be clipped, where the others then lose less.
    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    largest = np.maximum(np.abs(weight).max(axis=others), np.finfo(np.float32).tiny)
    best = (largest / 127).astype(np.float32)
    if importance is not None:
        along = importance.reshape([1 if i == axis else -1 for i in range(weight.ndim)])
        least = np.full(best.shape, np.inf)
        for share in SHARES:
            scale = (largest * share / 127).astype(np.float32)
            wide = scale.reshape(shape)
            off = weight - np.clip(np.rint(weight / wide), -127, 127) * wide
            error = (off * off * along).sum(axis=others)
            best = np.where(error < least, scale, best)
            least = np.minimum(error, least)
    values = np.clip(np.rint(weight / best.reshape(shape)), -127, 127).astype(np.int8)
    return values, best


def dequantized(weight: Floats) -> Floats:
    """Return a weight (inputs, outputs) as it reads after quantization."""
    values, scale = rounded(weight, axis=1)
    result: Floats = values * scale
    return result


def whole(name: str, seen: Observed) -> Range:
    """Return the range with all values seen; raise UnusableInputError if it is none."""
    low, high = min(float(seen.low.min()), 0.0), max(float(seen.high.max()), 0.0)
    if not np.isfinite(high - low) or high <= low:
        raise UnusableInputError(f"activation {name} has the range {low} to {high}")
    return Range(low, high)


def noise(rows: Floats, weight: Floats, span: Range, rounded_weight: Floats) -> float:
    """Return the error of a product in 8 bits as a share of its result's variance."""
    exact = rows @ weight
    off = exact - span.applied(rows) @ rounded_weight
    signal = float(np.square(exact - exact.mean(0)).sum())
    return float(np.square(off - off.mean(0)).sum()) / max(signal, SMALLEST)


def chosen_range(name: str, seen: Observed, weight: Floats) -> tuple[Range, float]:
    """Return the range with the least error of a product, and that error (see :func:`noise`)."""
    weight = _some(weight)
    rounded_weight = dequantized(weight)
    full = whole(name, seen)
    best, least = full, noise(seen.rows, weight, full, rounded_weight)
    for cut in (_both, _low, _high):
        base = best
        for share in SHARES[1:]:
            trial = cut(base, share)
            if trial.high <= trial.low:
                continue
            error = noise(seen.rows, weight, trial, rounded_weight)
            if error < CLIPPING * least:
                best, least = trial, error
    return best, least


def _both(span: Range, share: float) -> Range:
    return Range(span.low * share, span.high * share)


def _low(span: Range, share: float) -> Range:
    return Range(span.low * share, span.high)


def _high(span: Range, share: float) -> Range:
    return Range(span.low, span.high * share)


def unchanged(seen: Observed) -> Change:
    """Return the change that changes nothing."""
    channels = seen.rows.shape[1]
    return Change(np.zeros(channels, np.float32), np.ones(channels, np.float32))


def centred(seen: Observed) -> Change:
    """Return the change that puts the middle of every channel's range at zero."""
    return Change(((seen.low + seen.high) / 2).astype(np.float32), unchanged(seen).factors)


def divided(seen: Observed, weight: Floats, before: Change) -> Iterator[Change]:
    """Yield changes with factors, for every alpha and limit.

    Only channels far out of line are divided.  To even out the others would be to trust that each
    is as small in sentences unseen; seen with builtin-small, that doubles the divergence.
    """
    moved = seen.changed(before)
    size = np.maximum(np.maximum(np.abs(moved.low), np.abs(moved.high)), SMALLEST)
    reading = np.maximum(np.abs(weight).max(axis=1), SMALLEST)
    for alpha, limit in itertools.product(ALPHAS, OUT_OF_LINE):
        factors = size**alpha / reading ** (1 - alpha)
        factors = np.maximum(factors / np.median(factors) / limit, 1)
        yield Change(before.shift, factors.astype(np.float32))


def balanced(seen: Observed, weight: Floats, before: Change) -> Change:
    """Return a change that enlarges channels whose weights are out of line, if there is room.

    In a decoder that is the embedding too, all tokens may have one large number in common, and
    their scales then have no room for what tells them apart.
    """
    moved = seen.changed(before)
    size = np.maximum(np.maximum(np.abs(moved.low), np.abs(moved.high)), SMALLEST)
    reading = np.maximum(np.sqrt(np.square(weight).mean(axis=1)), SMALLEST)
    wanted = np.minimum(ROOM * np.median(reading) / reading, 1)
    factors = np.maximum(wanted, np.minimum(ROOM * size / size.max(), 1))
    return Change(before.shift, factors.astype(np.float32))


def error_of(name: str, seen: Observed, weight: Floats, change: Change) -> float:
    """Return the error of a product after a change, with the whole range (see :func:`noise`)."""
    changed = seen.changed(change)
    moved = (_some(weight) * change.factors[:, None]).astype(np.float32)
    return noise(changed.rows, moved, whole(name, changed), dequantized(moved))


def best_change(name: str, seen: Observed, weight: Floats, changes: Sequence[Change]) -> Change:
    """Return the change after which a product errs least."""
    errors = [error_of(name, seen, weight, change) for change in changes]
    return changes[int(np.argmin(errors))]


def divided_if_worth(
    name: str, seen: Observed, weight: Floats, before: Change, loud: float = 0.0
) -> Change:
    """Return the best change with factors if it halves the error, which is above ``loud``."""
    error = error_of(name, seen, weight, before)
    if error < loud:
        return before
    best = best_change(name, seen, weight, list(divided(seen, weight, before)))
    return best if error_of(name, seen, weight, best) <= WORTH * error else before


def _some(weight: Floats) -> Floats:
    """Return a weight's columns, evenly taken if there are many."""
    return weight[:, :: max(1, weight.shape[1] // OUTPUTS)]
