"""Open a built variant: checked against its manifest while the engine's library is imported."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ..engines.kinds import SELF_CONTAINED, SHARED, import_engine
from ..engines.prepared import find
from ..errors import UnusableInputError
from .manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from ..engines.predictor import Engine, Predictor
    from ..engines.text import TextEncoder


def open_variant(
    folder: Path, threads: int = 0, *, spin: bool = False, share: bool = False, cores: int = 0
) -> Predictor:
    """Open a built variant, its files checked against the manifest first.

    ``threads`` is the number of threads for one batch (0: all cores this process may use), ``spin``
    whether ONNX Runtime's threads spin while they wait, ``share`` whether batches at the same time
    share the cores where the engine can do that (see sharing.py), ``cores`` how many these are (0:
    all this process may use).  Raises UnusableInputError if the folder is no variant, a file does
    not match, it cannot be run here, or its threads cannot spin; NotPreparedError (``share`` only)
    if packed weights cannot be kept.
    """
    manifest = read_manifest(folder)
    library = manifest.recipe.engine
    share = share and library in SHARED
    with ThreadPoolExecutor(1) as beside:  # hashing leaves the interpreter to the others
        found = beside.submit(find, manifest.digest, library) if share else None
        checked = beside.submit(_checked_encoder, folder, manifest)
        from .availability import require

        require(manifest.recipe)
        import_engine(library)
        kept = found.result() if found else None
        if not (kept and library in SELF_CONTAINED):
            checked.result()
        engine = (
            _sharing(folder, manifest, kept, cores)
            if share
            else _engine(folder, manifest, threads, spin)
        )
        encoder = checked.result()
    from ..engines.predictor import Predictor

    recipe = manifest.recipe
    return Predictor(
        manifest.variant, encoder, engine, manifest.mates, recipe.pad_to, manifest.expected
    )


def _checked_encoder(folder: Path, manifest: Manifest) -> TextEncoder:
    manifest.verify(folder)
    from ..engines.text import TextEncoder

    return TextEncoder.from_folder(folder, max_tokens=_positions(folder))


def _positions(folder: Path) -> int:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return int(config["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnusableInputError(f"{folder / 'config.json'} is unusable: {error!r}") from None


def _sharing(folder: Path, manifest: Manifest, kept: Path | None, cores: int) -> Engine:
    recipe, path = manifest.recipe, folder / manifest.recipe.file
    if recipe.engine == "openvino":
        from ..engines import openvino_engine

        return openvino_engine.sharing_engine(path, manifest.digest, recipe.precision, kept, cores)
    from ..engines import onnx_engine

    return onnx_engine.sharing_engine(path, manifest.digest, kept, cores)


def _engine(folder: Path, manifest: Manifest, threads: int, spin: bool) -> Engine:
    if spin and manifest.recipe.engine != "onnxruntime":
        raise UnusableInputError(
            f"only ONNX Runtime's threads can spin, {manifest.variant} runs in"
            f" {manifest.recipe.engine}: leave --spin out"
        )
    match manifest.recipe.engine:
        case "onnxruntime":
            from ..engines.onnx_engine import OnnxEngine

            return OnnxEngine(folder / manifest.recipe.file, threads, spin=spin)
        case "pytorch":
            from ..engines.torch_engine import TorchEngine

            return TorchEngine(folder, threads, manifest.recipe.precision, manifest.recipe.device)
        case "openvino":
            from ..engines.openvino_engine import OpenvinoEngine

            recipe = manifest.recipe
            return OpenvinoEngine(folder / recipe.file, threads, recipe.precision)
        case other:
            raise UnusableInputError(f"{folder}: this version has no engine {other!r}")
