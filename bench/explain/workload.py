"""What a variant computes: its matrix products and bytes, and the least time that they can take.

A multiplication with its addition counts as two operations.  Only matrix products are counted:
everything else is either small beside them, or overhead that an explanation has to show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

FP32, BF16, FP16, INT8 = "fp32", "bf16", "fp16", "int8"
OPERATIONS_A_PAIR = 2
BYTES = {FP32: 4, BF16: 2, FP16: 2, INT8: 1}
COMPUTE, MEMORY = "compute", "memory"


@dataclass(frozen=True)
class Product:
    """Matrix products: ``count`` independent ones of (rows x inner) times (inner x columns).

    ``inside``: both factors are activations (the two products inside attention).
    """

    precision: str
    rows: int
    inner: int
    columns: int
    count: int = 1
    weight_bytes: int = 0
    inside: bool = False

    @property
    def operations(self) -> int:
        """The number of multiplications and additions."""
        return OPERATIONS_A_PAIR * self.count * self.rows * self.inner * self.columns


@dataclass(frozen=True)
class Workload:
    """One call of an engine: ``batch`` sentences of ``length`` tokens, one [MASK] in each.

    ``activation_bytes`` are read and written by all operators together; ``large_bytes`` are those
    of output tensors larger than the cache, which have to go through memory.
    """

    length: int
    batch: int
    products: Sequence[Product]
    activation_bytes: int = 0
    large_bytes: int = 0

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights in products; each is read once in a call."""
        return sum(product.weight_bytes for product in self.products)

    def operations(self) -> dict[str, int]:
        """Return the operations of one call by precision."""
        counts: dict[str, int] = {}
        for product in self.products:
            counts[product.precision] = counts.get(product.precision, 0) + product.operations
        return counts


@dataclass(frozen=True)
class Floor:
    """The least time of one call in milliseconds, limited by computing or by memory."""

    compute_ms: float
    memory_ms: float

    @property
    def ms(self) -> float:
        """The larger of both times, because computing and reading memory can overlap."""
        return max(self.compute_ms, self.memory_ms)

    @property
    def bound(self) -> str:
        """What limits the time: ``compute`` or ``memory``."""
        return COMPUTE if self.compute_ms >= self.memory_ms else MEMORY

    def as_json(self) -> dict[str, Any]:
        """Return the floor as a JSON object."""
        return {"ms": self.ms, **asdict(self), "bound": self.bound}


def compute_ms(products: Sequence[Product], giga: Mapping[str, float]) -> float:
    """Return the time of products at the ceilings of their precisions (10^9 operations a second).

    For a precision without a ceiling that of float32 is used: a machine without instructions for
    the precision computes in float32.
    """
    return sum(p.operations / giga.get(p.precision, giga[FP32]) / 1e6 for p in products)


def floor(
    work: Workload, giga: Mapping[str, float], gigabytes: float, cache_bytes: int, calls: int = 1
) -> Floor:
    """Return the least time of a call if ``calls`` equal calls run at once.

    ``giga`` and ``gigabytes`` (a second) are the ceilings of all cores in use together.  Method:
    the roofline of Williams, Waterman and Patterson, 2009, with a ceiling for each precision.
    """
    # Calls at once can share the weights that one of them has read, so these count once.
    fetched = max(0, work.weight_bytes - cache_bytes) / calls + work.large_bytes
    return Floor(compute_ms(work.products, giga), fetched / gigabytes / 1e6)


def of_bert(
    config: Mapping[str, Any], length: int, batch: int, precision: str, at_mask: bool = False
) -> list[Product]:
    """Return the products of a BERT with a masked-LM head, from the sizes in config.json.

    With ``at_mask`` the head is computed only at the [MASK] (one in each sentence).  This is for
    engines whose graph cannot be inspected.
    """
    hidden, wide = int(config["hidden_size"]), int(config["intermediate_size"])
    heads, rows = int(config["num_attention_heads"]), batch * length
    head_rows = batch if at_mask else rows

    def dense(rows: int, inner: int, columns: int) -> Product:
        stored = inner * columns * BYTES[precision]
        return Product(precision, rows, inner, columns, weight_bytes=stored)

    layer = [
        *[dense(rows, hidden, hidden)] * 4,
        Product(precision, length, hidden // heads, length, batch * heads, inside=True),
        Product(precision, length, length, hidden // heads, batch * heads, inside=True),
        dense(rows, hidden, wide),
        dense(rows, wide, hidden),
    ]
    head = [dense(head_rows, hidden, hidden), dense(head_rows, hidden, int(config["vocab_size"]))]
    return layer * int(config["num_hidden_layers"]) + head
