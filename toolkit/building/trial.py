"""Try out an ONNX file that a user brings: it must fill blanks with its tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engines.predictor import Logits
from ..engines.text import TextEncoder
from ..errors import UnusableInputError
from ..files import sha256
from ..models.auto_tokenizer import TOKENIZER_SHARE
from .manifest import ALONE
from .offer import Offer
from .onnx_file import OnnxFile

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ..engines.onnx_engine import OnnxEngine

# The effect on a blank of words after it, over that of words before it.  Less: not a masked LM.
BLIND = 0.02
CAVEAT = "One ONNX file, brought by its owner and compared with no reference."
CAVEAT_ZH = "一个自带的 ONNX 文件，没有与任何参考模型比较。"


@dataclass(frozen=True)
class Guest:
    """A user's file that is tried out before it becomes a variant."""

    offer: Offer
    file: OnnxFile
    engine: OnnxEngine
    positions: int

    def try_out(self, tokenizer: Tokenizer) -> int:
        """Return the width of the output; raise UnusableInputError if it cannot fill blanks."""
        encoder = TextEncoder(tokenizer, self.positions)
        ordinary = sorted(set(tokenizer.get_vocab().values()))
        one, other = ordinary[len(ordinary) // 2], ordinary[len(ordinary) // 3]
        width = self._mask_logits(encoder, [encoder.mask_id]).shape[-1]
        self._require_width(tokenizer, width)
        self._require_sight(encoder, one, other)
        frame = tokenizer.num_special_tokens_to_add(False)
        self._mask_logits(encoder, [encoder.mask_id, *[one] * (self.positions - frame - 1)])
        return int(width)

    def _mask_logits(self, encoder: TextEncoder, ids: list[int]) -> Logits:
        """Return the logits at the one [MASK] of a sentence of ids."""
        sentence = encoder.framed(ids)
        try:
            logits: Logits = self.engine.logits(encoder.batch([sentence]))[0]
        except UnusableInputError:
            raise
        except Exception as error:  # the library's errors share no public base class
            line = " ".join(str(error).split())[:300]
            raise UnusableInputError(
                f"{self.offer.onnx} cannot run a sentence of {len(sentence)} tokens (the limit"
                f" that is declared is {self.positions}): {line}"
            ) from None
        return logits

    def _require_width(self, tokenizer: Tokenizer, width: int) -> None:
        ids = tokenizer.get_vocab()
        token, highest = max(ids.items(), key=lambda item: item[1])
        if highest >= width or len(ids) < TOKENIZER_SHARE * width:
            raise UnusableInputError(
                f"{self.offer.onnx} gives {width} scores a token, the tokenizer of"
                f" {self.offer.tokenizer} has {len(ids)} tokens (the last: {token!r}, {highest}):"
                " name the model's own tokenizer"
            )

    def _require_sight(self, encoder: TextEncoder, one: int, other: int) -> None:
        """Raise UnusableInputError if words after a blank change nothing, as in a decoder."""
        mask, many = [encoder.mask_id], 6

        def change(before: bool) -> float:
            logits = [
                self._mask_logits(encoder, [word] * many + mask if before else mask + [word] * many)
                for word in (one, other)
            ]
            return float(np.abs(logits[0] - logits[1]).max())

        if change(before=False) <= BLIND * change(before=True):
            raise UnusableInputError(
                f"{self.offer.onnx} does not look at the words after a blank: it is a decoder, or"
                " lacks its attention; name a masked language model"
            )

    def model(self, name: str, config: Mapping[str, Any], width: int) -> dict[str, Any]:
        """Return the manifest's facts of a model of which only this file is known."""
        sizes = {
            "layers": "num_hidden_layers",
            "hidden": "hidden_size",
            "heads": "num_attention_heads",
            "intermediate": "intermediate_size",
        }
        known = {ours: config[theirs] for ours, theirs in sizes.items() if theirs in config}
        return {
            "name": name,
            "title": f"{self.file.name} ({name})",
            "source": ALONE,
            "revision": sha256(self.file.files[self.file.name]),
            "parameters": self.file.parameters,
            **known,
            "vocabulary": width,
            "positions": self.positions,
            "caveat": CAVEAT,
            "caveat_zh": CAVEAT_ZH,
        }
