"""An ONNX masked language model that a user brings: an Optimum export, a hub file, their own.

The file is inspected, tried out, and copied with its tokenizer into a variant folder.  Then gate,
server, sweep and report treat it as any other variant.  The file is not changed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import say
from ..engines.kinds import ONNXRUNTIME
from ..errors import UnusableInputError
from ..files import (
    artifacts,
    folder_written_whole,
    read_json,
    require_disk,
    require_memory,
    sha256,
    write_json,
)
from ..machine import fingerprint, versions
from ..models.auto_tokenizer import read_tokenizer
from ..models.source import printable
from ..models.tokenizer_files import TokenizerFiles, read_tokenizer_files, write_tokenizer
from ..models.tokens import MASK
from .folders import Built, brought_folder, brought_folder_before
from .manifest import Manifest, read_manifest, record_files, write_manifest
from .offer import Offer
from .onnx_file import OnnxFile, read_onnx_file
from .recipes import DEPENDENT, INDEPENDENT, OWN, Promise, Recipe
from .trial import Guest

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ..engines.onnx_engine import OnnxEngine

FOLDER = "onnx"
NO_LIMIT = 1_000_000  # model_max_length of a tokenizer without a limit is larger
# Ends of the model types whose positions start after the id of the padding token.
FROM_PADDING = ("roberta", "camembert", "bertweet", "mpnet", "longformer")
MEMORY_COPIES = 3  # the file as read, the session's weights, their packed copies


def bring(
    offer: Offer,
    model: str = "",
    reference: Callable[[], Manifest | None] = lambda: None,
) -> Built:
    """Make a variant of a user's file, or return the one made before of the same files.

    ``model`` is the model it will be compared with (empty: none).  ``reference`` returns the
    manifest of that model's reference variant.  It may have to build that variant, so it is called
    only after the file has been read.  Raises UnusableInputError for a file or tokenizer that
    cannot be used, or if the two do not belong together.
    """
    texts = _tokenizer_files(offer.tokenizer)
    file = read_onnx_file(offer.onnx)
    config = _config(offer)
    name = variant_name(offer.onnx)
    folder = brought_folder(offer, model, name)
    before = brought_folder_before(offer, model, name)
    made = folder.exists() or before.exists()
    # A server that finds the variant made needs no transformers, which reads the tokenizer.
    tokenizer = None if made else _tokenizer(offer.tokenizer, config)
    standard = reference()
    sources = _digest(offer, file, texts, config, standard)
    for there in (folder, before):
        if existing := _existing(there, sources):
            return Built(there, _with_promise(there, existing, offer.promise), skipped=True)
    if offer.promise is None:
        offer = replace(offer, promise=_last_promise(folder, before))
    tokenizer = tokenizer or _tokenizer(offer.tokenizer, config)
    model = model or printable(offer.tokenizer.resolve().name)
    size = sum(path.stat().st_size for path in file.files.values())
    require_disk(artifacts(), size, f"copying {offer.onnx}")
    require_memory(MEMORY_COPIES * size, f"trying {offer.onnx}")
    with folder_written_whole(folder) as place:
        copied = _copy(file, place, offer.output)
        engine = _engine(place / copied, offer.onnx)
        _require_plain_positions(engine, config, offer.onnx)
        guest = Guest(offer, file, engine, _positions(offer, config, file, engine.tokens))
        width = guest.try_out(tokenizer)
        write_tokenizer(place, tokenizer, guest.positions, engine.tokenizer_inputs)
        sizes = {"max_position_embeddings": guest.positions}
        write_json(place / "config.json", {"vocab_size": width, **config, **sizes})
        manifest = Manifest(
            variant=name,
            model=standard.model if standard else guest.model(model, config, width),
            recipe=_recipe(name, copied, file, offer),
            files=record_files(place),
            versions=versions(),
            machine=fingerprint(),
            built=datetime.now(UTC).isoformat(timespec="seconds"),
            notes=_notes(offer, file, sources),
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


def _tokenizer_files(folder: Path) -> TokenizerFiles:
    if not folder.is_dir():
        raise UnusableInputError(
            f"{folder} is no folder: --tokenizer names the folder with tokenizer.json or vocab.txt"
        )
    return read_tokenizer_files(folder)


def _tokenizer(folder: Path, config: Mapping[str, Any]) -> Tokenizer:
    tokenizer = read_tokenizer(folder, config, lambda line: say(f"{folder}: {line}"))
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


def _digest(
    offer: Offer,
    file: OnnxFile,
    texts: TokenizerFiles,
    config: Mapping[str, Any],
    reference: Manifest | None,
) -> str:
    """Return one SHA-256 over everything that the variant is made from."""
    parts = {
        "files": {name: sha256(path) for name, path in file.files.items()},
        "tokenizer": {**asdict(texts), "folder": None},
        "limit": _tokenizer_limit(offer.tokenizer),
        "config": dict(config),
        "model": None if reference is None else [dict(reference.model), reference.digest],
        "tiankong": versions().get("tiankong"),
        **({"output": offer.output} if offer.output else {}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _existing(folder: Path, sources: str) -> Manifest | None:
    try:
        manifest = read_manifest(folder)
        manifest.verify(folder)
    except UnusableInputError:
        return None
    return manifest if manifest.notes.get("sources") == sources else None


def _last_promise(*folders: Path) -> Promise | None:
    """Return what the variant promised that was made of earlier files, if there is one."""
    for folder in folders:
        with suppress(UnusableInputError):
            return read_manifest(folder).recipe.promise
    return None


def _with_promise(folder: Path, manifest: Manifest, promise: Promise | None) -> Manifest:
    """Return the manifest with a promise; a new promise removes the result of the gate."""
    if promise is None or manifest.recipe.promise == promise:
        return manifest
    changed = replace(manifest, recipe=replace(manifest.recipe, promise=promise), gate=None)
    write_manifest(folder, changed)
    return changed


def _copy(file: OnnxFile, place: Path, output: str) -> str:
    """Copy a file and its weights; with ``output``, the copy has no output but this one."""
    for name, path in file.files.items():
        target = place / FOLDER / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    if output:
        _keep_output(place / FOLDER / file.name, output, file.files[file.name])
    return f"{FOLDER}/{file.name}"


def _keep_output(path: Path, output: str, named: Path) -> None:
    """Take all outputs but one off a graph: ONNX Runtime then computes only what it needs."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    outputs = {value.name: value for value in model.graph.output}
    if output not in outputs:
        raise UnusableInputError(
            f"{named} has no output {output!r}: --output names one of {', '.join(outputs)}"
        )
    kept = onnx.ValueInfoProto.FromString(outputs[output].SerializeToString())
    del model.graph.output[:]
    model.graph.output.append(kept)
    onnx.save(model, str(path))


