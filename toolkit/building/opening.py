"""Open a built variant: checked against its manifest while the engine's library is imported."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ..engines.kinds import Threads, VariantFiles, all_kinds, import_engine, kind_of
from ..engines.prepared import find
from ..errors import UnusableInputError
from .manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from ..engines.predictor import Predictor
    from ..engines.text import TextEncoder


def open_variant(
    folder: Path, threads: int = 0, *, spin: bool = False, share: bool = False, cores: int = 0
) -> Predictor:
    """Open a built variant; its files are checked against the manifest.

    ``threads`` is the number of threads for one batch (0: all cores this process may use), ``spin``
    whether ONNX Runtime's threads spin while they wait.  With ``share``, calls that run at the same
    time share ``cores`` cores (0: all this process may use), if the engine can do that (see
    sharing.py).  Raises UnusableInputError if the folder is no variant, a file does not match, the
    variant cannot be run here, or its threads cannot spin; NotPreparedError (``share`` only) if
    packed weights cannot be stored.
    """
    manifest = read_manifest(folder)
    recipe = manifest.recipe
    kind = kind_of(recipe.engine)
    share = share and kind.shares_cores
    with ThreadPoolExecutor(1) as background:  # hashing releases the GIL
        lookup = background.submit(find, manifest.digest, kind.distributions[0]) if share else None
        checked = background.submit(_checked_encoder, folder, manifest)
        from .availability import require

        require(recipe)
        module = import_engine(kind)
        kept = lookup.result() if lookup else None
        if not (kept and kind.self_contained):
            checked.result()
        if spin and not (share or kind.spins):
            raise UnusableInputError(
                f"only {' or '.join(k.title for k in all_kinds().values() if k.spins)}'s threads"
                f" can spin, {manifest.variant} runs in {kind.name}: leave --spin out"
            )
        files = VariantFiles(
            folder, recipe.file, manifest.digest, recipe.precision, recipe.device, kept
        )
        engine = module.open_engine(files, Threads(threads, spin, share, cores))
        encoder = checked.result()
    from ..engines.predictor import Predictor

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
