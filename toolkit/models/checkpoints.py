"""A model's weights from safetensors files: exactly the tensors it needs, or a clear error."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UnusableInputError
from . import layout
from .ernie import TASKS, fold_tasks
from .families import Family, family
from .headers import broken, line_of, some, tensor_names
from .naming import place_tensors
from .tying import Remark, settle_decoder

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel


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
    all tensors that the configuration needs, and none of a part that it does not have.
    """
    where = str(paths[0] if len(paths) == 1 else paths[0].parent)
    model_family = family(config, where)
    network_config = _configuration(config, model_family, where)
    expected = _shapes(network_config, model_family, where)
    tensors = _tensors(paths, model_family, expected, where, remark)
    if model_family.kind == "bert":
        fold_tasks(tensors, config, where, remark)
    network_config.tie_word_embeddings = settle_decoder(
        tensors, model_family, bool(network_config.tie_word_embeddings), where, remark
    )
    if network_config.tie_word_embeddings and model_family.embeddings not in tensors:
        expected.pop(model_family.decoder)  # the embeddings are missing, not the head
    _require_whole(tensors, expected, model_family, where)
    return _filled(network_config, model_family, tensors, where)


def _shapes(
    config: PreTrainedConfig, model_family: Family, where: str
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors that a configuration needs."""
    import torch

    try:
        with torch.device("meta"):
            whole = _network_class(model_family)(config).state_dict()
    except Exception as error:  # a value that no layer can be made of; assertions among them
        raise _not_described(model_family, where, error) from error
    return {name: tuple(tensor.shape) for name, tensor in whole.items()}


def _not_described(model_family: Family, where: str, error: BaseException) -> UnusableInputError:
    return UnusableInputError(
        f"{where}: config.json does not describe a {model_family.title}: {line_of(error)}"
    )


def _network_class(model_family: Family) -> Any:
    import transformers

    return getattr(transformers, model_family.architectures[0])


def _tensors(
    paths: list[Path],
    model_family: Family,
    expected: Collection[str],
    where: str,
    remark: Remark,
) -> dict[str, torch.Tensor]:
    """Read the tensors of the files that have a place in the network, as float32, by place.

    Raises UnusableInputError for a tensor of a part that the network does not have.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    naming = place_tensors(tensor_names(paths), {*expected, TASKS}, model_family)
    if naming.inside:
        raise UnusableInputError(
            f"{where} has tensors the model of config.json has no place for: {some(naming.inside)}"
        )
    for line in naming.remarks():
        remark(line)
    tensors: dict[str, torch.Tensor] = {}
    sources: dict[str, str] = {}
    for path in paths:
        try:
            with safe_open(path, framework="pt") as stored:
                for name in sorted(naming.places.keys() & set(stored.keys())):
                    place, tensor = (
                        naming.places[name],
                        _floats(stored.get_tensor(name), name, where),
                    )
                    if place in tensors and not torch.equal(tensors[place], tensor):
                        raise UnusableInputError(
                            f"{where} has two tensors for {place} that differ ({sources[place]} and"
                            f" {name}): name a file with one model"
                        )
                    tensors[place], sources[place] = tensor, name
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise broken(path, error) from None
    return tensors


def _floats(tensor: torch.Tensor, name: str, where: str) -> torch.Tensor:
    """Return a tensor in float32; raise UnusableInputError if it does not hold finite numbers."""
    import torch

    if not tensor.is_floating_point():
        raise UnusableInputError(
            f"{where}: {name} is {str(tensor.dtype).removeprefix('torch.')}: name the model in"
            " floating point"
        )
    tensor = tensor.to(torch.float32).contiguous()
    if not bool(torch.isfinite(tensor).all()):
        raise UnusableInputError(f"{where}: {name} holds NaN or infinity: name another model")
    return tensor


def _require_whole(
    tensors: Mapping[str, torch.Tensor],
    expected: Mapping[str, tuple[int, ...]],
    model_family: Family,
    where: str,
) -> None:
    """Raise UnusableInputError unless the file has all expected tensors, in their shapes."""
    missing = sorted(expected.keys() - tensors.keys())
    head = [name for name in missing if name.startswith(model_family.head)]
    if head and not any(name.startswith(model_family.head) for name in tensors):
        raise UnusableInputError(
            f"{where} has no head to fill blanks with ({head[0]} is missing):"
            f" name a model saved as {' or '.join(model_family.architectures)}"
        )
    if head:
        raise UnusableInputError(
            f"{where} lacks {some(head)} of the head that fills blanks: name a model with its"
            " whole head"
        )
    if missing:
        raise UnusableInputError(
            f"{where} lacks {some(missing)}: it is not the model config.json describes"
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
        raise _not_described(model_family, where, error) from error
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

    with quiet_loading():
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
        raise UnusableInputError(f"{where}: transformers could not place {some(map(str, wrong))}")
    filled: PreTrainedModel = network.eval()
    return filled


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Stop transformers from drawing a bar and writing a report; callers look at what it loaded."""
    from transformers.utils import logging

    library: Any = logging  # its functions have no types
    shown, verbosity = library.is_progress_bar_enabled(), library.get_verbosity()
    library.disable_progress_bar()
    library.set_verbosity_error()
    try:
        yield
    finally:
        library.set_verbosity(verbosity)
        if shown:
            library.enable_progress_bar()


def _times(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))
