"""What a user brings: an ONNX file, its tokenizer, and the promise it is held to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import UnusableInputError
from .recipes import Promise, read_recipes

USUAL_PROMISE = "onnx-int8"  # the recipe whose promise holds where a model is named and no other is


@dataclass(frozen=True)
class Offer:
    """An ONNX file and the folder of its tokenizer.

    ``promise`` None: what the file was held to before, if it was brought before.
    """

    onnx: Path
    tokenizer: Path
    promise: Promise | None = field(default_factory=Promise)


def read_offer(onnx: Path | None, tokenizer: Path | None) -> Offer | None:
    """Return what ``--onnx`` and ``--tokenizer`` bring, None if they bring nothing.

    It is held to what it was held to before.  Raises UnusableInputError if one stands alone.
    """
    if onnx is None and tokenizer is None:
        return None
    if onnx is None or tokenizer is None:
        raise UnusableInputError("--onnx FILE and --tokenizer DIR go together: name both")
    return Offer(onnx, tokenizer, None)


def read_promised_offer(
    onnx: Path | None,
    tokenizer: Path | None,
    model: str,
    promise: str,
    hit_at_5: float | None,
    own_recipes: Path | None = None,
) -> Offer | None:
    """Return what is brought to be judged, None if nothing is.

    It is held to the promise of the recipe that ``promise`` names.  Without ``model`` there is no
    reference, and only ``hit_at_5`` can be asked for.  Raises UnusableInputError for options that
    do not go together.
    """
    offer = read_offer(onnx, tokenizer)
    if offer is None:
        if promise or hit_at_5 is not None:
            raise UnusableInputError("--promise and --hit-at-5 go with --onnx: recipes promise")
        return None
    if promise and not model:
        raise UnusableInputError("--promise compares with a model's reference: name it by --model")
    asked = Promise()
    if model:
        (recipe,) = read_recipes([promise or USUAL_PROMISE], own_recipes)
        asked = recipe.promise
    return replace(offer, promise=replace(asked, hit_at_5=hit_at_5 or asked.hit_at_5))
