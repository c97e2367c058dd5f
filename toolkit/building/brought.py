"""An ONNX masked language model somebody brings: an Optimum export, a file of the hub, one's own.

The file is looked at, tried out, and copied with its tokenizer into a variant folder, so that gate,
server, sweep and report treat it as any other variant.  Nothing is changed in it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engines.text import MASK
from ..errors import UnusableInputError
from ..files import (
    artifacts,
    folder_written_whole,
    read_json,
    require_disk,
    require_memory,
    sha256,
    write_text,
)
from ..machine import fingerprint, versions
from ..models.tokenizer_files import read_tokenizer
from .folders import Built, variant_folder
from .manifest import OWN, Manifest, read_manifest, record_files, write_manifest
from .onnx_file import OnnxFile, read_onnx_file
from .recipes import DEPENDENT, INDEPENDENT, REFERENCE, SHIPPED, Promise, Recipe, read_recipes
from .store import at_hand, at_hand_named
from .trial import Guest, Offer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ..engines.onnx_engine import OnnxEngine

FOLDER = "onnx"
USUAL_PROMISE = "onnx-int8"  # the recipe whose promise holds where a model is named and no other is
NO_LIMIT = 1_000_000  # a tokenizer that knows no longest sentence says a larger number
MEMORY_COPIES = 3  # the file read, the session's weights, the copies it packs


def read_offer(
    onnx: Path | None, tokenizer: Path | None, model: str, promise: str, hit_at_5: float | None
) -> Offer | None:
    """Return what the command line's options bring, None if they bring nothing.

    ``promise`` names the recipe whose promise is asked for.  Raises UnusableInputError for options
    that do not go together.
    """
    if onnx is None or tokenizer is None:
        if onnx or tokenizer:
            raise UnusableInputError("--onnx FILE and --tokenizer DIR go together: name both")
        if promise or hit_at_5 is not None:
            raise UnusableInputError("--promise and --hit-at-5 go with --onnx: recipes promise")
        return None
    if promise and not model:
        raise UnusableInputError("--promise compares with a model's reference: name it by --model")
    asked = Promise()
    if model:
        (recipe,) = read_recipes([promise or USUAL_PROMISE])
        asked = recipe.promise
    return Offer(onnx, tokenizer, model, replace(asked, hit_at_5=hit_at_5 or asked.hit_at_5))


def bring(offer: Offer) -> Built:
    """Make a variant of what is brought; one made before of the same files is kept.

    Raises UnusableInputError, in one line, for a file or tokenizer that cannot be used, or that do
    not belong together.
    """
    tokenizer = _tokenizer(offer.tokenizer)
    found = read_onnx_file(offer.onnx)
    config = _config(offer)
    reference = _reference_model(offer.model)
    sources = _digest(offer, found, tokenizer, config, reference)
    name = variant_name(offer.onnx)
    model = offer.model or offer.tokenizer.resolve().name
    folder = variant_folder(model, name)
    if standing := _standing(folder, sources):
        return Built(folder, _held_to(folder, standing, offer.promise), skipped=True)
    size = sum(path.stat().st_size for path in found.files.values())
    require_disk(artifacts(), size, f"copying {offer.onnx}")
    require_memory(MEMORY_COPIES * size, f"trying {offer.onnx}")
    with folder_written_whole(folder) as place:
        file = _copy(found, place)
        engine = _engine(place / file, offer.onnx)
        guest = Guest(offer, found, engine, _positions(offer, config, found, engine.tokens))
        width = guest.try_out(tokenizer)
        _write_words(place, tokenizer, config, guest.positions, width, engine.inputs)
        manifest = Manifest(
            variant=name,
            model=reference or guest.model(model, config, width, tokenizer),
            recipe=_recipe(name, file, found, offer),
            files=record_files(place),
            versions=versions(),
            machine=fingerprint(),
            built=datetime.now(UTC).isoformat(timespec="seconds"),
            notes=_notes(offer, found, sources),
        )
        write_manifest(place, manifest)
    return Built(folder, manifest, skipped=False)


def variant_name(onnx: Path) -> str:
    """Return the name of the variant a file becomes: ``own-`` and the file's name.

    >>> variant_name(Path("/somewhere/onnx/Model_INT8.onnx"))
    'own-model-int8'
    """
    slug = re.sub(r"[^a-z0-9]+", "-", onnx.stem.lower()).strip("-")
    return f"{OWN}{slug or 'model'}"[:41].rstrip("-")


def _tokenizer(folder: Path) -> Tokenizer:
    if not folder.is_dir():
        raise UnusableInputError(
            f"{folder} is no folder: --tokenizer names the folder with tokenizer.json or vocab.txt"
        )
    tokenizer = read_tokenizer(folder)
    if tokenizer.token_to_id(MASK) is None:
        raise UnusableInputError(
            f"{folder}: the tokenizer has no {MASK}: it is not that of a masked language model"
        )
    return tokenizer


def _config(offer: Offer) -> dict[str, Any]:
    """Return the first ``config.json`` beside the tokenizer or the file; empty if there is none."""
    beside = offer.onnx.parent
    folders = [offer.tokenizer, beside, *([beside.parent] if beside.name == FOLDER else [])]
    for folder in folders:
        path = folder / "config.json"
        if path.is_file():
            config = read_json(path)
            if not isinstance(config, dict):
                raise UnusableInputError(f"{path} is no JSON object: save the model again")
            if config.get("is_decoder"):
                raise UnusableInputError(
                    f"{path} has is_decoder, so it sees only the words before a blank: name an"
                    " encoder"
                )
            return config
    return {}


def _reference_model(model: str) -> Mapping[str, Any] | None:
    """Return what the reference's manifest says of the model (it is built if it is not there)."""
    if not model:
        return None
    (reference,) = at_hand(model, read_recipes([REFERENCE]))
    return reference.manifest.model


