"""The hub's cache on this disk: its snapshots, and whether their files are complete and correct."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..console import say
from ..errors import UnusableInputError
from ..files import sha256
from .layout import FILES, missing_files

COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Snapshot:
    """A repository's files at one commit (40 hexadecimal digits)."""

    folder: Path
    repo_id: str
    revision: str


@dataclass(frozen=True)
class HubFile:
    """What the hub says about one file: its size in bytes, and its SHA-256 or git blob id."""

    name: str
    size: int | None
    sha256: str | None
    blob: str | None


def cache_folder() -> Path:
    """Return the cache's folder by huggingface_hub's rules, but read the environment now."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return _expanded(os.environ[name])
    if os.environ.get("HF_HOME"):
        return _expanded(os.environ["HF_HOME"]) / "hub"
    return _expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def _expanded(path: str) -> Path:
    return Path(os.path.expandvars(path)).expanduser().absolute()


def cached_snapshots() -> list[Snapshot]:
    """Return the complete snapshots in the cache by name and commit, without using the network."""
    snapshots = []
    for folder in sorted(cache_folder().glob("models--*/snapshots/*")):
        repo_id = folder.parent.parent.name.removeprefix("models--").replace("--", "/")
        if COMMIT.fullmatch(folder.name) and not missing_files(folder):
            snapshots.append(Snapshot(folder, repo_id, folder.name))
    return snapshots


def storage(repo_id: str) -> Path:
    """Return the folder of a repository in the cache."""
    return cache_folder() / f"models--{repo_id.replace('/', '--')}"


# --- the cache ------------------------------------------------------------------------------


def cached_commit(repo_id: str, asked: str) -> str | None:
    """Return the commit that a revision was when it was last fetched; None if it never was."""
    if COMMIT.fullmatch(asked):
        return asked
    try:
        commit = (storage(repo_id) / "refs" / asked).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return commit if COMMIT.fullmatch(commit) else None


def cached_snapshot(repo_id: str, asked: str, convert_pickle: bool = False) -> Snapshot | None:
    """Return the cached snapshot of a revision; None if it is not complete.

    With ``convert_pickle`` its weights may be pickled.
    """
    from huggingface_hub import snapshot_download

    commit = cached_commit(repo_id, asked)
    if commit is None:
        return None
    folder = storage(repo_id) / "snapshots" / commit
    if missing_files(folder, convert_pickle):
        return None
    try:  # if the library stored the commit's list of files, it checks the optional ones too
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


def from_cache(repo_id: str, asked: str, reason: str, convert_pickle: bool = False) -> Snapshot:
    """Return the cached snapshot, verified; raise UnusableInputError if it is not complete."""
    cached = cached_snapshot(repo_id, asked, convert_pickle)
    if cached is None:
        raise UnusableInputError(
            f"{repo_id} ({asked}) is not whole in the cache {cache_folder()} and {reason}:"
            " connect to the network, set HF_ENDPOINT to a mirror,"
            " or name a folder or 'builtin' as the model"
        )
    return use_cached(cached, reason)


def use_cached(cached: Snapshot, reason: str) -> Snapshot:
    """Verify a cached snapshot and return it; say in one line that the cache is used.

    The names of the cache's blobs are the checksums of their contents.
    """
    links = [path for path in cached.folder.iterdir() if path.is_symlink()]
    verify(cached, [_file_by_blob_name(path) for path in links])
    say(f"{reason}: using {cached.repo_id} at {cached.revision} from the cache")
    return cached


def _file_by_blob_name(link: Path) -> HubFile:
    """Return a cached file with the checksum in its blob's name: a SHA-256, or git's blob id."""
    name = Path(os.readlink(link)).name
    sha = name if _SHA256.fullmatch(name) else None
    return HubFile(link.name, None, sha, name if COMMIT.fullmatch(name) else None)


def verify(snapshot: Snapshot, files: Iterable[HubFile]) -> None:
    """Compare files with their checksums; delete a wrong one and raise UnusableInputError."""
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


def _damage(path: Path, file: HubFile) -> str | None:
    """Return how a file differs from what the hub says about it, None if it does not."""
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
