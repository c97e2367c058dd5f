"""What a user brings: an ONNX file, its tokenizer, and the promise it must keep."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import UnusableInputError
from .recipes import Promise, read_recipes

USUAL_PROMISE = "onnx-int8"  # its promise applies if a model is named but no promise


@dataclass(frozen=True)
class Offer:
    """An ONNX file and the folder of its tokenizer.

    ``output`` is the name of the output with the scores (empty: ``logits``, or the only one).
    ``promise`` is what the variant must keep; None: the promise of the last time, if the file was
    brought before.
    """

    onnx: Path
    tokenizer: Path
    promise: Promise | None = field(default_factory=Promise)
    output: str = ""


def read_offer(onnx: Path | None, tokenizer: Path | None, output: str = "") -> Offer | None:
    """Return what ``--onnx``, ``--tokenizer`` and ``--output`` name, None if none is given.

    Its promise stays that of the last time.  Raises UnusableInputError if a file or a tokenizer is
    given without the other.
    """
    if onnx is None and tokenizer is None:
        if output:
            raise UnusableInputError("--output names an output of --onnx: name the file as well")
        return None
    if onnx is None or tokenizer is None:
        raise UnusableInputError("--onnx FILE and --tokenizer DIR go together: name both")
    return Offer(onnx, tokenizer, None, output)


def read_promised_offer(
    onnx: Path | None,
    tokenizer: Path | None,
    model: str,
    promise: str,
    hit_at_5: float | None,
    own_recipes: Path | None = None,
    output: str = "",
) -> Offer | None:
    """Return the file that is brought with the promise it must keep, None if no file is.

    The promise is that of the recipe named by ``promise``.  Without ``model`` there is no
    reference, so only ``hit_at_5`` can be promised.  Raises UnusableInputError for options that do
    not go together.
    """
    offer = read_offer(onnx, tokenizer, output)
    if offer is None:
        if promise or hit_at_5 is not None:
            raise UnusableInputError("--promise and --hit-at-5 go with --onnx: recipes promise")
        return None
    if promise and not model:
        raise UnusableInputError("--promise compares with a model's reference: name it by --model")
    required = Promise()
    if model:
        (recipe,) = read_recipes([promise or USUAL_PROMISE], own_recipes)
        required = recipe.promise
    return replace(offer, promise=replace(required, hit_at_5=hit_at_5 or required.hit_at_5))
