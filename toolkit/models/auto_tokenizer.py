"""The tokenizer that ``transformers.AutoTokenizer`` makes of a model's files, and the proof.

Public checkpoints spread a tokenizer over up to five files, and which of them counts for what is
decided by AutoTokenizer.  So the tokenizer that is served is the one AutoTokenizer makes, written
out and read back by the tokenizers library alone, and held to AutoTokenizer's ids on hard
sentences.  Nothing is fetched, and no code of a model is run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UnusableInputError
from ..files import write_json
from .families import geometry
from .hard_sentences import around, difference
from .headers import line_of
from .layout import SETTINGS
from .tokenizer_files import (
    CASE,
    SAVED,
    VOCABULARY,
    WORDPIECE,
    TokenizerFiles,
    read_saved,
    read_tokenizer_files,
)
from .tokens import CLS, MASK, SEP, UNK, keep_whole, reads_unknown, special_tokens
from .tying import Remark

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER_SHARE = 0.9  # a tokenizer with fewer tokens (share of the model's) is another model's
BERT, AS_SAVED = "BertTokenizer", "PreTrainedTokenizerFast"
PASSED_OVER: dict[str, tuple[object, ...]] = {
    "do_basic_tokenize": (True,),
    "never_split": (None, []),
    "word_tokenizer_type": ("basic",),
    "subword_tokenizer_type": ("wordpiece",),
}
"""Settings that the classes AutoTokenizer makes have no use for, with their usual values."""
LONGEST = 200  # characters shown of another library's error


def read_tokenizer(
    folder: Path, config: Mapping[str, Any] | None = None, remark: Remark = lambda line: None
) -> Tokenizer:
    """Return a folder's tokenizer, which cuts every sentence as ``transformers.AutoTokenizer``.

    ``config`` is the model's ``config.json``, if there is one.  ``remark`` is called with a few
    words about what is unusual.  Raises UnusableInputError, in one line, if AutoTokenizer makes no
    tokenizer of the tokenizers library of these files, or one that leaves out what they say.
    """
    files = read_tokenizer_files(folder)
    judge = _judge(files, config or {}, remark)
    if judge.mask_token and judge.mask_token != MASK:
        raise UnusableInputError(
            f"{folder}: the tokenizer has no {MASK}: its mask is {judge.mask_token!r}, which"
            " cannot be asked for"
        )
    keep_whole(judge.backend_tokenizer)
    tokenizer = _read_back(judge.backend_tokenizer)
    if not reads_unknown(tokenizer):
        raise UnusableInputError(
            f"{folder}: the tokenizer has no {UNK}, so rare characters stop it: copy the model's"
            " own tokenizer files there"
        )
    _require_added(files, tokenizer)
    added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    if differs := difference(tokenizer, judge, around(added)):
        raise UnusableInputError(f"{folder}: {differs}: save the tokenizer again")
    _remark_on_saved(files, judge, remark)
    return tokenizer


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
    framed = tokenizer.encode(MASK).tokens
    if framed != [CLS, MASK, SEP]:
        raise UnusableInputError(
            f"{folder}: the tokenizer makes {' '.join(framed)} of {MASK}, not"
            f" [CLS] {MASK} [SEP]: {advice}"
        )


def _judge(files: TokenizerFiles, config: Mapping[str, Any], remark: Remark) -> Any:
    """Return what AutoTokenizer makes of the files.

    A folder without ``config.json`` and ``tokenizer_class`` is not enough for it: ``vocab.txt`` is
    then read as BERT's, ``tokenizer.json`` as it was saved.  For a ``model_type`` whose usual class
    cannot read a WordPiece vocabulary (ALBERT's) it makes a tokenizer of five tokens without a
    word, so that vocabulary is read as BERT's too, as the cards of such models advise.
    """
    kind = config.get("model_type")
    named = files.settings.get("tokenizer_class") or config.get("tokenizer_class")
    if named is None and kind is None:
        as_bert = files.saved is None or any(name in files.settings for name in CASE)
        named = BERT if as_bert else AS_SAVED
    elif named is None and files.model == WORDPIECE:
        try:
            return _auto_tokenizer(files, kind, None)
        except UnusableInputError:
            judge = _auto_tokenizer(files, "bert", BERT)
            remark(f"its tokenizer is read as BERT's: that of model_type {kind} cannot read it")
            return judge
    return _auto_tokenizer(files, kind, named)


def _auto_tokenizer(files: TokenizerFiles, kind: object, named: object) -> Any:
    """Return AutoTokenizer's tokenizer for a ``model_type`` and a ``tokenizer_class``."""
    who = f"tokenizer_class {named}" if named else f"model_type {kind}"
    folder = files.folder
    with tempfile.TemporaryDirectory(prefix="tiankong-") as place, _quiet() as transformers:
        files.copy_to(Path(place))
        write_json(Path(place) / "config.json", {"model_type": kind, "tokenizer_class": named})
        try:
            judge = transformers.AutoTokenizer.from_pretrained(
                place, trust_remote_code=False, local_files_only=True
            )
        except ImportError:  # of what cuts Japanese, for example
            judge = None
        except Exception as error:  # whatever its classes raise for files they cannot read
            raise UnusableInputError(
                f"{folder}: transformers' AutoTokenizer ({who}) cannot read the tokenizer:"
                f" {line_of(error)[:LONGEST]}"
            ) from error
    backend = getattr(judge, "backend_tokenizer", None)
    if backend is None:
        raise UnusableInputError(
            f"{folder}: {who} is no tokenizer of the tokenizers library, which is all that is"
            " served: name a model whose tokenizer is"
        )
    model = type(backend.model).__name__
    known = backend.get_vocab()
    lines = files.lines().items() if files.saved is None else ()
    if model != files.model or any(known.get(token) != index for token, index in lines):
        source = VOCABULARY if files.saved is None else SAVED
        raise UnusableInputError(
            f"{folder}: {who} does not read {source}, whose vocabulary is {files.model}: let"
            f" {SETTINGS} name the class that the model was trained with"
        )
    return judge


@contextmanager
def _quiet() -> Iterator[Any]:
    """Yield transformers, which says nothing about the classes it chooses meanwhile."""
    import transformers

    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        yield transformers
    finally:
        transformers.logging.set_verbosity(before)


def _read_back(backend: Tokenizer) -> Tokenizer:
    """Return a tokenizer as it will be read from its file, without padding and truncation."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(backend.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _require_added(files: TokenizerFiles, tokenizer: Tokenizer) -> None:
    """Raise UnusableInputError unless every added token has the id that its file gives it.

    AutoTokenizer numbers added tokens in their order, whatever ids the files name, and makes up
    special tokens that its class or a file names and no vocabulary has.
    """
    known = tokenizer.get_vocab()
    there = {*files.lines(), *(token for _, token, _ in files.words())}
    there |= read_saved(files.folder / SAVED).get_vocab().keys() if files.saved else set()
    for token in special_tokens(known).values():
        if token not in there:
            raise UnusableInputError(
                f"{files.folder}: the tokenizer has no {token}: copy the model's own tokenizer"
                " files there"
            )
    for name, token, index in files.words():
        if known.get(token) != index:
            raise UnusableInputError(
                f"{files.folder / name}: {token!r} has the id {index}, AutoTokenizer gives it"
                f" {known.get(token)}: save the tokenizer again"
            )


def _remark_on_saved(files: TokenizerFiles, judge: Any, remark: Remark) -> None:
    """Say it if ``tokenizer.json`` by itself, or a setting, wants text to be cut otherwise."""
    if files.saved is not None:
        alone = read_saved(files.folder / SAVED)
        keep_whole(alone)
        if difference(_read_back(alone), judge, around(())):
            remark(f"AutoTokenizer cuts otherwise than {SAVED} by itself, and AutoTokenizer counts")
    for name, usual in PASSED_OVER.items():
        if files.settings.get(name, usual[0]) not in usual:
            remark(f"{SETTINGS} has {name}, which AutoTokenizer passes over")
