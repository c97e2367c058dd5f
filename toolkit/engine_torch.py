"""The PyTorch engine: eager float32, the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForMaskedLM
from transformers.utils import logging

from .errors import UnusableInputError
from .families import family
from .machine import usable_cores
from .predictor import Engine, Logits
from .text import Batch


class TorchEngine(Engine):
    """Runs a folder with config.json and model.safetensors as transformers' model.

    Args:
        folder: the variant folder.
        threads: threads for one call (0: all cores this process may use).

    Raises UnusableInputError if the folder cannot be loaded.

    """

    def __init__(self, folder: Path, threads: int = 0) -> None:
        torch.set_num_threads(threads or usable_cores())
        logging.disable_progress_bar()
        try:
            self._network = AutoModelForMaskedLM.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            ).eval()
        except Exception as error:  # the library raises many kinds
            raise UnusableInputError(
                f"PyTorch cannot load {folder}: {str(error).splitlines()[0]}"
            ) from None
        self._inputs = family(self._network.config.to_dict(), str(folder)).inputs

    @torch.inference_mode()
    def logits(self, batch: Batch) -> Logits:
        """Return float32 logits of shape (masks, vocabulary)."""
        full = self._network(
            **{name: torch.from_numpy(getattr(batch, name)) for name in self._inputs}
        ).logits
        picked = full[torch.from_numpy(batch.rows), torch.from_numpy(batch.columns)]
        logits: Logits = np.asarray(picked.float().numpy())
        return logits
