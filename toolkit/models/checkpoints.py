"""A model's weights from safetensors files: exactly the tensors it needs, or a clear error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UnusableInputError
from . import layout
from .families import Family, family
from .tying import Remark, settle_decoder

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

BUFFERS = ("position_ids", "token_type_ids")  # constants (0, 1, 2, ...), saved by old versions


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


def load_network(
    config: Mapping[str, Any], paths: list[Path], remark: Remark = lambda line: None
) -> PreTrainedModel:
    """Return the network that a configuration describes, with weights from safetensors files.

    It is in float32, with eager attention, in evaluation mode.  ``remark`` is called with a few
    words for everything unusual about the file.  Raises UnusableInputError unless the files hold
    exactly the tensors that the configuration needs.
    """
    import torch

    where = str(paths[0] if len(paths) == 1 else paths[0].parent)
    model_family = family(config, where)
    tensors = _tensors(paths, model_family, where)
    network_config = _configuration(config, model_family, where)
    network_config.tie_word_embeddings = settle_decoder(
        tensors, model_family, bool(network_config.tie_word_embeddings), where, remark
    )
    with torch.device("meta"):
        expected = _network_class(model_family)(network_config).state_dict()
    if network_config.tie_word_embeddings and model_family.embeddings not in tensors:
        expected.pop(model_family.decoder)  # the embeddings are missing, not the head
    _require_same(
        tensors, {name: tuple(t.shape) for name, t in expected.items()}, model_family, where
    )
    return _filled(network_config, model_family, tensors, where)


def _network_class(model_family: Family) -> Any:
    import transformers

    return getattr(transformers, model_family.architectures[0])


def _tensors(paths: list[Path], model_family: Family, where: str) -> dict[str, torch.Tensor]:
    """Read safetensors files as float32, renamed as transformers names tensors now.

    Weights that a fill-mask model does not use are left out.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    unused = (*model_family.spare, *(f"{model_family.base}embeddings.{name}" for name in BUFFERS))
    tensors: dict[str, torch.Tensor] = {}
    for path in paths:
        try:
            stored = load_file(path)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise UnusableInputError(
                f"{path} is no whole safetensors file ({line_of(error)}): fetch or save it again"
            ) from None
        for name, tensor in stored.items():
            if name.startswith(unused):
                continue
            if not tensor.is_floating_point():
                raise UnusableInputError(
                    f"{where}: {name} is {str(tensor.dtype).removeprefix('torch.')}: name the"
                    " model in floating point"
                )
            tensors[_current_name(name)] = tensor.to(torch.float32).contiguous()
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UnusableInputError(f"{where}: {name} holds NaN or infinity: name another model")
    return tensors


def _current_name(name: str) -> str:
    """Return the name that transformers gives a tensor now (LayerNorm.gamma: LayerNorm.weight)."""
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
        "LayerNorm.beta", "LayerNorm.bias"
    )


def _require_same(
    tensors: Mapping[str, torch.Tensor],
    expected: Mapping[str, tuple[int, ...]],
    model_family: Family,
    where: str,
) -> None:
    """Raise UnusableInputError unless the file has exactly the expected tensors and shapes."""
    missing = sorted(expected.keys() - tensors.keys())
    head = [name for name in missing if name.startswith(model_family.head)]
    if head:
        raise UnusableInputError(
            f"{where} has no head to fill blanks with ({head[0]} is missing):"
            f" name a model saved as {' or '.join(model_family.architectures)}"
        )
    if missing:
        raise UnusableInputError(
            f"{where} lacks {_some(missing)}: it is not the model config.json describes"
        )
    if unexpected := sorted(tensors.keys() - expected.keys()):
        raise UnusableInputError(
            f"{where} has tensors the model of config.json has no place for: {_some(unexpected)}"
        )
    for name, shape in expected.items():
        if tuple(tensors[name].shape) != shape:
            raise UnusableInputError(
                f"{where}: {name} is {_times(tensors[name].shape)}, config.json says"
                f" {_times(shape)}: they belong to different models"
            )


def _configuration(config: Mapping[str, Any], model_family: Family, where: str) -> PreTrainedConfig:
    import transformers
    from transformers.activations import ACT2FN

    try:
        parsed: PreTrainedConfig = getattr(transformers, model_family.configuration).from_dict(
            dict(config)
        )
    except Exception as error:  # the library checks types with errors of its own
        raise UnusableInputError(
            f"{where}: config.json does not describe a {model_family.title}: {line_of(error)}"
        ) from error
    activation = model_family.activation(config)
    if activation not in ACT2FN:
        raise UnusableInputError(
            f"{where}: {model_family.key('activation')} {activation!r} is unknown"
        )
    return parsed


def _filled(
    config: PreTrainedConfig, model_family: Family, tensors: dict[str, torch.Tensor], where: str
) -> PreTrainedModel:
    """Return the network with these tensors as weights, without initializing it first."""
    import torch

    with no_loading_bar():
        loaded: Any = _network_class(model_family).from_pretrained(
            None,
            config=config,
            state_dict=tensors,
            attn_implementation="eager",
            dtype=torch.float32,
            output_loading_info=True,
        )
    network, report = loaded
    wrong = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
    if wrong:
        raise UnusableInputError(f"{where}: transformers could not place {_some(map(str, wrong))}")
    filled: PreTrainedModel = network.eval()
    return filled


@contextmanager
def no_loading_bar() -> Iterator[None]:
    """Stop transformers from drawing a progress bar: loading takes a fraction of a second."""
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
