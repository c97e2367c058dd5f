"""The workshop: makes the variants of one loaded model."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engines.text import TextEncoder, TextError
from ..errors import BrokenVariantError
from ..files import folder_written_whole, give_memory_back, package_path, write_json
from ..machine import fingerprint, versions
from ..models.families import family
from ..models.info import LoadedModel
from .folders import Built
from .manifest import Manifest, record_files, write_manifest
from .opening import open_variant
from .recipes import Recipe

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

    from ..graphs.steps import Origin

CALIBRATION = package_path("toolkit/building/calibration.txt")  # no sentence of the gold sets
PROBES = ("[MASK]", "今天天气真[MASK]啊。")


@dataclass(frozen=True)
class _Source:
    """A model's tokenizer and configuration; ``kept``: the ids that a pruned vocabulary keeps."""

    tokenizer: Tokenizer
    config: dict[str, Any]
    positions: int
    kept: Sequence[int] = ()

    def pruned(self) -> _Source:
        from ..graphs import pruning

        kept = pruning.kept_ids(self.tokenizer)
        tokenizer = pruning.prune_tokenizer(self.tokenizer, kept)
        config = pruning.prune_config(self.config, kept)
        return _Source(tokenizer, config, self.positions, kept)

    def origin(self) -> Origin:
        from ..graphs.steps import Origin

        encoder = TextEncoder(self.tokenizer, self.positions)
        batches = [encoder.batch([ids]) for ids in calibration(encoder)]
        return Origin(self.config, encoder.mask_id, batches, self.kept)


class Workshop:
    """Makes variants of one loaded model; graphs that recipes share are made once."""

    def __init__(self, loaded: LoadedModel, scratch: Path, step: Callable[[str], None]) -> None:
        self._loaded = loaded
        self._scratch = scratch
        self._step = step
        self._made: dict[tuple[str, ...], Path] = {}

    def build(self, recipe: Recipe, folder: Path) -> Built:
        """Make one variant, written whole or not at all, and ask it something."""
        source = self._source(recipe.steps)
        with folder_written_whole(folder) as place:
            _write_tokenizer(place, source)
            target = place / recipe.file
            target.parent.mkdir(parents=True, exist_ok=True)
            if recipe.engine == "pytorch":
                self._step(f"{recipe.name}: write weights")
                _write_weights(self._loaded.network, place, recipe.precision)
            elif recipe.engine == "openvino":
                self._openvino(recipe, target)
            else:
                shutil.copyfile(self._graph(recipe.steps, recipe.name), target)
            write_json(place / "config.json", source.config)
            manifest = self._manifest(recipe, place, source)
            write_manifest(place, manifest)
            self._step(f"{recipe.name}: verify")
            _verify(place)
        return Built(folder, manifest, skipped=False)

    def _graph(self, steps: tuple[str, ...], variant: str) -> Path:
        """Return the file that a chain of steps makes, from the longest part already made."""
        from ..graphs import steps as graphs

        if steps in self._made:
            return self._made[steps]
        target = self._scratch / f"{'-'.join(steps)}.onnx"
        if len(steps) == 1:
            self._step(f"{variant}: export")
            graphs.export(self._loaded.network, target)
        else:
            # Changes of one graph in memory are made together: a file is 400 MB.
            last = list(takewhile(lambda step: step in graphs.REWRITES, reversed(steps)))[::-1]
            last = last or [steps[-1]]
            source = self._graph(steps[: -len(last)], variant)
            for step in last:
                self._step(f"{variant}: {step}")
            graphs.make(source, target, last, self._source(steps).origin())
        self._made[steps] = target
        give_memory_back()
        return target

    def _source(self, steps: Sequence[str]) -> _Source:
        """Return the model as the last of some steps sees it."""
        loaded = self._loaded
        whole = _Source(loaded.tokenizer, loaded.config, loaded.info.positions)
        return whole.pruned() if "prune-vocabulary" in steps else whole

    def _openvino(self, recipe: Recipe, target: Path) -> None:
        """Write an OpenVINO model; the float32 one that recipes share is converted once."""
        from ..graphs import conversion

        plain = self._scratch / "openvino_model.xml"
        batches = self._source(()).origin().calibration
        if not plain.exists():
            self._step(f"{recipe.name}: export")
            conversion.convert(self._loaded.network, plain, batches[0])
        last = recipe.steps[-1]
        self._step(f"{recipe.name}: {last}")
        if last == "int8-static":
            conversion.quantize(plain, target, batches)
        elif last == "fp16":
            conversion.store_half(plain, target)
        else:
            for suffix in (".xml", ".bin"):
                shutil.copyfile(plain.with_suffix(suffix), target.with_suffix(suffix))

    def _manifest(self, recipe: Recipe, folder: Path, source: _Source) -> Manifest:
        notes = {}
        if "int8-dynamic" in recipe.steps:
            notes["batch"] = "an answer can depend on its neighbours in a batch (dynamic scales)"
        if "int8-static" in recipe.steps:
            notes["batch"] = "an answer does not depend on its neighbours in a batch (fixed scales)"
        if source.kept:
            whole = int(self._loaded.config["vocab_size"])
            notes["vocabulary"] = (
                f"{len(source.kept)} of {whole} tokens: Latin words and numbers are spelled"
                " character by character, and what was left out is no answer"
            )
        return Manifest(
            variant=recipe.name,
            model=self._loaded.info.as_json(),
            recipe=recipe,
            files=record_files(folder),
            versions=versions(),
            machine=fingerprint(),
            built=datetime.now(UTC).isoformat(timespec="seconds"),
            notes=notes,
        )


def _write_tokenizer(folder: Path, source: _Source) -> None:
    source.tokenizer.save(str(folder / "tokenizer.json"))
    known = source.tokenizer.get_vocab()
    specials: dict[str, str] = {}
    for name in ("unk", "sep", "pad", "cls", "mask"):
        spelled = (f"[{name.upper()}]", f"<{name}>")  # SentencePiece's own are the second
        specials |= {f"{name}_token": token for token in spelled[::-1] if token in known}
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": source.positions,
            "model_input_names": list(family(source.config).inputs),
            **specials,
        },
    )


def calibration(encoder: TextEncoder) -> Iterator[list[int]]:
    """Yield the ids of the calibration sentences, without those a small model cannot be asked."""
    for text in CALIBRATION.read_text(encoding="utf-8").splitlines():
        with suppress(TextError):
            yield encoder.encode(text)


def _write_weights(network: PreTrainedModel, folder: Path, precision: str) -> None:
    from transformers.utils import logging

    from ..engines.torch_engine import DTYPES

    logging.disable_progress_bar()  # ours is on the screen already
    kind = DTYPES[precision]
    if network.dtype == kind:
        network.save_pretrained(folder)
    else:  # other recipes need the network as it is
        rounded: Any = copy.deepcopy(network)
        rounded.to(kind).save_pretrained(folder)


def _verify(folder: Path) -> None:
    """Open what was written, by its digests, and ask it something."""
    predictor = open_variant(folder)
    for probe in PROBES:
        (answer,) = predictor.predict([probe])
        if len(answer[0]) != 5:
            raise BrokenVariantError(f"{predictor.name} does not answer {probe!r}")
