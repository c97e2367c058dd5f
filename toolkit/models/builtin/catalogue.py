"""The built-in models: the small one, and the larger ones that are made from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import UnusableInputError
from ...files import package_path, require_memory, sha256
from ..checkpoints import load_network
from ..info import BYTES_A_PARAMETER, Geometry, LoadedModel, ModelInfo
from . import vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BUILTIN, BUILTIN_6LAYER, BUILTIN_SMALL = "builtin", "builtin-6layer", "builtin-small"
BUILTIN_WEIGHTS = package_path("toolkit/models/builtin/model.safetensors")

CAVEAT = (
    "The built-in model, grown from a small one to the geometry of {of}; its weights"
    " are not {whose}. Speed, memory and cost are those of the geometry. {idle} of its"
    " {layers} layers cancel out, so rounding errors pile up less than in a trained {number}-layer"
    " network: the fidelity of FP16 and INT8 is only indicative of {of}."
)
SMALL_CAVEAT = (
    "The built-in small model, for trying things out: its speed, memory and cost are not"
    " bert-base-chinese's."
)


def small_geometry() -> Geometry:
    """Return the built-in small model's geometry (as ``train.py`` trains it)."""
    return Geometry(4, 256, 4, 1024, len(vocabulary.tokens()), 512)


@dataclass(frozen=True)
class Grown:
    """A larger model made from the small one; it computes the same function."""

    name: str
    title: str
    geometry: Geometry
    caveat: str


GROWN = Geometry(12, 768, 12, 3072, 21128, 512)
SIX_LAYERS = Geometry(6, 768, 12, 3072, 21128, 512)
MODELS = {
    grown.name: grown
    for grown in (
        Grown(
            BUILTIN,
            "built-in model, grown to the geometry of bert-base-chinese",
            GROWN,
            CAVEAT.format(
                of="bert-base-chinese", whose="bert-base-chinese's",
                idle="Eight", layers="twelve", number=12,
            ),
        ),
        Grown(
            BUILTIN_6LAYER,
            "built-in model, grown to 6 layers of bert-base-chinese's width",
            SIX_LAYERS,
            CAVEAT.format(
                of="a 6-layer BERT of bert-base's width, as DistilBERT has it",
                whose="those of a distilled model", idle="Two", layers="six", number=6,
            ),
        ),
    )
}  # fmt: skip
NAMES = (*MODELS, BUILTIN_SMALL)


def infos() -> list[ModelInfo]:
    """Return the built-in models' descriptions; without the weights their revision is empty."""
    revision = sha256(BUILTIN_WEIGHTS) if BUILTIN_WEIGHTS.is_file() else ""
    return [*(_grown_info(grown, revision) for grown in MODELS.values()), _small_info(revision)]


def load(name: str) -> LoadedModel:
    """Load a built-in model by name; raise UnusableInputError if its weights are not installed."""
    return _load_grown(MODELS[name]) if name in MODELS else _load_small()


def _grown_info(grown: Grown, revision: str) -> ModelInfo:
    words = {"name": grown.name, "title": grown.title, "source": "builtin"}
    return ModelInfo.of(grown.geometry, **words, revision=revision, caveat=grown.caveat)


def _small_info(revision: str) -> ModelInfo:
    words = {"name": BUILTIN_SMALL, "title": "built-in small model", "source": "builtin"}
    return ModelInfo.of(small_geometry(), **words, revision=revision, caveat=SMALL_CAVEAT)


def config_of(name: str) -> dict[str, Any]:
    """Return a built-in model's configuration without loading it."""
    geometry = MODELS[name].geometry if name in MODELS else small_geometry()
    return {
        "architectures": ["BertForMaskedLM"],
        "model_type": "bert",
        "vocab_size": geometry.vocabulary,
        "hidden_size": geometry.hidden,
        "num_hidden_layers": geometry.layers,
        "num_attention_heads": geometry.heads,
        "intermediate_size": geometry.intermediate,
        "max_position_embeddings": geometry.positions,
        "type_vocab_size": geometry.segments,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "pad_token_id": 0,
    }


def _load_small() -> LoadedModel:
    if not BUILTIN_WEIGHTS.is_file():
        raise UnusableInputError(
            f"the built-in model's weights ({BUILTIN_WEIGHTS}) are not installed: install tiankong"
            " again, or train them with 'python -m tiankong.toolkit.models.builtin.train'"
        )
    network = load_network(config_of(BUILTIN_SMALL), [BUILTIN_WEIGHTS])
    info = _small_info(sha256(BUILTIN_WEIGHTS))
    return LoadedModel(info, network, vocabulary.tokenizer(), _full_config(network))


def _load_grown(grown: Grown) -> LoadedModel:
    from .grow import grow

    sizes = grown.geometry
    need = 2 * sizes.parameters * BYTES_A_PARAMETER
    require_memory(need, "growing the built-in model")
    small = _load_small()
    network = grow(small.network, sizes.layers, sizes.hidden, sizes.vocabulary)
    network.train(False)
    info = _grown_info(grown, small.info.revision)
    tokenizer = vocabulary.tokenizer(sizes.vocabulary)
    return LoadedModel(info, network, tokenizer, _full_config(network))


def _full_config(network: PreTrainedModel) -> dict[str, Any]:
    """Return a network's configuration with every default written out."""
    config: dict[str, Any] = json.loads(network.config.to_json_string(use_diff=False))
    config.pop("_name_or_path", None)
    return {**config, "architectures": ["BertForMaskedLM"], "model_type": "bert"}
