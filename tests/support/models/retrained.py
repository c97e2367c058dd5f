"""Models trained further in place, and what plain transformers answers with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

TEXT = "床前明月光疑是地[MASK]霜。"


def retrain(folder: Path, seed: int) -> None:
    """Give a model other weights; size, time and names of its files stay the same."""
    import torch
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    before = path.stat()
    chance = torch.Generator().manual_seed(seed)
    tensors = {n: t + torch.randn(t.shape, generator=chance) for n, t in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def answers_of(folder: Path) -> list[tuple[str, float]]:
    """Return what plain transformers answers with the model of a folder."""
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval()
    ids = tokenizer(TEXT, return_tensors="pt")
    with torch.no_grad():
        (scores,) = network(**ids).logits.softmax(-1)[ids["input_ids"] == tokenizer.mask_token_id]
    best = scores.topk(5)
    tokens = tokenizer.convert_ids_to_tokens(best.indices.tolist())
    return list(zip(tokens, best.values.tolist(), strict=True))


def assert_answers(printed: str, folder: Path) -> None:
    """Check that ``predict`` printed the answers of a folder's model as it is now."""
    rows = [line.split("\t") for line in printed.splitlines()]
    right = answers_of(folder)
    assert [token for token, _ in rows] == [token for token, _ in right]
    assert [float(score) for _, score in rows] == pytest.approx([s for _, s in right], abs=1e-4)
