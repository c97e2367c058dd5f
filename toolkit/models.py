"""Find and load a model: the built-in ones, a folder, or a repository of the hub.

A model is a ``BertForMaskedLM`` with its own tokenizer.  Whatever is wrong with one is one clear
line (UnusableInputError); no other model ever takes its place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import hub
from .builtin import vocabulary
from .errors import UnusableInputError
from .files import read_json, require_memory, sha256
from .text import MASK

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertForMaskedLM

BUILTIN, BUILTIN_SMALL = "builtin", "builtin-small"
BUILTIN_WEIGHTS = Path(__file__).parent / "builtin" / "model.safetensors"
ARCHITECTURES = {"BertForMaskedLM", "BertForPreTraining"}
BYTES_A_PARAMETER = 4  # float32
TOKENIZER_SHARE = 0.9  # a tokenizer with fewer of the model's tokens is another model's

GROWN_CAVEAT = (
    "The built-in model, grown from a small one to the geometry of bert-base-chinese; its weights"
    " are not bert-base-chinese's. Speed, memory and cost are those of the geometry. Eight of its"
    " twelve layers cancel out, so rounding errors pile up less than in a trained 12-layer"
    " network: the fidelity of FP16 and INT8 is only indicative of bert-base-chinese."
)
SMALL_CAVEAT = (
    "The built-in small model, for trying things out: its speed, memory and cost are not"
    " bert-base-chinese's."
)


@dataclass(frozen=True)
class Geometry:
    """The sizes that fix a BertForMaskedLM's shape and its arithmetic."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    segments: int = 2
    tied: bool = True

    @property
    def parameters(self) -> int:
        """Numbers to learn; a decoder tied to the embeddings counts once."""
        h, i = self.hidden, self.intermediate
        embeddings = (self.vocabulary + self.positions + self.segments + 2) * h
        layer = 4 * (h * h + h) + (h * i + i) + (i * h + h) + 4 * h
        decoder = self.vocabulary + (0 if self.tied else self.vocabulary * h)
        return embeddings + self.layers * layer + (h * h + 3 * h) + decoder


GROWN = Geometry(12, 768, 12, 3072, 21128, 512)


def small_geometry() -> Geometry:
    """Return the built-in small model's geometry (as ``builtin/train.py`` trains it)."""
    return Geometry(4, 256, 4, 1024, len(vocabulary.tokens()), 512)


