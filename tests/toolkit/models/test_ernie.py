"""An ERNIE is a BERT with task embeddings: read as plain transformers reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoint_folders import (
    built,
    edit_config,
    edit_weights,
    logits,
    refused,
    remarks,
)

from tiankong.toolkit.models.loading import load_model


@pytest.fixture
def ernie(copy: Callable[[str], Path]) -> Path:
    """A folder as ERNIE 3.0 comes: random, with task embeddings that matter."""
    import torch
    from transformers import ErnieConfig, ErnieForMaskedLM

    folder = copy("bert")
    known = json.loads((folder / "config.json").read_text())
    for key in ("model_type", "architectures"):
        del known[key]
    torch.manual_seed(2)
    config = ErnieConfig(**known, use_task_id=True, task_type_vocab_size=3)
    network = ErnieForMaskedLM(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3)
    network.save_pretrained(folder)
    return folder


def test_an_ernie_answers_as_transformers_reads_it(ernie: Path) -> None:
    import torch
    from transformers import AutoModelForMaskedLM

    theirs = AutoModelForMaskedLM.from_pretrained(ernie).eval()
    assert type(theirs).__name__ == "ErnieForMaskedLM"
    ids = torch.tensor([[2, 9, 4, 30, 4, 11, 3]])
    with torch.inference_mode():
        wanted = theirs(input_ids=ids).logits
    assert float((logits(ernie) - wanted).abs().max() / wanted.std()) < 1e-5
    loaded = load_model(str(ernie))
    assert loaded.remarks == (
        "an ERNIE, read as a BERT",
        "the embedding of task 0 is added to those of the token types",
    )
    assert loaded.config["model_type"] == "bert"
    assert not {"use_task_id", "task_type_vocab_size"} & loaded.config.keys()
    assert built(ernie)["reference"] == "answers as plain transformers does (ErnieForMaskedLM)"


def test_an_ernie_without_tasks(ernie: Path) -> None:
    with_tasks = logits(ernie)
    edit_config(ernie, use_task_id=False)
    assert "the task embeddings are left out, as config.json says" in remarks(ernie)
    assert built(ernie)["reference"] == "answers as plain transformers does (ErnieForMaskedLM)"
    assert not (with_tasks == logits(ernie)).all()
    edit_config(ernie, use_task_id=None)
    assert "does not say use_task_id" in refused(ernie)
    tasks = "ernie.embeddings.task_type_embeddings.weight"
    edit_weights(ernie, lambda tensors: {n: t for n, t in tensors.items() if n != tasks})
    assert remarks(ernie) == "an ERNIE, read as a BERT"
    edit_config(ernie, use_task_id=True)
    assert "lacks bert.embeddings.task_type_embeddings.weight" in refused(ernie)
