"""Whether a variant cuts sentences into the reference's tokens: no precision excuses another."""

from __future__ import annotations

from collections.abc import Iterable

from .text import TextEncoder, TextError

UNKNOWN = "[UNK]"


def difference(ours: TextEncoder, theirs: TextEncoder, texts: Iterable[str]) -> str:
    """Return in what way ``ours`` is not the reference's tokenizer; empty if it is the same.

    The vocabularies have to be equal.  A pruned one, which says so by being smaller, may read
    ``[UNK]`` where the reference has a token that was pruned.
    """
    mine, reference = ours.vocabulary, theirs.vocabulary
    pruned = len(mine) < len(reference)
    if not pruned and mine != reference:
        token, number = min(mine.items() - reference.items(), key=lambda item: item[1])
        return f"token {token!r} has the id {number}, not {reference.get(token)}"
    for text in texts:
        given, right = _tokens(ours, text), _tokens(theirs, text)
        if pruned:
            right = [token if token in mine else UNKNOWN for token in right]
        if given != right:
            return f"{text!r} reads {' '.join(given)}, not {' '.join(right)}"
    return ""


def _tokens(encoder: TextEncoder, text: str) -> list[str]:
    try:
        return [encoder.token(token_id) for token_id in encoder.encode(text)]
    except TextError as error:
        return [f"({error})"]