@dataclass(frozen=True)
class ModelInfo:
    """What is said of a model wherever it is named.

    ``source`` is ``builtin``, ``hub`` or ``folder``; ``revision`` the hub's commit (40 digits), or
    a SHA-256 of the weight files; ``positions`` the longest sentence in tokens; ``caveat`` what
    figures measured on it do not tell (empty for real weights).
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

    def as_json(self) -> dict[str, Any]:
        """Return the record as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run or export: float32, eager attention, evaluation mode.

    ``config`` is what ``config.json`` holds; ``tokenizer`` neither pads nor truncates.
    """

    info: ModelInfo
    network: BertForMaskedLM
    tokenizer: Tokenizer
    config: dict[str, Any]


def load_model(name: str, revision: str | None = None) -> LoadedModel:
    """Load a model.

    Args:
        name: ``builtin``, ``builtin-small``, the path of a folder, or a name on the hub.
        revision: branch, tag or commit of a hub model; None is ``main``.

    Raises UnusableInputError, in one line, if the model cannot be had as it is.

    """
    if revision is not None and (name in (BUILTIN, BUILTIN_SMALL) or _is_path(name)):
        raise UnusableInputError(f"{name} has no revisions, a model of the hub has: leave it out")
    if name == BUILTIN_SMALL:
        return _load_small()
    if name == BUILTIN:
        return _load_grown()
    if _is_path(name):
        folder = Path(name).expanduser()
        return _load_folder(folder, name, "folder", _digest(_present_weights(folder)))
    snapshot = hub.download(name, revision)
    return _load_folder(snapshot.folder, name, "hub", snapshot.revision)


def list_models() -> list[ModelInfo]:
    """Return the built-in models and the BERTs in the hub's cache; loads no weights, asks no hub.

    A built-in model whose weights are not installed has an empty revision.
    """
    revision = sha256(BUILTIN_WEIGHTS) if BUILTIN_WEIGHTS.is_file() else ""
    models = [_grown_info(revision), _small_info(revision)]
    for snapshot in hub.cached_snapshots():
        try:
            config = read_config(snapshot.folder)
            models.append(_info(config, snapshot.repo_id, "hub", snapshot.revision))
        except UnusableInputError:  # not a BERT
            continue
    return models


def _is_path(name: str) -> bool:
    """Tell a path from a hub name: it exists, or it is written as only paths are."""
    looks_like_one = name.startswith((".", "/", "~")) or name.endswith("/") or "\\" in name
    return looks_like_one or Path(name).exists()


# --- the built-in models --------------------------------------------------------------------


def _info_of(geometry: Geometry, **words: str) -> ModelInfo:
    return ModelInfo(
        parameters=geometry.parameters,
        layers=geometry.layers,
        hidden=geometry.hidden,
        heads=geometry.heads,
        intermediate=geometry.intermediate,
        vocabulary=geometry.vocabulary,
        positions=geometry.positions,
        **words,
    )


def _grown_info(revision: str) -> ModelInfo:
    title = "built-in model, grown to the geometry of bert-base-chinese"
    words = {"name": BUILTIN, "title": title, "source": "builtin"}
    return _info_of(GROWN, **words, revision=revision, caveat=GROWN_CAVEAT)


def _small_info(revision: str) -> ModelInfo:
    words = {"name": BUILTIN_SMALL, "title": "built-in small model", "source": "builtin"}
    return _info_of(small_geometry(), **words, revision=revision, caveat=SMALL_CAVEAT)


def _small_config() -> dict[str, Any]:
    geometry = small_geometry()
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
            " again, or train them with 'python -m tiankong.toolkit.builtin.train'"
        )
    config = _small_config()
    network = _network(config, [BUILTIN_WEIGHTS])
    tokenizer = vocabulary.tokenizer()
    info = _small_info(sha256(BUILTIN_WEIGHTS))
    return LoadedModel(info, network, tokenizer, _whole_config(network))


def _load_grown() -> LoadedModel:
    from .builtin.grow import grow

    need = 2 * GROWN.parameters * BYTES_A_PARAMETER
    require_memory(need, "growing the built-in model")
    small = _load_small()
    network = grow(small.network)
    network.train(False)
    tokenizer = vocabulary.tokenizer(GROWN.vocabulary)
    return LoadedModel(_grown_info(small.info.revision), network, tokenizer, _whole_config(network))


def _whole_config(network: BertForMaskedLM) -> dict[str, Any]:
    """Return a network's configuration with every default written out."""
    config: dict[str, Any] = json.loads(network.config.to_json_string(use_diff=False))
    config.pop("_name_or_path", None)
    return {**config, "architectures": ["BertForMaskedLM"], "model_type": "bert"}


# --- folders and the hub --------------------------------------------------------------------


def _load_folder(folder: Path, name: str, source: str, revision: str) -> LoadedModel:
    """Load a folder in the hub's layout."""
    config = read_config(folder)
    info = _info(config, name, source, revision)
    tokenizer = read_tokenizer(folder)
    _require_matching(tokenizer, config, folder)
    require_memory(2 * info.parameters * BYTES_A_PARAMETER, f"loading {name}")
    network = _network(config, _present_weights(folder))
    info = replace(info, parameters=sum(p.numel() for p in network.parameters()))
    if config.get("tie_word_embeddings", True) != network.config.tie_word_embeddings:
        config["tie_word_embeddings"] = network.config.tie_word_embeddings
    return LoadedModel(info, network, tokenizer, config)


def _info(config: Mapping[str, Any], name: str, source: str, revision: str) -> ModelInfo:
    title = Path(name).expanduser().resolve().name if source == "folder" else name
    return _info_of(
        _geometry(config, name),
        name=name,
        title=title,
        source=source,
        revision=revision,
        caveat="",
    )


