"""Read the tokenizer files of a model's folder and check them against its configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UnusableInputError
from ..files import read_json, write_json, write_text
from . import layout
from .checkpoints import line_of
from .families import geometry
from .tokens import CLS, MASK, PAD, SEP, UNK, keep_whole, reads_unknown, special_tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER_SHARE = 0.9  # a tokenizer with fewer tokens (share of the model's) is another model's


def read_tokenizer(folder: Path) -> Tokenizer:
    """Return a folder's tokenizer: its ``tokenizer.json``, else one built from ``vocab.txt``.

    For letter case, accents and Chinese characters ``tokenizer_config.json`` overrides
    ``tokenizer.json``, as in transformers.  Raises UnusableInputError if it cannot be read.
    """
    if (folder / "tokenizer.json").is_file():
        tokenizer = _saved_tokenizer(folder)
    elif (folder / "vocab.txt").is_file():
        tokenizer = _wordpiece_tokenizer(folder)
    else:
        raise UnusableInputError(
            f"{folder} has no tokenizer: copy the model's {' or '.join(layout.TOKENIZERS)} there"
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    keep_whole(tokenizer)
    if not reads_unknown(tokenizer):
        raise UnusableInputError(
            f"{folder}: the tokenizer has no {UNK}, so rare characters stop it: copy the model's"
            " own tokenizer files there"
        )
    return tokenizer


def _settings(folder: Path) -> dict[str, Any]:
    """Return the settings of the BERT normalizer that ``tokenizer_config.json`` contains."""
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
        raise UnusableInputError(f"{path} is not a readable tokenizer: {line_of(error)}") from error
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
    """Return ``vocab.txt`` as a mapping from token to line number.

    If a token is there twice, the last line counts, as in transformers.
    """
    path = folder / "vocab.txt"
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise UnusableInputError(f"{path} cannot be read: {line_of(error)}") from None
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
    special = (PAD, UNK, CLS, SEP, MASK)
    for token in special:
        if token not in known:
            raise UnusableInputError(
                f"{folder / 'vocab.txt'} has no {token}: copy the model's own vocab.txt there"
            )
    tokenizer = Tokenizer(WordPiece(known, unk_token=UNK))
    tokenizer.normalizer = BertNormalizer(**{"lowercase": True, **_settings(folder)})
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = BertProcessing((SEP, known[SEP]), (CLS, known[CLS]))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tokenizer


def write_tokenizer(
    folder: Path, tokenizer: Tokenizer, positions: int, inputs: Sequence[str]
) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json`` of a variant's folder."""
    write_text(folder / "tokenizer.json", tokenizer.to_str(pretty=True))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": positions,
        "model_input_names": list(inputs),
        **special_tokens(tokenizer.get_vocab()),
    }
    write_json(folder / "tokenizer_config.json", config)


def require_matching(tokenizer: Tokenizer, config: Mapping[str, Any], folder: Path) -> None:
    """Raise UnusableInputError if the tokenizer cannot be the model's, by its ids and tokens."""
    rows = geometry(config, str(folder)).vocabulary
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
    filler = special_tokens(ids).get("pad_token")
    if pad is not None and filler and ids[filler] != pad:
        raise UnusableInputError(
            f"{folder}: {filler} is {ids[filler]} for the tokenizer, {pad} for the model: {advice}"
        )
    framed = tokenizer.encode(MASK).tokens
    if framed != [CLS, MASK, SEP]:
        raise UnusableInputError(
            f"{folder}: the tokenizer makes {' '.join(framed)} of {MASK}, not"
            f" [CLS] {MASK} [SEP]: {advice}"
        )
