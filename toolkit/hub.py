"""Models from a hub (huggingface.co, or the mirror ``HF_ENDPOINT`` names), pinned and verified.

A branch is resolved to its commit before anything is fetched; every file is held to the checksum
the hub states; a branch's name in the cache moves only when its snapshot is whole.  Without a
network the cached snapshot is used, and one line says so.  The environment (``HF_ENDPOINT``,
``HF_HOME``, ``HF_HUB_CACHE``, ``HF_HUB_OFFLINE``) is read at every call: huggingface_hub itself
reads it once, when it is imported.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .console import say
from .errors import UnusableInputError
from .files import MEBIBYTE, read_json, require_disk, sha256, write_text

PUBLIC_HUB = "https://huggingface.co"
MAIN = "main"
TIMEOUT = 10.0  # seconds the hub has to answer a question
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "vocab.txt")
FILES = ("config.json", *TOKENIZERS, "tokenizer_config.json", "special_tokens_map.json")
PICKLED = (".bin", ".h5", ".msgpack", ".ckpt", ".pt", ".pth")

_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = r"\w([\w.-]*\w)?"
_REPOSITORY = re.compile(rf"({_NAME}/)?{_NAME}", re.ASCII)  # huggingface_hub's rules
_REVISION = re.compile(r"[A-Za-z0-9][\w.+-]*(/[\w+-][\w.+-]*)*")

Progress = Callable[[int, int], None]  # bytes received, bytes in all


@dataclass(frozen=True)
class Snapshot:
    """A repository's files at one commit (40 hexadecimal digits)."""

    folder: Path
    repo_id: str
    revision: str


@dataclass(frozen=True)
class _HubFile:
    """What the hub states about one file: bytes, and the SHA-256 or the git blob id."""

    name: str
    size: int | None
    sha256: str | None
    blob: str | None


@dataclass(frozen=True)
class _Listing:
    commit: str
    files: tuple[_HubFile, ...]


class _UnreachableError(Exception):
    """The hub gave no answer, or an answer that says try later."""


def endpoint() -> str:
    """Return the hub's address (``HF_ENDPOINT``, else huggingface.co)."""
    return (os.environ.get("HF_ENDPOINT") or PUBLIC_HUB).rstrip("/")


def cache_folder() -> Path:
    """Return the cache's folder, found as huggingface_hub finds it, but at call time."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return _expanded(os.environ[name])
    if os.environ.get("HF_HOME"):
        return _expanded(os.environ["HF_HOME"]) / "hub"
    return _expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def _expanded(path: str) -> Path:
    return Path(os.path.expandvars(path)).expanduser().absolute()


def offline() -> bool:
    """Tell whether the user forbade the network (``HF_HUB_OFFLINE``, ``TRANSFORMERS_OFFLINE``)."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in {"1", "ON", "YES", "TRUE"}


def download(
    repo_id: str, revision: str | None = None, on_progress: Progress | None = None
) -> Snapshot:
    """Return a whole, verified snapshot of a repository; fetch what the cache lacks.

    Args:
        repo_id: ``organisation/name``, or ``name`` alone.
        revision: branch, tag or commit; None is ``main``.  A commit that is already cached is
            used without asking the hub.
        on_progress: called with (bytes received, bytes in all), instead of the bar on a terminal
            and the plain lines elsewhere.

    Raises UnusableInputError, with one line that says what to do, if the model cannot be had.

    """
    asked = revision or MAIN
    _require_valid(repo_id, asked)
    if _COMMIT.fullmatch(asked) and (cached := _cached(repo_id, asked)):
        return _use_cached(cached, "this commit is cached")
    if offline():
        return _from_cache(repo_id, asked, "HF_HUB_OFFLINE is set")
    try:
        listing = _listing(repo_id, asked)
    except _UnreachableError as error:
        return _from_cache(repo_id, asked, f"{endpoint()} cannot be reached ({error})")
    files = _chosen(repo_id, listing)
    snapshot = Snapshot(_storage(repo_id) / "snapshots" / listing.commit, repo_id, listing.commit)
    _fetch(snapshot, asked, files, on_progress)
    _verify(snapshot, files)
    _require_whole(snapshot)
    if asked != listing.commit:
        with suppress(OSError):  # a read-only cache
            write_text(_storage(repo_id) / "refs" / asked, listing.commit)
    return snapshot


