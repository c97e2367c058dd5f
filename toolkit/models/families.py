"""Families of masked language models: how each names its sizes and weights, and its usual sizes.

There are four: BERT (a Chinese RoBERTa-wwm is one), DistilBERT, ALBERT and ELECTRA (its generator;
the discriminator predicts no tokens).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import UnusableInputError
from .info import Geometry

SIZES = (
    "layers", "hidden", "heads", "intermediate", "vocabulary", "positions", "segments",
    "embedding", "groups", "members",
)  # fmt: skip
KEYS = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "intermediate": "intermediate_size",
    "vocabulary": "vocab_size",
    "positions": "max_position_embeddings",
    "segments": "type_vocab_size",
    "embedding": "embedding_size",
    "groups": "num_hidden_groups",
    "members": "inner_group_num",
    "activation": "hidden_act",
}
GELU = {
    **dict.fromkeys(("gelu", "gelu_python", "gelu_10"), "BiasGelu"),
    **dict.fromkeys(
        ("gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh"),
        "FastGelu",
    ),
}
"""Activations, and the fused operator for each with the bias before it."""
NOT_IN_ONNX = {"xielu"}


@dataclass(frozen=True)
class Family:
    """The names that models of one ``model_type`` use in config.json and for their weights.

    ``architectures`` are the classes whose files have a masked-LM head, the usual one first.
    ``base``, ``head`` and ``spare`` are prefixes of weight names: of the encoder, of the head, and
    of weights that a file may have but a fill-mask model does not use.  ``sign`` is a tensor of the
    head that only this family has.  ``decoder_bias`` is a
    second name of ``head_bias``, if the family has one.  ``defaults`` are the sizes for what
    config.json leaves out; a size without a default does not exist in this family.
    """

    kind: str
    title: str
    architectures: tuple[str, ...]
    configuration: str
    base: str
    head: tuple[str, ...]
    sign: str
    spare: tuple[str, ...]
    decoder: str
    head_bias: str
    decoder_bias: str | None
    defaults: Mapping[str, int]
    names: Mapping[str, str] = field(default_factory=dict)
    usual_activation: str = "gelu"
    head_activation: str | None = None

    @property
    def embeddings(self) -> str:
        """The name of the matrix of token embeddings."""
        return f"{self.base}embeddings.word_embeddings.weight"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs of the network and of its ONNX graph."""
        types = ("token_type_ids",) if "segments" in self.defaults else ()
        return ("input_ids", "attention_mask", *types)

    def key(self, size: str) -> str:
        """Return the key in config.json of a size or of the activation."""
        return self.names.get(size, KEYS[size])

    def activation(self, config: Mapping[str, Any]) -> str:
        """Return the name of the activation in the feed-forward part of a layer."""
        return str(config.get(self.key("activation"), self.usual_activation))

    def fusions(self, config: Mapping[str, Any]) -> dict[str, int]:
        """Return how often each operator must occur in the fused graph.

        There is one activation in each layer and one in the head; only GELUs are fused.
        """
        layers = geometry(config).layers
        inside = self.activation(config)
        counts = {"Attention": layers, "SkipLayerNormalization": 2 * layers}
        for activation, count in ((inside, layers), (self.head_activation or inside, 1)):
            if operator := GELU.get(activation):
                counts[operator] = counts.get(operator, 0) + count
        return counts


BERT_SIZES = {
    "layers": 12, "hidden": 768, "heads": 12, "intermediate": 3072, "vocabulary": 30522,
    "positions": 512, "segments": 2,
}  # fmt: skip

