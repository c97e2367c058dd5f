"""Weights of a model from safetensors files: every tensor accounted for, or one line says why."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UnusableInputError
from ..files import sha256
from . import layout
from .families import Family, family

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

BUFFERS = ("position_ids", "token_type_ids")  # numbers that count up, saved by old versions


def present_weights(folder: Path) -> list[Path]:
    """Return a folder's weight files; raise UnusableInputError if one is missing."""
    if not folder.is_dir():
        raise UnusableInputError(
            f"{folder} is no folder: name a folder with config.json, model.safetensors and a"
            " tokenizer, a name on the hub, or 'builtin'"
        )
    paths = layout.weight_files(folder)
    missing = [path.name for path in paths if not path.is_file()]
    if missing == [layout.WEIGHTS]:
        raise layout.safetensors_only(str(folder), (path.name for path in folder.iterdir()))
    if missing:
        raise UnusableInputError(
            f"{folder} lacks {', '.join(missing[:3])}, named in {layout.INDEX}: copy all the files"
        )
    return paths


def digest(paths: list[Path]) -> str:
    """Return the SHA-256 of one weight file, or one over the names and digests of several."""
    if len(paths) == 1:
        return sha256(paths[0])
    lines = [f"{path.name} {sha256(path)}" for path in paths]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def load_network(config: Mapping[str, Any], paths: list[Path]) -> PreTrainedModel:
    """Return the network of a configuration with the weights of safetensors files.

    Float32, eager attention, evaluation mode.  Raises UnusableInputError unless the files hold
    exactly what the configuration describes.
    """
    import torch

    where = str(paths[0] if len(paths) == 1 else paths[0].parent)
    kin = family(config, where)
    tensors = _tensors(paths, kin, where)
    whole = _configuration(config, kin, where)
    whole.tie_word_embeddings = _is_tied(tensors, kin, whole, where)
    with torch.device("meta"):
        expected = _network_class(kin)(whole).state_dict()
    if whole.tie_word_embeddings:
        expected.pop(kin.decoder)
        tensors.pop(kin.decoder, None)
    if kin.decoder_bias:
        expected.pop(kin.decoder_bias)
    _require_same(tensors, {name: tuple(t.shape) for name, t in expected.items()}, kin, where)
    if kin.decoder_bias:
        tensors[kin.decoder_bias] = tensors[kin.head_bias]
    if whole.tie_word_embeddings:
        tensors[kin.decoder] = tensors[kin.embeddings]
    return _filled(whole, kin, tensors, where)


def _network_class(kin: Family) -> Any:
    import transformers

    return getattr(transformers, kin.architectures[0])


def _tensors(paths: list[Path], kin: Family, where: str) -> dict[str, torch.Tensor]:
    """Read safetensors files as float32 under today's names, without what there is to spare."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    spare = (*kin.spare, *(f"{kin.base}embeddings.{name}" for name in BUFFERS))
    tensors: dict[str, torch.Tensor] = {}
    for path in paths:
        try:
            found = load_file(path)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise UnusableInputError(
                f"{path} is no whole safetensors file ({line_of(error)}): fetch or save it again"
            ) from None
        for name, tensor in found.items():
            if name.startswith(spare):
                continue
            if not tensor.is_floating_point():
                raise UnusableInputError(
                    f"{where}: {name} is {str(tensor.dtype).removeprefix('torch.')}: name the"
                    " model in floating point"
                )
            tensors[_todays_name(name)] = tensor.to(torch.float32).contiguous()
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UnusableInputError(f"{where}: {name} holds NaN or infinity: name another model")
    if kin.decoder_bias in tensors:
        tensors.setdefault(kin.head_bias, tensors.pop(str(kin.decoder_bias)))
    return tensors


def _todays_name(name: str) -> str:
    """Return a tensor's name as transformers has it now (LayerNorm.gamma is LayerNorm.weight)."""
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
        "LayerNorm.beta", "LayerNorm.bias"
    )


def _is_tied(
    tensors: Mapping[str, torch.Tensor], kin: Family, config: PreTrainedConfig, where: str
) -> bool:
    """Tell whether the decoder is the embeddings' matrix; what the file holds decides."""
    import torch

    if kin.decoder not in tensors:
        if not config.tie_word_embeddings:
            raise UnusableInputError(
                f"{where} lacks {kin.decoder}: name a model with its whole head"
            )
        return True
    return kin.embeddings in tensors and torch.equal(tensors[kin.decoder], tensors[kin.embeddings])


def _require_same(
    tensors: Mapping[str, torch.Tensor],
    expected: Mapping[str, tuple[int, ...]],
    kin: Family,
    where: str,
) -> None:
    """Raise UnusableInputError unless the file has exactly the tensors expected."""
    missing = sorted(expected.keys() - tensors.keys())
    head = [name for name in missing if name.startswith(kin.head)]
    if head:
        raise UnusableInputError(
            f"{where} has no head to fill blanks with ({head[0]} is missing):"
            f" name a model saved as {' or '.join(kin.architectures)}"
        )
    if missing:
        raise UnusableInputError(
            f"{where} lacks {_some(missing)}: it is not the model config.json describes"
        )
    if spare := sorted(tensors.keys() - expected.keys()):
        raise UnusableInputError(
            f"{where} has tensors the model of config.json has no place for: {_some(spare)}"
        )
    for name, shape in expected.items():
        if tuple(tensors[name].shape) != shape:
            raise UnusableInputError(
                f"{where}: {name} is {_times(tensors[name].shape)}, config.json says"
                f" {_times(shape)}: they belong to different models"
            )


def _configuration(config: Mapping[str, Any], kin: Family, where: str) -> PreTrainedConfig:
    import transformers
    from transformers.activations import ACT2FN

    try:
        made: PreTrainedConfig = getattr(transformers, kin.configuration).from_dict(dict(config))
    except Exception as error:  # the library checks types with errors of its own
        raise UnusableInputError(
            f"{where}: config.json does not describe a {kin.title}: {line_of(error)}"
        ) from error
    activation = kin.activation(config)
    if activation not in ACT2FN:
        raise UnusableInputError(f"{where}: {kin.key('activation')} {activation!r} is unknown")
    return made


def _filled(
    config: PreTrainedConfig, kin: Family, tensors: dict[str, torch.Tensor], where: str
) -> PreTrainedModel:
    """Return the network filled with tensors, without initializing it first."""
    import torch

    with _no_loading_bar():
        loaded: Any = _network_class(kin).from_pretrained(
            None,
            config=config,
            state_dict=tensors,
            attn_implementation="eager",
            dtype=torch.float32,
            output_loading_info=True,
        )
    network, report = loaded
    left = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
    if left:
        raise UnusableInputError(f"{where}: transformers could not place {_some(map(str, left))}")
    filled: PreTrainedModel = network.eval()
    return filled


@contextmanager
def _no_loading_bar() -> Iterator[None]:
    """Keep transformers from drawing a bar for work of a fraction of a second."""
    from transformers.utils import logging

    library: Any = logging  # its functions have no types
    shown = library.is_progress_bar_enabled()
    library.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            library.enable_progress_bar()


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _times(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))


def line_of(error: BaseException) -> str:
    """Return an error's text as one line."""
    return " ".join(str(error).split()) or type(error).__name__
