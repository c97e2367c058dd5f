"""Broken promises: the gate's sentences about them, taken apart so that any language can say them.

A run file holds each as an English sentence (toolkit/gate/judging.py).  A sentence that is not
known here, of another version or of a gate's error, stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

NUMBER = r"[\d.e+-]+"
AGAINST = r"(?P<reference>\S+)"
SEEN, PROMISED = rf"(?P<seen>{NUMBER})", rf"(?P<promised>{NUMBER})"
SENTENCES = {
    "top1": f"same top-1 as {AGAINST} on {SEEN}%, promised {PROMISED}%",
    "order": f"same top-5 in the same order on {SEEN}%, promised {PROMISED}%",
    "top5": f"same top-5 on {SEEN}%, promised {PROMISED}%",
    "delta": f"probabilities differ by {SEEN}, promised {PROMISED}",
    "lost": f"hit@5 is {SEEN}% against (?P<theirs>{NUMBER})%, promised at most {PROMISED}% less",
    "hits": f"hit@5 is {SEEN}%, promised at least {PROMISED}%",
    "mean": f"answers diverge from {AGAINST} by {SEEN} nats on average, promised {PROMISED}",
    "worst": f"the answer to (?P<item>.+) diverges from {AGAINST} by {SEEN} nats,"
    f" promised {PROMISED}",
    "batch": "answers depend on the batch, and the recipe does not say so: (?P<items>.*)"
    rf" \(by up to {SEEN}\)",
    "scores": f"scores of (?P<item>.+) are no probabilities: they add up to {SEEN}",
    "numbers": r"(?P<variant>\S+) gives scores that are not numbers",
    "tokenizer": f"its tokenizer is not {AGAINST}'s: (?P<difference>.+)",
}
PATTERNS = {code: re.compile(pattern) for code, pattern in SENTENCES.items()}


@dataclass(frozen=True)
class BrokenPromise:
    """A sentence of the gate, which promise it is about ("" if unknown), and its figures."""

    sentence: str
    code: str = ""
    values: Mapping[str, str] | None = None


def broken_promise(sentence: str) -> BrokenPromise:
    """Take a sentence apart.

    >>> broken_promise("same top-5 on 75.0%, promised 99.0%").values
    {'seen': '75.0', 'promised': '99.0'}
    """
    for code, pattern in PATTERNS.items():
        if found := pattern.fullmatch(sentence):
            return BrokenPromise(sentence, code, found.groupdict())
    return BrokenPromise(sentence)