def cached_snapshots() -> list[Snapshot]:
    """Return the whole snapshots the cache holds, sorted by name and commit; asks no network."""
    found = []
    for folder in sorted(cache_folder().glob("models--*/snapshots/*")):
        repo_id = folder.parent.parent.name.removeprefix("models--").replace("--", "/")
        if _COMMIT.fullmatch(folder.name) and not missing_files(folder):
            found.append(Snapshot(folder, repo_id, folder.name))
    return found


def missing_files(folder: Path) -> list[str]:
    """Return what a folder lacks to be a model: configuration, tokenizer, safetensors."""
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    if not any((folder / name).is_file() for name in TOKENIZERS):
        missing.append(" or ".join(TOKENIZERS))
    try:
        missing += [path.name for path in weight_files(folder) if not path.is_file()]
    except UnusableInputError:
        missing.append(INDEX)
    return missing


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder, there or not: the one file, or the index's shards.

    Raises UnusableInputError if the index cannot be read or names files elsewhere.
    """
    if (folder / WEIGHTS).is_file() or not (folder / INDEX).is_file():
        return [folder / WEIGHTS]
    data = read_json(folder / INDEX)
    shards = data.get("weight_map") if isinstance(data, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise UnusableInputError(f"{folder / INDEX} has no weight_map: save the model again")
    names = sorted(set(map(str, shards.values())))
    for name in names:
        if not re.fullmatch(r"[\w.-]+\.safetensors", name):
            raise UnusableInputError(f"{folder / INDEX} names no safetensors file: {name!r}")
    return [folder / name for name in names]


def safetensors_only(what: str, names: Iterable[str]) -> UnusableInputError:
    """Return the error for a model without safetensors, naming the pickled files it has."""
    pickled = [name for name in sorted(names) if name.endswith(PICKLED)]
    found = f", only {', '.join(pickled[:3])}" if pickled else ""
    return UnusableInputError(
        f"{what} has no {WEIGHTS}{found}: only safetensors are read (pickles can run code);"
        " name a revision that has them (the hub's converter leaves one at refs/pr/N),"
        " or convert the model and name its folder"
    )


def _require_valid(repo_id: str, revision: str) -> None:
    valid = _REPOSITORY.fullmatch(repo_id) and len(repo_id) <= 96
    if not valid or "--" in repo_id or ".." in repo_id or repo_id.endswith(".git"):
        raise UnusableInputError(
            f"{repo_id!r} is neither a folder nor a name a hub can have: write 'organisation/name'"
            " (letters, digits, '-', '_', '.'), the path of a folder, or 'builtin'"
        )
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise UnusableInputError(
            f"{revision!r} is no revision: write a branch, a tag, or a commit's 40 digits"
        )


def _storage(repo_id: str) -> Path:
    return cache_folder() / f"models--{repo_id.replace('/', '--')}"


# --- the cache ------------------------------------------------------------------------------


def _cached(repo_id: str, asked: str) -> Snapshot | None:
    """Return the cached snapshot of a revision if it is whole."""
    from huggingface_hub import snapshot_download

    commit = asked
    if not _COMMIT.fullmatch(asked):
        try:
            commit = (_storage(repo_id) / "refs" / asked).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return None
    folder = _storage(repo_id) / "snapshots" / commit
    if not _COMMIT.fullmatch(commit) or missing_files(folder):
        return None
    try:  # the library knows the commit's optional files too, where it kept the listing
        snapshot_download(
            repo_id,
            revision=commit,
            cache_dir=cache_folder(),
            allow_patterns=list(FILES),
            local_files_only=True,
        )
    except OSError:
        return None
    return Snapshot(folder, repo_id, commit)


def _from_cache(repo_id: str, asked: str, reason: str) -> Snapshot:
    cached = _cached(repo_id, asked)
    if cached is None:
        raise UnusableInputError(
            f"{repo_id} ({asked}) is not whole in the cache {cache_folder()} and {reason}:"
            " connect to the network, set HF_ENDPOINT to a mirror,"
            " or name a folder or 'builtin' as the model"
        )
    return _use_cached(cached, reason)


def _use_cached(cached: Snapshot, reason: str) -> Snapshot:
    """Verify a cached snapshot by its blobs' names, say in one line that it is used, return it."""
    links = [path for path in cached.folder.iterdir() if path.is_symlink()]
    _verify(cached, [_stated_by_name(path) for path in links])
    say(f"{reason}: using {cached.repo_id} at {cached.revision} from the cache")
    return cached


