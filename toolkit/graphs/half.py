"""Whether weights fit 16-bit floats: one too large would become infinite, or be clipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import UnusableInputError

if TYPE_CHECKING:
    from torch import nn

LARGEST_HALF = float(np.finfo(np.float16).max)
SMALLEST_HALF = float(np.finfo(np.float16).smallest_subnormal)
INFINITE_HALF = LARGEST_HALF + 16  # from here on the nearest float16 is infinite


def require_fits_half(name: str, weight: NDArray[np.float32]) -> None:
    """Raise UnusableInputError, naming the weight, if float16 cannot hold all its values.

    Values that are too small become zero or lose digits; whether that matters is the gate's to see.
    """
    peak = float(np.abs(weight).max(initial=0.0))
    if peak >= INFINITE_HALF:
        raise _too_large(name, "float16", peak, LARGEST_HALF)


def require_rounded(network: nn.Module, rounded: nn.Module, kind: str, largest: float) -> None:
    """Raise UnusableInputError if a finite weight became infinite when a network was rounded.

    ``kind`` names the type it was rounded to, ``largest`` is the largest value of that type.
    """
    before = dict(network.state_dict())
    for name, weight in rounded.state_dict().items():
        peak = float(before[name].abs().max()) if weight.numel() else 0.0
        if weight.is_floating_point() and weight.isinf().any() and np.isfinite(peak):
            raise _too_large(name, kind, peak, largest)


def _too_large(name: str, kind: str, peak: float, largest: float) -> UnusableInputError:
    return UnusableInputError(
        f"weight {name} is too large for {kind}: {peak:.6g}, the most is {largest:.6g}"
    )