def _require_plain_positions(engine: OnnxEngine, config: Mapping[str, Any], named: Path) -> None:
    """Raise UnusableInputError for a graph that is given positions which do not start at 0."""
    kind = config.get("model_type")
    if "position_ids" in engine.inputs and isinstance(kind, str) and kind.endswith(FROM_PADDING):
        raise UnusableInputError(
            f"{named} takes position_ids, which a {kind} counts from pad_token_id + 1: export it"
            " without that input"
        )


def _engine(path: Path, named: Path) -> OnnxEngine:
    """Open the copy; an error names the user's file, not the copy."""
    from ..engines.onnx_engine import OnnxEngine

    try:
        return OnnxEngine(path)
    except UnusableInputError as error:
        raise UnusableInputError(str(error).replace(str(path), str(named))) from None


def _tokenizer_limit(folder: Path) -> int | None:
    path = folder / "tokenizer_config.json"
    limit = read_json(path).get("model_max_length") if path.is_file() else None
    return int(limit) if isinstance(limit, (int, float)) and 0 < limit < NO_LIMIT else None


def _positions(offer: Offer, config: Mapping[str, Any], file: OnnxFile, fixed: int | None) -> int:
    """Return how many tokens a sentence may have: the smallest limit that is known."""
    limits = [config.get("max_position_embeddings"), _tokenizer_limit(offer.tokenizer), fixed]
    known = [limit for limit in limits if isinstance(limit, int) and limit > 0] or file.positions
    if not known:
        raise UnusableInputError(
            f"nothing says how long a sentence may be for {offer.onnx}: put its config.json, or a"
            f" tokenizer_config.json with model_max_length, into {offer.tokenizer}"
        )
    return min(known)


def _recipe(name: str, copied: str, file: OnnxFile, offer: Offer) -> Recipe:
    digest = sha256(file.files[file.name])
    summary = f"brought: {file.name}, SHA-256 {digest[:12]}"
    batch = DEPENDENT if file.dynamic else INDEPENDENT
    return Recipe(
        name, summary, ONNXRUNTIME.name, copied, (), offer.promise or Promise(), batch=batch
    )


def _notes(offer: Offer, file: OnnxFile, sources: str) -> dict[str, str]:
    notes = {
        "file": file.name,
        "sha256": sha256(file.files[file.name]),
        "tokenizer": printable(offer.tokenizer.resolve().name),
        "sources": sources,
        **({"output": offer.output} if offer.output else {}),
    }
    if file.dynamic:
        notes["batch"] = "an answer can depend on its neighbours in a batch (dynamic scales)"
    return notes
