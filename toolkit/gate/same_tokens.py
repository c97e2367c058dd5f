"""Whether a variant's tokenizer is the reference's: in every precision it has to be the same."""

from __future__ import annotations

from collections.abc import Iterable

from ..engines.text import TextEncoder, TextError


def difference(ours: TextEncoder, right: TextEncoder, texts: Iterable[str]) -> str:
    """Return how ``ours`` differs from the ``right`` tokenizer, or an empty string.

    The vocabularies have to be equal, and every text has to give the same tokens.  (For a variant
    with a pruned vocabulary the right one is the reference's, pruned in the same way.)
    """
    mine, reference = ours.vocabulary, right.vocabulary
    if mine != reference:
        token, _ = min(mine.items() ^ reference.items(), key=lambda item: item[1])
        return f"token {token!r} has the id {mine.get(token)}, not {reference.get(token)}"
    for text in texts:
        given, expected = _tokens(ours, text), _tokens(right, text)
        if given != expected:
            return f"{text!r} reads {' '.join(given)}, not {' '.join(expected)}"
    return ""


def _tokens(encoder: TextEncoder, text: str) -> list[str]:
    try:
        return [encoder.token(token_id) for token_id in encoder.encode(text)]
    except TextError as error:
        return [f"({error})"]