FAMILIES = {
    family.kind: family
    for family in (
        Family(
            kind="bert",
            title="BERT",
            architectures=("BertForMaskedLM", "BertForPreTraining"),
            configuration="BertConfig",
            base="bert.",
            head=("cls.predictions.",),
            sign="cls.predictions.transform.dense.weight",
            spare=("cls.seq_relationship.", "bert.pooler."),
            decoder="cls.predictions.decoder.weight",
            head_bias="cls.predictions.bias",
            decoder_bias="cls.predictions.decoder.bias",
            defaults=BERT_SIZES,
        ),
        Family(
            kind="distilbert",
            title="DistilBERT",
            architectures=("DistilBertForMaskedLM",),
            configuration="DistilBertConfig",
            base="distilbert.",
            head=("vocab_transform.", "vocab_layer_norm.", "vocab_projector."),
            sign="vocab_transform.weight",
            spare=(),
            decoder="vocab_projector.weight",
            head_bias="vocab_projector.bias",
            decoder_bias=None,
            defaults={k: v for k, v in BERT_SIZES.items() if k != "segments"} | {"layers": 6},
            names={
                "layers": "n_layers", "hidden": "dim", "heads": "n_heads",
                "intermediate": "hidden_dim", "activation": "activation",
            },
        ),
        Family(
            kind="albert",
            title="ALBERT",
            architectures=("AlbertForMaskedLM", "AlbertForPreTraining"),
            configuration="AlbertConfig",
            base="albert.",
            head=("predictions.",),
            sign="predictions.dense.weight",
            spare=("sop_classifier.", "albert.pooler"),
            decoder="predictions.decoder.weight",
            head_bias="predictions.bias",
            decoder_bias="predictions.decoder.bias",
            defaults={
                **BERT_SIZES, "hidden": 4096, "heads": 64, "intermediate": 16384,
                "vocabulary": 30000, "embedding": 128, "groups": 1, "members": 1,
            },
            usual_activation="gelu_new",
        ),
        Family(
            kind="electra",
            title="ELECTRA",
            architectures=("ElectraForMaskedLM",),
            configuration="ElectraConfig",
            base="electra.",
            head=("generator_predictions.", "generator_lm_head."),
            sign="generator_predictions.dense.weight",
            spare=(),
            decoder="generator_lm_head.weight",
            head_bias="generator_lm_head.bias",
            decoder_bias=None,
            defaults={
                **BERT_SIZES, "hidden": 256, "heads": 4, "intermediate": 1024, "embedding": 128,
            },
            head_activation="gelu",
        ),
    )
}  # fmt: skip


KNOWN = (
    "BERT (a Chinese RoBERTa-wwm is one), DistilBERT, ALBERT or ELECTRA"
    f" (model_type {', '.join(FAMILIES)})"
)


def family(config: Mapping[str, Any], where: str = "config.json") -> Family:
    """Return a configuration's family; raise UnusableInputError if it is not one of the four."""
    kind = config.get("model_type")
    if isinstance(kind, str) and kind in FAMILIES:
        return FAMILIES[kind]
    raise UnusableInputError(f"{where} says model_type {kind!r}: name a {KNOWN}")


def geometry(config: Mapping[str, Any], where: str = "config.json") -> Geometry:
    """Return a configuration's geometry; for sizes it leaves out, the family's defaults.

    Raises UnusableInputError if a size is not a positive whole number, or if the hidden size is
    no multiple of the heads.
    """
    model_family = family(config, where)

    def size(name: str) -> int:
        key = model_family.key(name)
        value = config.get(key, config.get(KEYS[name], model_family.defaults[name]))
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UnusableInputError(f"{where}: {key} is {value!r}, not a positive whole number")
        return value

    sizes = {name: size(name) for name in SIZES if name in model_family.defaults}
    groups, members = sizes.pop("groups", 0), sizes.pop("members", 1)
    sizes["layers"] *= members  # ALBERT runs all members of a group where others run one layer
    sizes = {"segments": 0, "embedding": sizes["hidden"], **sizes}
    result = Geometry(
        **sizes,
        tied=config.get("tie_word_embeddings", True) is not False,
        stored_layers=groups * members,
        projected=groups > 0 or sizes["embedding"] != sizes["hidden"],
    )
    if result.hidden % result.heads:
        raise UnusableInputError(
            f"{where}: {model_family.key('hidden')} {result.hidden} is no multiple of"
            f" {model_family.key('heads')} {result.heads}"
        )
    return result