def _digest(
    offer: Offer,
    found: OnnxFile,
    tokenizer: Tokenizer,
    config: Mapping[str, Any],
    reference: Mapping[str, Any] | None,
) -> str:
    """Return one SHA-256 over all that the variant is made of."""
    parts = {
        "files": {name: sha256(path) for name, path in found.files.items()},
        "tokenizer": tokenizer.to_str(),
        "limit": _tokenizer_limit(offer.tokenizer),
        "config": dict(config),
        "model": reference,
        "tiankong": versions().get("tiankong"),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _standing(folder: Path, sources: str) -> Manifest | None:
    try:
        manifest = read_manifest(folder)
        manifest.verify(folder)
    except UnusableInputError:
        return None
    return manifest if manifest.notes.get("sources") == sources else None


def _held_to(folder: Path, standing: Manifest, promise: Promise | None) -> Manifest:
    """Return the manifest with a promise; a gate's result under another one does not stand."""
    if promise is None or standing.recipe.promise == promise:
        return standing
    changed = replace(standing, recipe=replace(standing.recipe, promise=promise), gate=None)
    write_manifest(folder, changed)
    return changed


def _copy(found: OnnxFile, place: Path) -> str:
    for name, path in found.files.items():
        target = place / FOLDER / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return f"{FOLDER}/{found.name}"


def _engine(path: Path, named: Path) -> OnnxEngine:
    """Open the copy; what is wrong with it is said of the file the user named."""
    from ..engines.onnx_engine import OnnxEngine

    try:
        return OnnxEngine(path)
    except UnusableInputError as error:
        raise UnusableInputError(str(error).replace(str(path), str(named))) from None


def _tokenizer_limit(folder: Path) -> int | None:
    path = folder / "tokenizer_config.json"
    limit = read_json(path).get("model_max_length") if path.is_file() else None
    return int(limit) if isinstance(limit, (int, float)) and 0 < limit < NO_LIMIT else None


def _positions(offer: Offer, config: Mapping[str, Any], found: OnnxFile, fixed: int | None) -> int:
    """Return how many tokens a sentence may have: the least of what is said anywhere."""
    told = [config.get("max_position_embeddings"), _tokenizer_limit(offer.tokenizer), fixed]
    known = [limit for limit in told if isinstance(limit, int) and limit > 0] or found.positions
    if not known:
        raise UnusableInputError(
            f"nothing says how long a sentence may be for {offer.onnx}: put its config.json, or a"
            f" tokenizer_config.json with model_max_length, into {offer.tokenizer}"
        )
    return min(known)


def _recipe(name: str, file: str, found: OnnxFile, offer: Offer) -> Recipe:
    digest = sha256(found.files[found.name])
    summary = f"brought: {found.name}, SHA-256 {digest[:12]}"
    batch = DEPENDENT if found.dynamic else INDEPENDENT
    return Recipe(name, summary, "onnxruntime", file, (), offer.promise or Promise(), batch=batch)


def _notes(offer: Offer, found: OnnxFile, sources: str) -> dict[str, str]:
    notes = {
        "file": found.name,
        "sha256": sha256(found.files[found.name]),
        "tokenizer": offer.tokenizer.resolve().name,
        "sources": sources,
    }
    if found.dynamic:
        notes["batch"] = "an answer can depend on its neighbours in a batch (dynamic scales)"
    return notes


def _write_words(
    place: Path,
    tokenizer: Tokenizer,
    config: Mapping[str, Any],
    positions: int,
    width: int,
    inputs: list[str],
) -> None:
    """Write tokenizer and configuration as every variant folder has them."""
    write_text(place / "tokenizer.json", tokenizer.to_str(pretty=True))
    specials = {f"{n}_token": f"[{n.upper()}]" for n in ("unk", "sep", "pad", "cls", "mask")}
    words = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": positions,
        "model_input_names": inputs,
        **{key: word for key, word in specials.items() if tokenizer.token_to_id(word) is not None},
    }
    whole = {"vocab_size": width, **config, "max_position_embeddings": positions}
    for name, data in (("tokenizer_config.json", words), ("config.json", whole)):
        write_text(place / name, json.dumps(data, ensure_ascii=False, indent=2) + "\n")


def at_hand_offered(offer: Offer, names: Sequence[str]) -> tuple[str, list[Built]]:
    """Return a model's name and its variants: what is brought, and those named beside it.

    What is brought without a model has that of its tokenizer's folder as name.
    """
    if names and not offer.model:
        raise UnusableInputError("--variants beside --onnx are a model's: name it by --model")
    brought = bring(offer)
    beside = at_hand_named(offer.model, names) if names else []
    return offer.model or brought.folder.parent.name, [brought, *beside]


def named_or_brought(model: str, variant: str, onnx: Path | None, tokenizer: Path | None) -> Built:
    """Return the variant named (default: the shipped one), or what a file brought becomes."""
    from .availability import choose
    from .store import to_open

    if onnx or tokenizer:
        offer = read_offer(onnx, tokenizer, "", "", None)
        if offer and variant:
            raise UnusableInputError(f"--onnx brings a variant of its own: leave out {variant}")
        if offer:
            return bring(replace(offer, promise=None))
    (built,) = to_open(model, choose([variant or SHIPPED]).recipes)
    return built