def _present_weights(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UnusableInputError(
            f"{folder} is no folder: name a folder with config.json, model.safetensors and a"
            " tokenizer, a name on the hub, or 'builtin'"
        )
    paths = hub.weight_files(folder)
    missing = [path.name for path in paths if not path.is_file()]
    if missing == [hub.WEIGHTS]:
        raise hub.safetensors_only(str(folder), (path.name for path in folder.iterdir()))
    if missing:
        raise UnusableInputError(
            f"{folder} lacks {', '.join(missing[:3])}, named in {hub.INDEX}: copy all the files"
        )
    return paths


def _digest(paths: list[Path]) -> str:
    """Return the SHA-256 of one weight file, or one over the names and digests of several."""
    if len(paths) == 1:
        return sha256(paths[0])
    lines = [f"{path.name} {sha256(path)}" for path in paths]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_config(folder: Path) -> dict[str, Any]:
    """Return a folder's ``config.json``; raise UnusableInputError unless a BertForMaskedLM's."""
    path = folder / "config.json"
    config = read_json(path)
    if not isinstance(config, dict):
        raise UnusableInputError(f"{path} is no JSON object: save the model again")
    kind = config.get("model_type")
    if kind != "bert":
        raise UnusableInputError(f"{path} says model_type {kind!r}: name a model of type 'bert'")
    architectures = config.get("architectures")
    if architectures and not ARCHITECTURES.intersection(map(str, architectures)):
        raise UnusableInputError(
            f"{path} says {', '.join(map(str, architectures))}, which fills no blanks: name a"
            " BertForMaskedLM (or BertForPreTraining)"
        )
    for key, why in _REFUSED.items():
        if config.get(key):
            raise UnusableInputError(f"{path} has {key}, {why}")
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise UnusableInputError(
            f"{path} asks for position embeddings other than absolute: name a plain BERT"
        )
    _geometry(config, str(path))
    return config


_REFUSED = {
    "auto_map": "code of its own, which is never run: name a model without it",
    "quantization_config": "but quantizing is done here: name the model in floating point",
    "is_decoder": "so it sees only the words before a blank: name an encoder",
}


def _geometry(config: Mapping[str, Any], where: str) -> Geometry:
    """Return a configuration's geometry; defaults are BertConfig's."""

    def size(key: str, default: int) -> int:
        value = config.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UnusableInputError(f"{where}: {key} is {value!r}, not a positive whole number")
        return value

    geometry = Geometry(
        layers=size("num_hidden_layers", 12),
        hidden=size("hidden_size", 768),
        heads=size("num_attention_heads", 12),
        intermediate=size("intermediate_size", 3072),
        vocabulary=size("vocab_size", 30522),
        positions=size("max_position_embeddings", 512),
        segments=size("type_vocab_size", 2),
        tied=config.get("tie_word_embeddings", True) is not False,
    )
    if geometry.hidden % geometry.heads:
        raise UnusableInputError(
            f"{where}: hidden_size {geometry.hidden} is no multiple of num_attention_heads"
            f" {geometry.heads}"
        )
    return geometry


# --- weights --------------------------------------------------------------------------------

EMBEDDINGS, DECODER = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
HEAD_BIAS, DECODER_BIAS = "cls.predictions.bias", "cls.predictions.decoder.bias"
SPARE = ("cls.seq_relationship.", "bert.pooler.", "bert.embeddings.position_ids")


def _network(config: Mapping[str, Any], paths: list[Path]) -> BertForMaskedLM:
    """Return the network with the weights of safetensors files, every tensor accounted for."""
    import torch
    from transformers import BertForMaskedLM

    where = str(paths[0] if len(paths) == 1 else paths[0].parent)
    tensors = _tensors(paths, where)
    bert_config = _bert_config(config, where)
    bert_config.tie_word_embeddings = _is_tied(tensors, bert_config, where)
    with torch.device("meta"):
        expected = BertForMaskedLM(bert_config).state_dict()
    if bert_config.tie_word_embeddings:
        expected.pop(DECODER)
        tensors.pop(DECODER, None)
    expected.pop(DECODER_BIAS)
    _require_same(tensors, {name: tuple(t.shape) for name, t in expected.items()}, where)
    tensors[DECODER_BIAS] = tensors[HEAD_BIAS]
    if bert_config.tie_word_embeddings:
        tensors[DECODER] = tensors[EMBEDDINGS]
    return _filled(bert_config, tensors, where)


def _tensors(paths: list[Path], where: str) -> dict[str, torch.Tensor]:
    """Read safetensors files as float32 under today's names, without what a BERT has to spare."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    tensors: dict[str, torch.Tensor] = {}
    for path in paths:
        try:
            found = load_file(path)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            raise UnusableInputError(
                f"{path} is no whole safetensors file ({_line(error)}): fetch or save it again"
            ) from None
        for name, tensor in found.items():
            if name.startswith(SPARE):
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
    if DECODER_BIAS in tensors:
        tensors.setdefault(HEAD_BIAS, tensors.pop(DECODER_BIAS))
    return tensors


def _todays_name(name: str) -> str:
    """Return a tensor's name as transformers has it now (LayerNorm.gamma is LayerNorm.weight)."""
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
        "LayerNorm.beta", "LayerNorm.bias"
    )


