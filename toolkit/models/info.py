"""Records of a model: its geometry, its description, and the loaded model itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

BYTES_A_PARAMETER = 4  # float32


@dataclass(frozen=True)
class Geometry:
    """The sizes that determine the weights of a masked language model and its arithmetic.

    ``segments`` is 0 for a model without token types.  ``embedding`` is the width of the token
    embeddings and of the head (0: as wide as ``hidden``); if ``projected``, a matrix product maps
    it to the encoder's width.  ``stored_layers`` counts the layers that have their own weights
    (0: all of them).
    """

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    segments: int = 2
    tied: bool = True
    embedding: int = 0
    stored_layers: int = 0
    projected: bool = False

    @property
    def parameters(self) -> int:
        """The number of parameters; weights that are shared (decoder, layers) count once."""
        h, i, e = self.hidden, self.intermediate, self.embedding or self.hidden
        stored = self.stored_layers or self.layers
        embeddings = (self.vocabulary + self.positions + self.segments + 2) * e
        projection = e * h + h if self.projected else 0
        layer = 4 * (h * h + h) + (h * i + i) + (i * h + h) + 4 * h
        decoder = self.vocabulary + (0 if self.tied else self.vocabulary * e)
        head = h * e + 3 * e
        return embeddings + projection + stored * layer + head + decoder


@dataclass(frozen=True)
class ModelInfo:
    """The description of a model in manifests, run files and lists.

    ``source`` is ``builtin``, ``hub`` or ``folder``; ``revision`` the hub's commit (40 digits), or
    a SHA-256 of the weight files; ``positions`` the longest sentence in tokens; ``caveat`` what
    figures measured with it cannot show (empty for real weights).
    """

    name: str
    title: str
    source: str
    revision: str
    parameters: int
    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    caveat: str = ""

    @classmethod
    def of(cls, geometry: Geometry, **words: str) -> ModelInfo:
        """Return the description of a model with this geometry; ``words`` are the other fields."""
        return cls(
            parameters=geometry.parameters,
            layers=geometry.layers,
            hidden=geometry.hidden,
            heads=geometry.heads,
            intermediate=geometry.intermediate,
            vocabulary=geometry.vocabulary,
            positions=geometry.positions,
            **words,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the record as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run or export: float32, eager attention, evaluation mode.

    ``config`` is the content of ``config.json``; ``tokenizer`` neither pads nor truncates.
    ``remarks`` say, a few words each, what is unusual about the files it was read from; ``folder``
    is where they are (None: a built-in model), with the weights as safetensors.
    ``pickles`` are the SHA-256 digests by name of the pickled weights that were converted, if any.
    ``sources`` are those of all the files it was read from, for a model from a folder.
    """

    info: ModelInfo
    network: PreTrainedModel
    tokenizer: Tokenizer
    config: dict[str, Any]
    remarks: tuple[str, ...] = ()
    folder: Path | None = None
    pickles: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