def _stated_by_name(link: Path) -> _HubFile:
    """Return the checksum in a cached file's blob name: a SHA-256, or git's blob id."""
    name = Path(os.readlink(link)).name
    sha = name if _SHA256.fullmatch(name) else None
    return _HubFile(link.name, None, sha, name if _COMMIT.fullmatch(name) else None)


# --- the hub --------------------------------------------------------------------------------


def _listing(repo_id: str, asked: str) -> _Listing:
    """Ask the hub for a revision's commit and files."""
    from huggingface_hub import HfApi

    try:
        with _quiet_library():
            info = HfApi(endpoint=endpoint()).model_info(
                repo_id, revision=asked, timeout=TIMEOUT, files_metadata=True
            )
        commit = str(info.sha)
        siblings = info.siblings or []
    except Exception as error:  # the library lets its HTTP client's errors through
        refusal = _refusal(error, repo_id, asked)
        if refusal is None:
            raise _UnreachableError(_first_line(error)) from error
        raise refusal from error
    if not _COMMIT.fullmatch(commit):
        raise UnusableInputError(
            f"{endpoint()} does not answer as a hub does (commit {commit!r}): check HF_ENDPOINT"
        )
    files = [
        _HubFile(s.rfilename, s.size, s.lfs.sha256 if s.lfs else None, None if s.lfs else s.blob_id)
        for s in siblings
    ]
    return _Listing(commit, tuple(files))


def _refusal(error: Exception, repo_id: str, asked: str) -> UnusableInputError | None:
    """Return the line for an answer that is a refusal; None if the hub could not be asked."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RevisionNotFoundError,
    )

    if not isinstance(error, HfHubHTTPError):
        return None
    status = error.response.status_code
    if isinstance(error, RevisionNotFoundError):
        return UnusableInputError(
            f"{repo_id} has no revision {asked!r}: see {endpoint()}/{repo_id}/tree/{MAIN}"
        )
    if isinstance(error, EntryNotFoundError):
        return UnusableInputError(
            f"{endpoint()} lists a file of {repo_id} that it does not serve"
            f" ({error.response.url.path}): try another revision or another HF_ENDPOINT"
        )
    if isinstance(error, GatedRepoError) or status == 403:
        return UnusableInputError(
            f"{repo_id} is gated: ask for access at {endpoint()}/{repo_id},"
            " then set HF_TOKEN to a token that has it"
        )
    if status == 401 and "credential" in str(error).lower():
        return UnusableInputError(f"{endpoint()} refuses your token: renew HF_TOKEN, or unset it")
    if status in (401, 404):
        return UnusableInputError(
            f"{repo_id} was not found at {endpoint()}, or is private: check the name,"
            " or set HF_TOKEN to a token that may read it"
        )
    if status in (408, 429) or status >= 500:
        return None
    return UnusableInputError(
        f"{endpoint()} refuses {repo_id} ({_first_line(error)}): check the name and HF_ENDPOINT"
    )


def _chosen(repo_id: str, listing: _Listing) -> list[_HubFile]:
    """Return the files to fetch; raise UnusableInputError if a model cannot be made of them."""
    names = {file.name for file in listing.files}
    what = f"{repo_id} at {listing.commit[:12]}"
    if "config.json" not in names:
        raise UnusableInputError(f"{what} has no config.json: name a BERT model of transformers")
    if WEIGHTS not in names and INDEX not in names:
        raise safetensors_only(what, names)
    if not names.intersection(TOKENIZERS):
        raise UnusableInputError(
            f"{what} has no tokenizer ({' or '.join(TOKENIZERS)}): name another revision, or put"
            " the files of the tokenizer and the model in a folder and name that"
        )
    whole = WEIGHTS in names
    wanted = {*FILES, WEIGHTS} if whole else {*FILES, INDEX}
    return [
        file
        for file in listing.files
        if file.name in wanted or (not whole and _SHARD.fullmatch(file.name))
    ]


def _fetch(
    snapshot: Snapshot, asked: str, files: list[_HubFile], on_progress: Progress | None
) -> None:
    """Fetch the files the cache lacks; nothing half-written takes a file's place."""
    from huggingface_hub import snapshot_download

    need = sum(f.size or 0 for f in files if not (snapshot.folder / f.name).exists())
    require_disk(cache_folder(), need, f"downloading {snapshot.repo_id}")
    try:
        with _reported(snapshot.repo_id, need, on_progress) as report, _quiet_library():
            snapshot_download(
                snapshot.repo_id,
                revision=snapshot.revision,
                cache_dir=cache_folder(),
                endpoint=endpoint(),
                allow_patterns=[file.name for file in files],
                tqdm_class=_meter(need, report),
            )
    except Exception as error:  # the library lets its HTTP client's errors through
        raise _refusal(error, snapshot.repo_id, asked) or UnusableInputError(
            f"the download of {snapshot.repo_id} from {endpoint()} was cut off"
            f" ({_first_line(error)}): run the command again (whole files are kept)"
        ) from error


