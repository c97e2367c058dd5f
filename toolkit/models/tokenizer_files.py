"""The files over which a model's tokenizer is spread, read and written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UnusableInputError
from ..files import read_json, read_text, write_json, write_text
from .headers import line_of
from .layout import ADDED, SETTINGS, SPECIAL, TOKENIZERS
from .tokens import CLS, MASK, PAD, SEP, UNK, special_tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SAVED, VOCABULARY = TOKENIZERS
WORDPIECE = "WordPiece"
CASE = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")  # true or false
UNUSED = (
    "chat_template", "gguf_file", "init_inputs", "model_max_length", "name_or_path",
    "special_tokens_map_file", "tokenizer_file", "tokenizer_object", "vocab_file",
)  # fmt: skip
"""Settings that do not change how text is cut; some lead to other files than the folder's."""


@dataclass(frozen=True)
class TokenizerFiles:
    """What the files of a folder say of its tokenizer; None and empty: there is no such file.

    ``saved`` is the text of ``tokenizer.json``, ``model`` the kind of vocabulary it has (that of
    ``vocab.txt`` is WordPiece).  ``vocabulary`` has the lines of ``vocab.txt``, ``added`` the words
    of ``added_tokens.json`` with their ids, ``settings`` and ``special`` the contents of
    ``tokenizer_config.json`` and ``special_tokens_map.json``.
    """

    folder: Path
    saved: str | None
    model: str
    vocabulary: Sequence[str] | None
    added: Mapping[str, int]
    settings: Mapping[str, Any]
    special: Mapping[str, Any]

    def lines(self) -> dict[str, int]:
        """Return ``vocab.txt`` as a mapping from token to id: its line, counted from 0.

        If a token is there twice, the last line counts, as in transformers.  A blank line is no
        token, but counts.
        """
        lines = {token: index for index, token in enumerate(self.vocabulary or ())}
        lines.pop("", None)
        return lines

    def words(self) -> Iterator[tuple[str, str, int]]:
        """Yield every added token: the file that names it, the token, its id."""
        for token, index in self.added.items():
            yield ADDED, token, index
        for index, entry in dict(self.settings.get("added_tokens_decoder") or {}).items():
            yield SETTINGS, entry["content"], int(index)

    def copy_to(self, folder: Path) -> None:
        """Write the files into an empty folder: what was read, and nothing else."""
        if self.saved is not None:
            write_text(folder / SAVED, self.saved)
        if self.vocabulary is not None:
            write_text(folder / VOCABULARY, "".join(f"{token}\n" for token in self.vocabulary))
        for name, content in ((ADDED, self.added), (SPECIAL, self.special)):
            if content:
                write_json(folder / name, content)
        kept = {k: _typed(k, v) for k, v in self.settings.items() if k not in UNUSED}
        if kept:
            write_json(folder / SETTINGS, kept)


def _typed(name: str, value: Any) -> Any:
    """Return a setting; a special token given as an object says so, or AutoTokenizer fails."""
    if name.endswith("_token") and isinstance(value, dict) and "content" in value:
        return {"__type": "AddedToken", **value}
    return value


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """Return what a folder's files say of its tokenizer.

    Raises UnusableInputError if there are none, or if they cannot be read or contradict each other.
    """
    saved = (folder / SAVED).is_file()
    if not saved and not (folder / VOCABULARY).is_file():
        raise UnusableInputError(
            f"{folder} has no tokenizer: copy the model's {' or '.join(TOKENIZERS)} there"
        )
    tokenizer = read_saved(folder / SAVED) if saved else None
    files = TokenizerFiles(
        folder,
        read_text(folder / SAVED) if saved else None,
        type(tokenizer.model).__name__ if tokenizer else WORDPIECE,
        _vocabulary(folder / VOCABULARY) if (folder / VOCABULARY).is_file() else None,
        _json_object(folder / ADDED),
        _json_object(folder / SETTINGS),
        _json_object(folder / SPECIAL),
    )
    _require_settings(files)
    if tokenizer:
        _require_one_vocabulary(files, tokenizer)
    else:
        _require_special_tokens(files)
    return files


def read_saved(path: Path) -> Tokenizer:
    """Return the tokenizer of a ``tokenizer.json``; UnusableInputError if it cannot be read."""
    from tokenizers import Tokenizer

    text = read_text(path)
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception
        raise UnusableInputError(f"{path} is not a readable tokenizer: {line_of(error)}") from error


def _vocabulary(path: Path) -> list[str]:
    """Return the lines of ``vocab.txt`` without white space at their ends or blank last lines."""
    lines = [line.rstrip() for line in read_text(path).split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _json_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise UnusableInputError(f"{path} is no JSON object: save the tokenizer again")
    return content


def _require_settings(files: TokenizerFiles) -> None:
    settings, path = files.settings, files.folder / SETTINGS
    if settings.get("auto_map"):
        raise UnusableInputError(f"{path} has auto_map, code of its own, which is never run")
    if settings.get("fast_tokenizer_files"):
        raise UnusableInputError(
            f"{path} has fast_tokenizer_files, tokenizers for versions of transformers: name a"
            f" folder with one {SAVED}"
        )
    for name in CASE:
        value = settings.get(name, False)
        if not isinstance(value, bool) and (name, value) != ("strip_accents", None):
            raise UnusableInputError(f"{path}: {name} is {value!r}, not true or false")
    for token, index in files.added.items():
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise UnusableInputError(f"{files.folder / ADDED}: {token!r} is {index!r}, not an id")
    try:
        wrong = any(not isinstance(token, str) for _, token, _ in files.words())
    except (AttributeError, KeyError, TypeError, ValueError):
        wrong = True
    if wrong:
        raise UnusableInputError(
            f"{path}: added_tokens_decoder has to name ids with tokens: save the tokenizer again"
        )


def _require_special_tokens(files: TokenizerFiles) -> None:
    known = {*files.lines(), *(token for _, token, _ in files.words())}
    for token in (PAD, UNK, CLS, SEP, MASK):
        if token not in known:
            raise UnusableInputError(
                f"{files.folder / VOCABULARY} has no {token}: copy the model's own vocab.txt there"
            )


def _require_one_vocabulary(files: TokenizerFiles, tokenizer: Tokenizer) -> None:
    known = tokenizer.get_vocab()
    for token, index in files.lines().items():
        if known.get(token, index) != index:
            raise UnusableInputError(
                f"{files.folder}: {token!r} is {known[token]} in {SAVED} and {index} in"
                f" {VOCABULARY}: delete the one that is not the model's"
            )


def write_tokenizer(
    folder: Path, tokenizer: Tokenizer, positions: int, inputs: Sequence[str]
) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json`` of a variant's folder."""
    write_text(folder / SAVED, tokenizer.to_str(pretty=True))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": positions,
        "model_input_names": list(inputs),
        **special_tokens(tokenizer.get_vocab()),
    }
    write_json(folder / SETTINGS, config)