def _is_tied(tensors: Mapping[str, torch.Tensor], config: BertConfig, where: str) -> bool:
    """Tell whether the decoder is the embeddings' matrix; what the file holds decides."""
    import torch

    if DECODER not in tensors:
        if not config.tie_word_embeddings:
            raise UnusableInputError(f"{where} lacks {DECODER}: name a model with its whole head")
        return True
    return EMBEDDINGS in tensors and torch.equal(tensors[DECODER], tensors[EMBEDDINGS])


def _require_same(
    tensors: Mapping[str, torch.Tensor], expected: Mapping[str, tuple[int, ...]], where: str
) -> None:
    """Raise UnusableInputError unless the file has exactly the tensors expected."""
    missing = sorted(expected.keys() - tensors.keys())
    head = [name for name in missing if name.startswith("cls.")]
    if head:
        raise UnusableInputError(
            f"{where} has no head to fill blanks with ({head[0]} is missing):"
            " name a model saved as BertForMaskedLM or BertForPreTraining"
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


def _bert_config(config: Mapping[str, Any], where: str) -> BertConfig:
    from transformers import BertConfig
    from transformers.activations import ACT2FN

    try:
        bert_config = BertConfig.from_dict(dict(config))
    except Exception as error:  # the library checks types with errors of its own
        raise UnusableInputError(
            f"{where}: config.json does not describe a BERT: {_line(error)}"
        ) from error
    if bert_config.hidden_act not in ACT2FN:
        raise UnusableInputError(f"{where}: hidden_act {bert_config.hidden_act!r} is unknown")
    return bert_config


def _filled(config: BertConfig, tensors: dict[str, torch.Tensor], where: str) -> BertForMaskedLM:
    """Return the network filled with tensors, without initializing it first."""
    import torch
    from transformers import BertForMaskedLM

    with _no_loading_bar():
        loaded: Any = BertForMaskedLM.from_pretrained(
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
    filled: BertForMaskedLM = network.eval()
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


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# --- tokenizers -----------------------------------------------------------------------------


def read_tokenizer(folder: Path) -> Tokenizer:
    """Return a folder's tokenizer: its ``tokenizer.json``, else one built from ``vocab.txt``.

    What ``tokenizer_config.json`` says of letter case, accents and Chinese characters wins over
    ``tokenizer.json``, as it does in transformers.  Raises UnusableInputError if it cannot be read.
    """
    if (folder / "tokenizer.json").is_file():
        tokenizer = _saved_tokenizer(folder)
    elif (folder / "vocab.txt").is_file():
        tokenizer = _wordpiece_tokenizer(folder)
    else:
        raise UnusableInputError(
            f"{folder} has no tokenizer: copy the model's {' or '.join(hub.TOKENIZERS)} there"
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _settings(folder: Path) -> dict[str, Any]:
    """Return the BERT normalizer's settings that ``tokenizer_config.json`` states."""
    path = folder / "tokenizer_config.json"
    config = read_json(path) if path.is_file() else {}
    if not isinstance(config, dict):
        raise UnusableInputError(f"{path} is no JSON object: save the tokenizer again")
    names = {
        "do_lower_case": "lowercase",
        "tokenize_chinese_chars": "handle_chinese_chars",
        "strip_accents": "strip_accents",
    }
    settings = {ours: config[theirs] for theirs, ours in names.items() if theirs in config}
    for name, value in settings.items():
        if not isinstance(value, bool) and (name, value) != ("strip_accents", None):
            raise UnusableInputError(f"{path}: {name} is {value!r}, not true or false")
    return settings


def _saved_tokenizer(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer
    from tokenizers.normalizers import BertNormalizer

    path = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise UnusableInputError(f"{path} is not a readable tokenizer: {_line(error)}") from error
    normalizer = tokenizer.normalizer
    if isinstance(normalizer, BertNormalizer):
        for name, value in _settings(folder).items():
            setattr(normalizer, name, value)
        tokenizer.normalizer = normalizer
    if (folder / "vocab.txt").is_file():
        known = tokenizer.get_vocab()
        for token, index in _vocabulary(folder).items():
            if known.get(token, index) != index:
                raise UnusableInputError(
                    f"{folder}: {token!r} is {known[token]} in tokenizer.json and {index} in"
                    " vocab.txt: delete the one that is not the model's"
                )
    return tokenizer


def _vocabulary(folder: Path) -> dict[str, int]:
    """Return ``vocab.txt``, token to line number (the last line wins, as in transformers)."""
    path = folder / "vocab.txt"
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise UnusableInputError(f"{path} cannot be read: {_line(error)}") from None
    if lines[-1] == "":
        lines.pop()
    return {line.removesuffix("\r"): index for index, line in enumerate(lines)}


def _wordpiece_tokenizer(folder: Path) -> Tokenizer:
    from tokenizers import AddedToken, Tokenizer, decoders
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import BertProcessing

    known = _vocabulary(folder)
    special = (vocabulary.PAD, vocabulary.UNK, vocabulary.CLS, vocabulary.SEP, vocabulary.MASK)
    for token in special:
        if token not in known:
            raise UnusableInputError(
                f"{folder / 'vocab.txt'} has no {token}: copy the model's own vocab.txt there"
            )
    tokenizer = Tokenizer(WordPiece(known, unk_token=vocabulary.UNK))
    tokenizer.normalizer = BertNormalizer(**{"lowercase": True, **_settings(folder)})
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = BertProcessing(
        (vocabulary.SEP, known[vocabulary.SEP]), (vocabulary.CLS, known[vocabulary.CLS])
    )
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tokenizer


def _require_matching(tokenizer: Tokenizer, config: Mapping[str, Any], folder: Path) -> None:
    """Raise UnusableInputError if the tokenizer's ids cannot be the model's."""
    rows = _geometry(config, str(folder)).vocabulary
    ids = tokenizer.get_vocab()
    advice = "copy the model's own tokenizer files there"
    if MASK not in ids:
        raise UnusableInputError(f"{folder}: the tokenizer has no {MASK}: {advice}")
    token, highest = max(ids.items(), key=lambda item: item[1])
    if highest >= rows:
        raise UnusableInputError(
            f"{folder}: the tokenizer's {token!r} has id {highest}, the model has {rows} tokens:"
            f" {advice}"
        )
    if len(ids) < TOKENIZER_SHARE * rows:
        raise UnusableInputError(
            f"{folder}: the tokenizer has {len(ids)} tokens, the model {rows}: {advice}"
        )
    pad = config.get("pad_token_id", 0)
    if pad is not None and ids.get(vocabulary.PAD, pad) != pad:
        raise UnusableInputError(
            f"{folder}: [PAD] is {ids[vocabulary.PAD]} for the tokenizer, {pad} for the model:"
            f" {advice}"
        )
    framed = tokenizer.encode(MASK).tokens
    if framed != [vocabulary.CLS, MASK, vocabulary.SEP]:
        raise UnusableInputError(
            f"{folder}: the tokenizer makes {' '.join(framed)} of {MASK}, not"
            f" [CLS] {MASK} [SEP]: {advice}"
        )
