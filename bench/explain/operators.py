"""Operators as an engine ran them: what kind of work each is, and what products it multiplies."""

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
EIGHT_BITS = {"DynamicQuantizeMatMul"}  # float in, float out, 8-bit inside
# Where the weight stands among the inputs that are not missing.
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
HEADS_RANK = 4  # (batch, heads, tokens, ...): such tensors occur only inside attention


@dataclass(frozen=True)
class Operator:
    """One operator of one run of a graph.

    ``inputs`` and ``outputs`` are (type, shape) of those that are not missing, types named as ONNX
    Runtime names them; ``parameter_bytes`` are those of its weights, ``activation_bytes`` those of
    its other inputs.  ``ms`` is how long it ran.
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
        """What kind of work this is: one of :data:`GROUPS`."""
        if self.outputs and any(len(shape) == HEADS_RANK for _, shape in self.inputs[:1]):
            return ATTENTION
        return GROUP_OF.get(self.kind, OTHER)

    @property
    def is_cast(self) -> bool:
        """Whether it turns one type of number into another and does nothing else."""
        return GROUP_OF.get(self.kind) == CASTS

    @property
    def is_fp16(self) -> bool:
        """Whether it takes or gives activations in float16."""
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
    """Return what an operator multiplies; nothing for one that multiplies no matrices.

    ``eight_bits`` says that products with packed weights (``MatMulNBits``) are computed in 8 bits.
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
    # Transposed or not, the left factor has rows x inner numbers for each product.
    inner = prod(left) * columns // results if results else 0
    # A weight is a constant; without one both factors were computed.
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
    given, weight = operator.inputs[0][1], operator.inputs[1][1]
    rows, inner = prod(given[:-1]), given[-1]
    projection = Product(
        _precision(operator, False), rows, inner, weight[-1],
        weight_bytes=operator.parameter_bytes,
    )  # fmt: skip
    width = weight[-1] // 3
    return [projection, *_inside((*given[:-1], width), (*given[:-1], width), (*given[:-1], width))]


def _inside(query: Shape, key: Shape, value: Shape) -> list[Product]:
    """Return queries times keys, and what comes out times values, over all heads (float32).

    Heads do not matter: all together multiply as much as one of the whole width.
    """
    batch, tokens = key[0], key[-2]
    width, columns = prod(key) // (batch * tokens), prod(value) // (batch * tokens)
    asked = prod(query) // (batch * width)
    return [
        Product(FP32, asked, width, tokens, batch, inside=True),
        Product(FP32, asked, tokens, columns, batch, inside=True),
    ]


def workload(
    operators: Iterable[Operator], length: int, batch: int, cache_bytes: int, eight_bits: bool
) -> Workload:
    """Return what one run of a graph computes and moves."""
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
    """Operators of one kind in one run: how many, how long, and their products' floor."""

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
    """Return how many Casts one run makes, by what they turn into what (``float to float16``)."""
    found: dict[str, int] = {}
    for each in run:
        if each.is_cast and each.inputs and each.outputs:
            name = f"{each.activation_type} to {each.outputs[0][0]}"
            found[name] = found.get(name, 0) + 1
    return found


def graph_facts(run: Sequence[Operator]) -> dict[str, int]:
    """Return what flags are told from: float16, unsigned weights, scales taken at run time."""
    names = casts(run).items()
    return {
        "fp16_operators": sum(each.is_fp16 and not each.is_cast for each in run),
        "fp16_casts": sum(count for name, count in names if "float16" in name.split()),
        "unsigned_weights": sum(each.weight_type == "uint8" for each in run),
        "dynamic_scales": sum(each.kind in DYNAMIC_SCALES for each in run),
    }
