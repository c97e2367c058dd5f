"""The PyTorch engine, in eager mode.  In float32 on the CPU it is the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForMaskedLM, PreTrainedModel

from ..errors import UnusableInputError
from ..machine import usable_cores
from ..models.checkpoints import quiet_loading
from ..models.families import family
from .kinds import Threads, VariantFiles
from .predictor import Engine, Logits
from .text import Batch, Ids

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def open_engine(files: VariantFiles, threads: Threads) -> Engine:
    """Return the engine of a variant; raises as :class:`TorchEngine` does."""
    return TorchEngine(files.folder, threads.each, files.precision, files.device)


@torch.inference_mode()
def logits_of(network: PreTrainedModel, batch: Batch, inputs: Sequence[str]) -> Logits:
    """Return a network's float32 logits at every mask, of shape (masks, vocabulary).

    ``inputs`` names the arrays of the batch that the network takes.
    """

    def on_device(values: Ids) -> torch.Tensor:
        return torch.from_numpy(values).to(network.device)

    full = network(**{name: on_device(getattr(batch, name)) for name in inputs}).logits
    picked = full[on_device(batch.rows), on_device(batch.columns)]
    logits: Logits = np.asarray(picked.float().cpu().numpy())
    return logits


def _require_complete(report: Mapping[str, Any], folder: Path) -> None:
    """Raise UnusableInputError if transformers made up a weight, or left one out."""
    for key, words in (
        ("missing_keys", "lacks"),
        ("mismatched_keys", "has another shape for"),
        ("unexpected_keys", "has no use for"),
    ):
        if names := sorted(str(name) for name in report[key]):
            raise UnusableInputError(
                f"{folder} {words} {names[0]}"
                + (f" and {len(names) - 1} more" if len(names) > 1 else "")
                + ": build the variant again"
            )


class TorchEngine(Engine):
    """Runs a folder with config.json and model.safetensors as transformers' model.

    Args:
        folder: the variant folder.
        threads: threads for one call (0: all cores this process may use).
        precision: the precision of weights and arithmetic: ``fp32``, ``bf16`` or ``fp16``.
        device: ``cpu`` or ``cuda``.

    Raises UnusableInputError if the folder cannot be loaded.

    """

    def __init__(
        self, folder: Path, threads: int = 0, precision: str = "fp32", device: str = "cpu"
    ) -> None:
        torch.set_num_threads(threads or usable_cores())
        try:
            with quiet_loading():
                loaded: Any = AutoModelForMaskedLM.from_pretrained(
                    folder,
                    local_files_only=True,
                    use_safetensors=True,
                    dtype=DTYPES[precision],
                    output_loading_info=True,
                )
            network, report = loaded
            self._network: PreTrainedModel = network.eval().to(device)
        except Exception as error:  # the library raises many types
            raise UnusableInputError(
                f"PyTorch cannot load {folder}: {str(error).splitlines()[0]}"
            ) from None
        _require_complete(report, folder)
        self._inputs = family(self._network.config.to_dict(), str(folder)).inputs

    def logits(self, batch: Batch) -> Logits:
        """Return float32 logits of shape (masks, vocabulary)."""
        return logits_of(self._network, batch, self._inputs)
