"""Operators as an engine ran them: the kind of work of each, and its matrix products."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from .workload import BF16, FP16, FP32, INT8, Product, Workload

Shape = tuple[int, ...]

PRODUCTS, ATTENTION, NORMS, GELU = "matrix products", "attention", "norms", "activation function"
QUANTIZE, CASTS, SUMS = "quantize and dequantize", "casts", "sums and scalings"
GATHERS, RANKING, OTHER = "embeddings, gathers, shapes", "softmax and top-k", "other"
GROUPS = (
    PRODUCTS, ATTENTION, NORMS, GELU, QUANTIZE, CASTS, SUMS, GATHERS, RANKING, OTHER,
)  # fmt: skip

PRECISIONS = {
    "float": FP32, "float16": FP16, "bfloat16": BF16, "uint8": INT8, "int8": INT8,
}  # fmt: skip
SIZES = {
    "float": 4, "float16": 2, "bfloat16": 2, "uint8": 1, "int8": 1, "bool": 1, "int16": 2,
    "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8, "double": 8,
}  # fmt: skip
PRODUCT_OPERATORS = {
    "MatMul", "FusedMatMul", "Gemm", "FusedGemm", "MatMulInteger", "MatMulIntegerToFloat",
    "QLinearMatMul", "QGemm", "DynamicQuantizeMatMul", "MatMulNBits", "MatMulBnb4",
}  # fmt: skip
EIGHT_BITS = {"DynamicQuantizeMatMul"}  # float input and output, 8-bit products inside
# The index of the weight among the inputs that are not missing (1 for all other operators).
QUANTIZED_WEIGHT = {"QLinearMatMul": 3, "QGemm": 3}
ATTENTION_OPERATORS = {"Attention", "QAttention"}
DYNAMIC_SCALES = {"DynamicQuantizeLinear", "DynamicQuantizeMatMul"}
KINDS: Mapping[str, Sequence[str]] = {
    PRODUCTS: sorted(PRODUCT_OPERATORS),
    ATTENTION: [
        "Attention", "QAttention", "MultiHeadAttention", "PackedAttention",
        "GroupQueryAttention", "RotaryEmbedding",
    ],
    NORMS: [
        "LayerNormalization", "SkipLayerNormalization", "EmbedLayerNormalization",
        "QEmbedLayerNormalization", "SimplifiedLayerNormalization",
        "SkipSimplifiedLayerNormalization", "ReduceMean",
    ],
    GELU: ["BiasGelu", "Gelu", "FastGelu", "QuickGelu", "Erf", "Tanh", "Relu"],
    QUANTIZE: ["QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"],
    CASTS: ["Cast", "CastLike", "InsertedPrecisionFreeCast"],
    SUMS: ["Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Sum", "Neg", "Where"],
    GATHERS: [
        "Gather", "GatherND", "GatherElements", "ScatterND", "ScatterElements", "Slice", "Concat",
        "Shape", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Flatten", "Split",
        "ConstantOfShape", "NonZero", "Range", "Equal", "Identity", "ReduceSum", "Tile",
    ],
    RANKING: ["Softmax", "LogSoftmax", "TopK", "ArgMax"],
}  # fmt: skip
GROUP_OF = {operator: group for group, names in KINDS.items() for operator in names}
HEADS_RANK = 4  # dimensions (batch, heads, tokens, ...): such tensors occur only inside attention


@dataclass(frozen=True)
class Operator:
    """One operator in one run of a graph.

    ``inputs`` and ``outputs`` are the (type, shape) of those that are not missing; types have ONNX
    Runtime's names.  ``parameter_bytes`` are the bytes of its weights, ``activation_bytes`` those
    of its other inputs, ``ms`` its time.
    """

    name: str
    kind: str
    inputs: Sequence[tuple[str, Shape]]
    outputs: Sequence[tuple[str, Shape]]
    parameter_bytes: int
    activation_bytes: int
    ms: float

    @property
    def output_bytes(self) -> int:
        """Bytes of all outputs."""
        return sum(size(each) for each in self.outputs)

    @property
    def group(self) -> str:
        """The kind of work: one of :data:`GROUPS`."""
        if self.outputs and any(len(shape) == HEADS_RANK for _, shape in self.inputs[:1]):
            return ATTENTION
        return GROUP_OF.get(self.kind, OTHER)

    @property
    def is_cast(self) -> bool:
        """Whether it only converts numbers from one type to another."""
        return GROUP_OF.get(self.kind) == CASTS

    @property
    def is_fp16(self) -> bool:
        """Whether an input or output is in float16."""
        types = [kind for kind, _ in (*self.inputs, *self.outputs)]
        return "float16" in types

    @property
    def weight_type(self) -> str:
        """The type of the weight of a quantized product ("" if it has none)."""
        place = QUANTIZED_WEIGHT.get(self.kind, 1)
        quantized = self.kind in PRODUCT_OPERATORS | ATTENTION_OPERATORS
        if not quantized or len(self.inputs) <= place:
            return ""
        kind = self.inputs[place][0]
        return kind if kind in ("uint8", "int8") else ""

    @property
    def activation_type(self) -> str:
        """The type of the first input ("" if it has none)."""
        return self.inputs[0][0] if self.inputs else ""


def size(tensor: tuple[str, Shape]) -> int:
    """Return the bytes of a (type, shape)."""
    kind, shape = tensor
    return SIZES.get(kind, 4) * prod(shape)


def products(operator: Operator, eight_bits: bool = False) -> list[Product]:
    """Return the matrix products of an operator (empty if it has none).

    ``eight_bits``: products with packed weights (``MatMulNBits``) are computed in 8 bits.
    """
    if operator.kind in PRODUCT_OPERATORS:
        return [_matmul(operator, eight_bits)]
    if operator.kind in ATTENTION_OPERATORS:
        return _attention(operator)
    if operator.kind == "MultiHeadAttention":
        return _inside(operator.inputs[0][1], operator.inputs[1][1], operator.inputs[2][1])
    return []


def _precision(operator: Operator, eight_bits: bool) -> str:
    if operator.kind in EIGHT_BITS or (operator.kind == "MatMulNBits" and eight_bits):
        return INT8
    return PRECISIONS.get(operator.activation_type, FP32)


def _matmul(operator: Operator, eight_bits: bool) -> Product:
    left, output = operator.inputs[0][1], operator.outputs[0][1]
    columns = output[-1] if output else 1
    results = prod(output)
    # The left factor has rows x inner numbers for each product, transposed or not.
    inner = prod(left) * columns // results if results else 0
    # A weight is a constant; without one, both factors are activations.
    constant = operator.parameter_bytes >= inner * columns // 2 > 0
    rows = results // columns if columns else 0
    count = 1
    if not constant and len(output) > 2:
        rows, count = output[-2], prod(output[:-2])
    return Product(
        _precision(operator, eight_bits), rows, inner, columns, count,
        weight_bytes=operator.parameter_bytes if constant else 0, inside=not constant,
    )  # fmt: skip


def _attention(operator: Operator) -> list[Product]:
    hidden, weight = operator.inputs[0][1], operator.inputs[1][1]
    rows, inner = prod(hidden[:-1]), hidden[-1]
    projection = Product(
        _precision(operator, False), rows, inner, weight[-1],
        weight_bytes=operator.parameter_bytes,
    )  # fmt: skip
    projected = (*hidden[:-1], weight[-1] // 3)  # query, key and value have this shape each
    return [projection, *_inside(projected, projected, projected)]


def _inside(query: Shape, key: Shape, value: Shape) -> list[Product]:
    """Return the two products inside attention, over all heads: queries x keys, scores x values.

    They are in float32.  The number of heads does not matter: together they have as many operations
    as a single head of the full width.
    """
    batch, tokens = key[0], key[-2]
    width, columns = prod(key) // (batch * tokens), prod(value) // (batch * tokens)
    queries = prod(query) // (batch * width)
    return [
        Product(FP32, queries, width, tokens, batch, inside=True),
        Product(FP32, queries, tokens, columns, batch, inside=True),
    ]


def workload(
    operators: Iterable[Operator], length: int, batch: int, cache_bytes: int, eight_bits: bool
) -> Workload:
    """Return the workload of one run of a graph: its products and the bytes it moves."""
    run = list(operators)
    tensors = [tensor for each in run for tensor in each.outputs]
    return Workload(
        length,
        batch,
        [product for each in run for product in products(each, eight_bits)],
        activation_bytes=sum(each.activation_bytes + each.output_bytes for each in run),
        large_bytes=sum(size(tensor) for tensor in tensors if size(tensor) > cache_bytes),
    )


@dataclass(frozen=True)
class Group:
    """Operators of one kind in one run: their number, time, and their products' least time."""

    name: str
    operators: int
    ms: float
    floor_ms: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the group as a JSON object."""
        return {
            "group": self.name,
            "operators": self.operators,
            "ms": self.ms,
            "floor_ms": self.floor_ms,
        }


def casts(run: Iterable[Operator]) -> dict[str, int]:
    """Return the number of Casts in one run, by their types (``float to float16``)."""
    counts: dict[str, int] = {}
    for operator in run:
        if operator.is_cast and operator.inputs and operator.outputs:
            name = f"{operator.activation_type} to {operator.outputs[0][0]}"
            counts[name] = counts.get(name, 0) + 1
    return counts


def graph_facts(run: Sequence[Operator]) -> dict[str, int]:
    """Return the facts about a graph for the flags: float16, unsigned weights, dynamic scales."""
    names = casts(run).items()
    return {
        "fp16_operators": sum(each.is_fp16 and not each.is_cast for each in run),
        "fp16_casts": sum(count for name, count in names if "float16" in name.split()),
        "unsigned_weights": sum(each.weight_type == "uint8" for each in run),
        "dynamic_scales": sum(each.kind in DYNAMIC_SCALES for each in run),
    }
