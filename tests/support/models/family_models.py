"""Small random models of every family, and folders of them in the layout of the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KINDS = ("bert", "distilbert", "albert", "electra")
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def random_network(kind: str, vocabulary: int = 300, layers: int = 3, **more: Any) -> Any:
    """Return a random network of a family, 128 wide, biases included, in evaluation mode.

    ALBERT and ELECTRA have embeddings 64 wide.
    """
    import torch
    import transformers

    sizes: dict[str, Any] = {
        "vocab_size": vocabulary, "hidden_size": 128, "num_hidden_layers": layers,
        "num_attention_heads": 2, "intermediate_size": 256, "initializer_range": 0.12,
        "attn_implementation": "eager",
    }  # fmt: skip
    if kind in ("albert", "electra"):
        sizes["embedding_size"] = 64
    if kind == "distilbert":
        short = {"hidden_size": "dim", "num_hidden_layers": "n_layers",
                 "num_attention_heads": "n_heads", "intermediate_size": "hidden_dim"}  # fmt: skip
        sizes = {short.get(name, name): size for name, size in sizes.items()}
    spelled = {"bert": "Bert", "distilbert": "DistilBert", "albert": "Albert", "electra": "Electra"}
    configuration = getattr(transformers, f"{spelled[kind]}Config")(**{**sizes, **more})
    torch.manual_seed(3)
    network: PreTrainedModel = getattr(transformers, f"{spelled[kind]}ForMaskedLM")(configuration)
    with torch.no_grad():  # biases are zero at first: a lost one would not be noticed
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.2)
    return network.eval()


def characters() -> list[str]:
    """Return every character of the calibration sentences and of the built-in gold set."""
    from tiankong.toolkit.building.calibration import SHIPPED
    from tiankong.toolkit.gate.gold import read_gold

    texts = [SHIPPED.read_text(encoding="utf-8"), *read_gold().texts()]
    return sorted({c.lower() for text in texts for c in text.replace("[MASK]", "") if c.strip()})


def save_family_model(folder: Path, kind: str, **more: Any) -> Path:
    """Save a random model of a family with a tokenizer whose tokens are :func:`characters`."""
    tokens = [*SPECIALS, *characters()]
    random_network(kind, len(tokens), **more).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    settings = {"do_lower_case": True, "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder
