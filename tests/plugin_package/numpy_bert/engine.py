"""A BERT in NumPy: short, exact and slow."""

import json

import numpy as np
from safetensors.numpy import load_file

from tiankong.toolkit.engines.predictor import Engine
from tiankong.toolkit.errors import UnusableInputError


def open_engine(files, threads):
    """Return the engine of a variant; NumPy's threads are not ours to set."""
    try:
        return NumpyBert(json.loads((files.folder / "config.json").read_text()), files.path)
    except (OSError, ValueError, KeyError) as error:
        raise UnusableInputError(f"NumPy cannot run {files.path}: {error!r}") from None


class NumpyBert(Engine):
    """Computes a BERT in float32, as its paper has it, and its head where a [MASK] is."""

    def __init__(self, config, path):
        self.weights = {n.removeprefix("bert."): w for n, w in load_file(path).items()}
        self.layers, self.heads = config["num_hidden_layers"], config["num_attention_heads"]
        self.epsilon = config["layer_norm_eps"]
        self.words = self.weights["embeddings.word_embeddings.weight"]

    def logits(self, batch):
        place = np.arange(batch.input_ids.shape[1])
        hidden = self.words[batch.input_ids]
        hidden = hidden + self.weights["embeddings.position_embeddings.weight"][place]
        hidden += self.weights["embeddings.token_type_embeddings.weight"][batch.token_type_ids]
        hidden = self.norm("embeddings", hidden)
        unseen = np.where(batch.attention_mask, 0.0, -1e9).astype(np.float32)[:, None, None, :]
        for number in range(self.layers):
            hidden = self.layer(f"encoder.layer.{number}", hidden, unseen)
        asked = hidden[batch.rows, batch.columns]
        asked = gelu(self.dense("cls.predictions.transform.dense", asked))
        asked = self.norm("cls.predictions.transform", asked)
        return asked @ self.words.T + self.weights["cls.predictions.bias"]

    def layer(self, name, hidden, unseen):
        query, key, value = (
            self.split(self.dense(f"{name}.attention.self.{part}", hidden))
            for part in ("query", "key", "value")
        )
        scores = query @ key.swapaxes(-1, -2) / np.sqrt(np.float32(query.shape[-1])) + unseen
        seen = np.exp(scores - scores.max(axis=-1, keepdims=True))
        seen /= seen.sum(axis=-1, keepdims=True)
        context = (seen @ value).swapaxes(1, 2).reshape(hidden.shape)
        hidden = hidden + self.dense(f"{name}.attention.output.dense", context)
        hidden = self.norm(f"{name}.attention.output", hidden)
        inner = gelu(self.dense(f"{name}.intermediate.dense", hidden))
        return self.norm(f"{name}.output", hidden + self.dense(f"{name}.output.dense", inner))

    def split(self, values):
        sentences, tokens, width = values.shape
        apart = values.reshape(sentences, tokens, self.heads, width // self.heads)
        return apart.swapaxes(1, 2)

    def dense(self, name, values):
        return values @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, name, values):
        centred = values - values.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.epsilon)
        weight, bias = (self.weights[f"{name}.LayerNorm.{part}"] for part in ("weight", "bias"))
        return centred / spread * weight + bias


def gelu(values):
    return values * (1 + erf(values / np.float32(np.sqrt(2)))) / 2


def erf(values):
    """Return the error function within 1.5e-7 (Abramowitz and Stegun, 7.1.26)."""
    t = 1 / (1 + np.float32(0.3275911) * np.abs(values))
    series = ((1.061405429 * t - 1.453152027) * t + 1.421413741) * t
    series = ((series - 0.284496736) * t + 0.254829592) * t
    return np.sign(values) * (1 - series * np.exp(-(values**2)))
