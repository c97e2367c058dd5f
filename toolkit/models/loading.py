"""Find and load a model: the built-in ones, a folder, or a repository of the hub.

A model is a masked language model of one of the families (:mod:`.families`) with its own tokenizer.
If it cannot be loaded, an UnusableInputError says why in one line; another model is never used
instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import UnusableInputError
from ..files import read_json, require_memory
from . import hub, layout
from .auto_tokenizer import read_tokenizer, require_matching
from .builtin import catalogue
from .checkpoints import load_network, present_weights
from .families import Family, family, geometry
from .hub_cache import cached_snapshots
from .info import BYTES_A_PARAMETER, Geometry, LoadedModel, ModelInfo
from .pickles.conversion import Conversion, convert, present_pickles
from .source import folder_of, printable, require_no_revision, source_digests
from .tokenizer_files import WORDPIECE, read_tokenizer_files

__all__ = ["Geometry", "LoadedModel", "ModelInfo", "config_of", "list_models", "load_model"]


def load_model(name: str, revision: str | None = None, convert_pickle: bool = False) -> LoadedModel:
    """Load a model.

    Args:
        name: a built-in model's name, the path of a folder, or a name on the hub.
        revision: branch, tag or commit of a hub model; None is ``main``.
        convert_pickle: where there are only pickled weights, convert them (:mod:`.pickles`).

    Raises UnusableInputError, in one line, if the model cannot be found or loaded.

    """
    require_no_revision(name, revision)
    if name in catalogue.NAMES:
        return catalogue.load(name)
    if (folder := folder_of(name)) is not None:
        weights = _require_weights(folder, convert_pickle)
        sources = source_digests(folder)
        revision = layout.combined_digest({path.name: sources[path.name] for path in weights})
        loaded = _load_folder(folder, name, "folder", revision, convert_pickle)
        if source_digests(folder) != sources:
            raise UnusableInputError(f"{folder} changed while it was read: run the command again")
        return replace(loaded, sources=sources)
    snapshot = hub.download(name, revision, convert_pickle)
    return _load_folder(snapshot.folder, name, "hub", snapshot.revision, convert_pickle)


def config_of(
    name: str, revision: str | None = None, convert_pickle: bool = False
) -> dict[str, Any]:
    """Return a model's configuration without loading its weights (a hub model is fetched).

    Raises UnusableInputError as :func:`load_model` does.
    """
    require_no_revision(name, revision)
    if name in catalogue.NAMES:
        return catalogue.config_of(name)
    if (folder := folder_of(name)) is not None:
        _require_weights(folder, convert_pickle)
        return read_config(folder)
    return read_config(hub.download(name, revision, convert_pickle).folder)


def has_wordpiece(name: str, revision: str | None = None, convert_pickle: bool = False) -> bool:
    """Tell whether a model has a WordPiece tokenizer (the built-in models have)."""
    if name in catalogue.NAMES:
        return True
    folder = folder_of(name) or hub.download(name, revision, convert_pickle).folder
    return read_tokenizer_files(folder).model == WORDPIECE


def list_models() -> list[ModelInfo]:
    """Return the built-in models and the usable ones in the hub's cache.

    No weights are loaded and the network is not used.  If the built-in weights are not installed,
    the revision of the built-in models is empty.
    """
    models = catalogue.infos()
    for snapshot in cached_snapshots():
        try:
            config = read_config(snapshot.folder)
            models.append(_info(config, snapshot.repo_id, "hub", snapshot.revision))
        except UnusableInputError:  # not a model of these families
            continue
    return models


def _require_weights(folder: Path, convert_pickle: bool) -> list[Path]:
    """Return a folder's weight files: safetensors, or the pickles that may be converted."""
    if convert_pickle and layout.is_pickled(folder):
        return present_pickles(folder)
    return present_weights(folder)


def _load_folder(
    folder: Path, name: str, source: str, revision: str, convert_pickle: bool
) -> LoadedModel:
    """Load a model from a folder that has the files of a hub repository."""
    config = read_config(folder)
    info = _info(config, name, source, revision)
    remarks: list[str] = []
    tokenizer = read_tokenizer(folder, config, remarks.append)
    require_matching(tokenizer, config, folder)
    require_memory(2 * info.parameters * BYTES_A_PARAMETER, f"loading {name}")
    converted = Conversion(folder, {})
    if convert_pickle and layout.is_pickled(folder):
        converted = convert(folder, name, revision)
    network = load_network(config, present_weights(converted.folder), remarks.append)
    info = replace(info, parameters=sum(p.numel() for p in network.parameters()))
    config.setdefault("max_position_embeddings", info.positions)
    if config.get("tie_word_embeddings", True) != network.config.tie_word_embeddings:
        config["tie_word_embeddings"] = network.config.tie_word_embeddings
    return LoadedModel(
        info, network, tokenizer, config, tuple(remarks), converted.folder, converted.pickles
    )


def _info(config: Mapping[str, Any], name: str, source: str, revision: str) -> ModelInfo:
    folder = folder_of(name) if source == "folder" else None
    title = folder.resolve().name if folder else name
    words = {"name": printable(name), "title": printable(title)}
    words |= {"source": source, "revision": revision}
    return ModelInfo.of(geometry(config, name), **words, caveat="")


def read_config(folder: Path) -> dict[str, Any]:
    """Return a folder's ``config.json``; raise UnusableInputError if its model is not supported."""
    path = folder / "config.json"
    config = read_json(path)
    if not isinstance(config, dict):
        raise UnusableInputError(f"{path} is no JSON object: save the model again")
    model_family = family(config, str(path))
    _require_architecture(config, model_family, path)
    for key, why in _REFUSED.items():
        if config.get(key):
            raise UnusableInputError(f"{path} has {key}, {why}")
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise UnusableInputError(
            f"{path} asks for position embeddings other than absolute: name a plain"
            f" {model_family.title}"
        )
    geometry(config, str(path))
    return config


def _require_architecture(config: Mapping[str, Any], model_family: Family, path: Path) -> None:
    architectures = config.get("architectures")
    if not architectures:
        return
    if not isinstance(architectures, list):
        raise UnusableInputError(f"{path}: architectures is {architectures!r}, not a list")
    if not set(model_family.architectures).intersection(map(str, architectures)):
        also = (
            f" (or {model_family.architectures[1]})" if len(model_family.architectures) > 1 else ""
        )
        raise UnusableInputError(
            f"{path} says {', '.join(map(str, architectures))}, which fills no blanks: name a"
            f" {model_family.architectures[0]}{also}"
        )


_REFUSED = {
    "auto_map": "code of its own, which is never run: name a model without it",
    "quantization_config": "but quantizing is done here: name the model in floating point",
    "is_decoder": "so it sees only the words before a blank: name an encoder",
}


def builtin_info(model: str) -> ModelInfo | None:
    """Return a built-in model's description without loading (growing) it; None for other names."""
    if model not in catalogue.NAMES:
        return None
    return next(info for info in catalogue.infos() if info.name == model)
