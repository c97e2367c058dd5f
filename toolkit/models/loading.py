"""Find and load a model: the built-in ones, a folder, or a repository of the hub.

A model is a masked language model of one of the families (:mod:`.families`) with its own tokenizer.
If it cannot be loaded, an UnusableInputError says why in one line; another model is never used
instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UnusableInputError
from ..files import read_json, require_memory
from . import hub, layout
from .auto_tokenizer import read_tokenizer, require_matching
from .builtin import catalogue
from .checkpoints import load_network, present_weights
from .ernie import KEYS as ERNIE_KEYS
from .families import family, geometry
from .headers import tensor_names
from .hub_cache import cached_snapshots
from .info import BYTES_A_PARAMETER, Geometry, LoadedModel, ModelInfo
from .pickles.conversion import Conversion, convert, present_pickles
from .recognition import Recognized, recognize
from .source import folder_of, printable, require_no_revision, source_digests
from .tokenizer_files import WORDPIECE, read_tokenizer_files
from .tokens import special_tokens
from .tying import Remark

if TYPE_CHECKING:
    from tokenizers import Tokenizer

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
        sources, revision = _folder_revision(folder, convert_pickle)
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
        if not (convert_pickle and layout.is_pickled(folder)):
            present_weights(folder)
            return read_config(folder)
        _, revision = _folder_revision(folder, convert_pickle)
        return read_config(_with_safetensors(folder, name, revision, convert_pickle).folder)
    snapshot = hub.download(name, revision, convert_pickle)
    found = _with_safetensors(snapshot.folder, name, snapshot.revision, convert_pickle)
    return read_config(found.folder)


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


def _folder_revision(folder: Path, convert_pickle: bool) -> tuple[dict[str, str], str]:
    """Return the digests of a folder's files, and one for its weights.

    Raises UnusableInputError if there are none, or only pickles that may not be converted.
    """
    pickled = convert_pickle and layout.is_pickled(folder)
    weights = present_pickles(folder) if pickled else present_weights(folder)
    sources = source_digests(folder)
    return sources, layout.combined_digest({path.name: sources[path.name] for path in weights})


def _with_safetensors(folder: Path, name: str, revision: str, convert_pickle: bool) -> Conversion:
    """Return the folder itself, or the one that its pickles were converted to."""
    if convert_pickle and layout.is_pickled(folder):
        return convert(folder, name, revision)
    return Conversion(folder, {})


def _load_folder(
    folder: Path, name: str, source: str, revision: str, convert_pickle: bool
) -> LoadedModel:
    """Load a model from a folder that has the files of a hub repository."""
    converted = _with_safetensors(folder, name, revision, convert_pickle)
    found = _recognized(converted.folder)
    config, remarks = found.config, list(found.remarks)
    info = _info(config, name, source, revision)
    tokenizer = read_tokenizer(folder, config, remarks.append)
    require_matching(tokenizer, config, folder)
    _settle_padding(config, tokenizer, remarks.append)
    require_memory(2 * info.parameters * BYTES_A_PARAMETER, f"loading {name}")
    network = load_network(config, present_weights(converted.folder), remarks.append)
    config = {key: value for key, value in config.items() if key not in ERNIE_KEYS}
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
    """Return a folder's ``config.json``; raise UnusableInputError if its model is not supported.

    Where the folder has weights, ``model_type`` and ``architectures`` are what the tensors say.
    """
    return _recognized(folder).config


def _recognized(folder: Path) -> Recognized:
    path = folder / "config.json"
    config = read_json(path)
    if not isinstance(config, dict):
        raise UnusableInputError(f"{path} is no JSON object: save the model again")
    for key, why in _REFUSED.items():
        if config.get(key):
            raise UnusableInputError(f"{path} has {key}, {why}")
    weights = layout.weight_files(folder)
    names = tensor_names(weights) if all(file.is_file() for file in weights) else None
    found = recognize(config, names, str(path if names is None else folder))
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise UnusableInputError(
            f"{path} asks for position embeddings other than absolute: name a plain"
            f" {family(found.config).title}"
        )
    geometry(found.config, str(path))
    return found


def _settle_padding(config: dict[str, Any], tokenizer: Tokenizer, remark: Remark) -> None:
    """Take the id of [PAD] from the tokenizer: sentences are padded with it, and hidden there."""
    ids = tokenizer.get_vocab()
    filler = special_tokens(ids).get("pad_token")
    said = config.get("pad_token_id", 0)
    if said is not None and filler and ids[filler] != said:
        remark(f"pad_token_id is {said}, {filler} is {ids[filler]}: the tokenizer's counts")
        config["pad_token_id"] = ids[filler]


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
