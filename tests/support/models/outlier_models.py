"""The built-in model with channels 10 times as large, and 40 away from zero, after every LayerNorm.

Trained BERTs have such channels.  Nearly all answers stay without training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tiankong.bench.proof.outliers import enlarge
from tiankong.toolkit.building.calibration import read_calibration
from tiankong.toolkit.engines.text import TextEncoder
from tiankong.toolkit.models.loading import load_model
from tiankong.toolkit.models.tokenizer_files import write_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import BertForMaskedLM

FACTOR, OFFSET, CHANNELS = 10.0, 40.0, 1


def save_large_channels(folder: Path) -> Path:
    """Save the built-in model with large channels in the layout of the hub."""
    loaded = load_model("builtin-small")
    encoder = TextEncoder(loaded.tokenizer, loaded.info.positions)
    network = cast("BertForMaskedLM", loaded.network)
    enlarge(network, read_calibration().encode(encoder), FACTOR, OFFSET, CHANNELS)
    folder.mkdir(parents=True)
    network.save_pretrained(folder)
    inputs = ("input_ids", "attention_mask", "token_type_ids")
    write_tokenizer(folder, loaded.tokenizer, loaded.info.positions, inputs)
    return folder