def _verify(snapshot: Snapshot, files: Iterable[_HubFile]) -> None:
    """Hold files to their checksums; delete a wrong one and raise UnusableInputError."""
    for file in files:
        path = snapshot.folder / file.name
        damage = _damage(path, file)
        if damage:
            _delete(path)
            raise UnusableInputError(
                f"{file.name} of {snapshot.repo_id} is not the hub's file ({damage}) and was"
                " deleted: run the command again to fetch it; if this comes back,"
                " the server at HF_ENDPOINT or a proxy is at fault"
            )


def _damage(path: Path, file: _HubFile) -> str | None:
    """Say how a file differs from what the hub states, None if it does not."""
    if not path.is_file():
        return "it is missing"
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"{size} bytes, the hub states {file.size}"
    if file.sha256 is not None and sha256(path) != file.sha256:
        return f"its SHA-256 is not {file.sha256[:12]}..."
    if file.blob is not None and _git_blob_id(path) != file.blob:
        return f"its git blob id is not {file.blob[:12]}..."
    return None


def _git_blob_id(path: Path) -> str:
    data = path.read_bytes()
    digest = hashlib.sha1(b"blob %d\0" % len(data), usedforsecurity=False)
    digest.update(data)
    return digest.hexdigest()


def _delete(path: Path) -> None:
    """Delete a cached file: the snapshot's link and the blob (or blobs) behind it."""
    places = [path]
    while places[-1].is_symlink():
        places.append(places[-1].parent / os.readlink(places[-1]))
    for place in places:
        place.unlink(missing_ok=True)


def _require_whole(snapshot: Snapshot) -> None:
    missing = missing_files(snapshot.folder)
    if missing:
        raise UnusableInputError(
            f"{snapshot.repo_id} at {snapshot.revision[:12]} lacks {', '.join(missing)}:"
            " name another revision"
        )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


# --- progress -------------------------------------------------------------------------------


@contextmanager
def _quiet_library() -> Iterator[None]:
    """Silence huggingface_hub's own warnings (retries, missing token): we say it in one line."""
    from huggingface_hub.utils import logging as library

    before = library.get_verbosity()
    library.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        library.set_verbosity(before)


@contextmanager
def _reported(what: str, total: int, on_progress: Progress | None) -> Iterator[Progress]:
    """Yield a reporter: the caller's, a bar on a terminal, plain lines elsewhere."""
    if on_progress is not None or not total:
        yield on_progress or (lambda done, total: None)
    elif sys.stderr.isatty():
        with _bar(what, total) as report:
            yield report
    else:
        yield _plain_lines(what)


@contextmanager
def _bar(what: str, total: int) -> Iterator[Progress]:
    """Yield a reporter that moves a bar on the terminal."""
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(binary_units=True),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(f"downloading {what}", total=total)
        yield lambda done, _: bars.update(task, completed=done)


def _plain_lines(what: str) -> Progress:
    """Return a reporter that prints a line at every quarter."""
    said = -1

    def report(done: int, total: int) -> None:
        nonlocal said
        quarter = 4 * done // total
        if quarter > said:
            said = quarter
            sizes = f"{done / MEBIBYTE:.1f} of {total / MEBIBYTE:.1f} MiB"
            say(f"downloading {what}: {sizes}")

    return report


def _meter(total: int, report: Progress) -> Any:
    """Return a class huggingface_hub takes for a progress bar: it draws nothing and reports bytes.

    The library makes several bars of one download (received, written, files); those in bytes
    agree at the end, so the one furthest on is reported.
    """
    from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

    class Meter(tqdm):  # type: ignore[type-arg, misc, unused-ignore]
        furthest = 0

        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            keywords.pop("name", None)
            self.bytes = keywords.get("unit") == "B"
            super().__init__(*arguments, **{**keywords, "disable": True})

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            if self.bytes and self.n > Meter.furthest:
                Meter.furthest = min(int(self.n), total)
                report(Meter.furthest, total)

    return Meter
