"""Models from a hub (huggingface.co, or the mirror ``HF_ENDPOINT`` names), pinned and verified.

A branch is resolved to its commit before anything is fetched.  Every file is compared with the
checksum that the hub gives.  In the cache a branch points to a new commit only when all files of
that commit are there.  Without a network the cached snapshot is used, and one line says so.  The
environment (``HF_ENDPOINT``,
``HF_HOME``, ``HF_HUB_CACHE``, ``HF_HUB_OFFLINE``) is read at every call: huggingface_hub itself
reads it once, when it is imported.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from ..console import download_progress
from ..errors import UnusableInputError
from ..files import require_disk, write_text
from .hub_cache import (
    COMMIT,
    HubFile,
    Snapshot,
    cache_folder,
    cached_commit,
    cached_snapshot,
    from_cache,
    storage,
    use_cached,
    verify,
)
from .hub_progress import meter
from .layout import (
    FILES,
    INDEX,
    PICKLE,
    PICKLE_INDEX,
    TOKENIZERS,
    WEIGHTS,
    missing_files,
    safetensors_only,
)

PUBLIC_HUB = "https://huggingface.co"
MAIN = "main"
TIMEOUT = 10.0  # seconds to wait for an answer of the hub
CONVERTER = "SFconvertbot"  # the account of the hub's converter; transformers trusts no other

_NAME = r"\w([\w.-]*\w)?"
_REPOSITORY = re.compile(rf"({_NAME}/)?{_NAME}", re.ASCII)  # huggingface_hub's rules
_REVISION = re.compile(r"[A-Za-z0-9][\w.+-]*(/[\w+-][\w.+-]*)*")


@dataclass(frozen=True)
class _Listing:
    commit: str
    files: tuple[HubFile, ...]


@dataclass(frozen=True)
class _Weights:
    """The names of weight files in one format: of the only file, of an index, and of its shards."""

    file: str
    index: str
    shard: re.Pattern[str]

    def has(self, name: str, names: set[str]) -> bool:
        """Tell whether a file is to be fetched, of a repository with these names."""
        if self.file in names:
            return name == self.file
        return name == self.index or self.shard.fullmatch(name) is not None


_SAFETENSORS = _Weights(WEIGHTS, INDEX, re.compile(r"model-\d+-of-\d+\.safetensors"))
_PICKLES = _Weights(PICKLE, PICKLE_INDEX, re.compile(r"pytorch_model-\d+-of-\d+\.bin"))


class _UnreachableError(Exception):
    """The hub did not answer, or its answer says to try again later."""


def endpoint() -> str:
    """Return the hub's address (``HF_ENDPOINT``, else huggingface.co)."""
    return (os.environ.get("HF_ENDPOINT") or PUBLIC_HUB).rstrip("/")


def offline() -> bool:
    """Tell whether the user forbade the network (``HF_HUB_OFFLINE``, ``TRANSFORMERS_OFFLINE``)."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in {"1", "ON", "YES", "TRUE"}


def download(repo_id: str, revision: str | None = None, convert_pickle: bool = False) -> Snapshot:
    """Return a complete, verified snapshot of a repository; fetch the files the cache lacks.

    Args:
        repo_id: ``organisation/name``, or ``name`` alone.
        revision: branch, tag or commit; None is ``main``.  A commit that is already cached is
            used without asking the hub.
        convert_pickle: where there are no safetensors, fetch pickled weights.

    Raises UnusableInputError, with one line that says what to do, if the model is not available.

    """
    asked = revision or MAIN
    _require_valid(repo_id, asked)
    if COMMIT.fullmatch(asked) and (cached := cached_snapshot(repo_id, asked, convert_pickle)):
        return use_cached(cached, "this commit is cached")
    if offline():
        return from_cache(repo_id, asked, "HF_HUB_OFFLINE is set", convert_pickle)
    try:
        listing = _listing(repo_id, asked)
    except _UnreachableError as error:
        reason = f"{endpoint()} cannot be reached ({error})"
        return from_cache(repo_id, asked, reason, convert_pickle)
    files = _chosen(repo_id, listing, convert_pickle)
    snapshot = Snapshot(storage(repo_id) / "snapshots" / listing.commit, repo_id, listing.commit)
    _fetch(snapshot, asked, files)
    verify(snapshot, files)
    _require_whole(snapshot, convert_pickle)
    keep_name(repo_id, asked, listing.commit)
    return snapshot


def resolve(repo_id: str, revision: str) -> str:
    """Return the commit (40 digits) that a branch, a tag or a commit of a repository is now.

    The hub is asked, unless 40 digits are given.  If it cannot be, the commit counts that the
    cache has for the revision; UnusableInputError if there is none.
    """
    _require_valid(repo_id, revision)
    if COMMIT.fullmatch(revision):
        return revision
    reason = "HF_HUB_OFFLINE is set"
    if not offline():
        try:
            return _listing(repo_id, revision).commit
        except _UnreachableError as error:
            reason = f"{endpoint()} cannot be reached ({error})"
    commit = cached_commit(repo_id, revision)
    if commit is None:
        raise UnusableInputError(
            f"which commit {revision!r} of {repo_id} is, is not known and {reason}: write the"
            " commit's 40 digits, or connect to the network"
        )
    return commit


def keep_name(repo_id: str, revision: str, commit: str) -> None:
    """Note in the cache which commit a revision is, as :func:`download` does, if it is there."""
    if revision != commit and (storage(repo_id) / "snapshots" / commit).is_dir():
        with suppress(OSError):  # a read-only cache
            write_text(storage(repo_id) / "refs" / revision, commit)


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
    if not COMMIT.fullmatch(commit):
        raise UnusableInputError(
            f"{endpoint()} does not answer as a hub does (commit {commit!r}): check HF_ENDPOINT"
        )
    files = [
        HubFile(s.rfilename, s.size, s.lfs.sha256 if s.lfs else None, None if s.lfs else s.blob_id)
        for s in siblings
    ]
    return _Listing(commit, tuple(files))


def _refusal(error: Exception, repo_id: str, asked: str) -> UnusableInputError | None:
    """Return the error for a refusal of the hub; None if the hub could not answer at all."""
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


def _chosen(repo_id: str, listing: _Listing, convert_pickle: bool) -> list[HubFile]:
    """Return the files to fetch; raise UnusableInputError if a necessary file is missing."""
    names = {file.name for file in listing.files}
    what = f"{repo_id} at {listing.commit[:12]}"
    if "config.json" not in names:
        raise UnusableInputError(f"{what} has no config.json: name a BERT model of transformers")
    format_of_weights = next(
        (f for f in (_SAFETENSORS, _PICKLES)[: 1 + convert_pickle] if names & {f.file, f.index}),
        None,
    )
    if format_of_weights is None:
        refusal = safetensors_only(what, names)
        raise UnusableInputError(f"{refusal}{_advice_to_take_a_conversion(repo_id)}")
    if not names.intersection(TOKENIZERS):
        raise UnusableInputError(
            f"{what} has no tokenizer ({' or '.join(TOKENIZERS)}): name another revision, or put"
            " the files of the tokenizer and the model in a folder and name that"
        )
    return [
        file
        for file in listing.files
        if file.name in FILES or format_of_weights.has(file.name, names)
    ]


def _advice_to_take_a_conversion(repo_id: str) -> str:
    """Return which pull request holds the safetensors that the hub's own converter made.

    Anyone can open a pull request with safetensors of their own: the account that opened it counts.
    Empty if the hub says that there is none.
    """
    from huggingface_hub import HfApi

    try:
        with _quiet_library():
            opened = [
                request
                for request in HfApi(endpoint=endpoint()).get_repo_discussions(
                    repo_id,
                    author=CONVERTER,
                    discussion_type="pull_request",
                    discussion_status="open",
                )
                if request.author == CONVERTER and request.is_pull_request
            ]
    except (
        Exception
    ):  # a mirror may not have them; the library lets its HTTP client's errors through
        return (
            f"; a pull request's safetensors (--revision refs/pr/N) are the hub's own only if the"
            f" account {CONVERTER} opened it: see {endpoint()}/{repo_id}/discussions"
        )
    if not opened:
        return ""
    latest = max(request.num for request in opened)
    return (
        f"; or take the safetensors of the hub's own converter ({CONVERTER}):"
        f" --revision refs/pr/{latest}"
    )


def _fetch(snapshot: Snapshot, asked: str, files: list[HubFile]) -> None:
    """Fetch the files that the cache lacks; a file appears only when it is complete."""
    from huggingface_hub import snapshot_download

    need = sum(f.size or 0 for f in files if not (snapshot.folder / f.name).exists())
    require_disk(cache_folder(), need, f"downloading {snapshot.repo_id}")
    try:
        with download_progress(snapshot.repo_id, need) as report, _quiet_library():
            snapshot_download(
                snapshot.repo_id,
                revision=snapshot.revision,
                cache_dir=cache_folder(),
                endpoint=endpoint(),
                allow_patterns=[file.name for file in files],
                tqdm_class=meter(need, report),
            )
    except Exception as error:  # the library lets its HTTP client's errors through
        raise _refusal(error, snapshot.repo_id, asked) or UnusableInputError(
            f"the download of {snapshot.repo_id} from {endpoint()} was cut off"
            f" ({_first_line(error)}): run the command again (whole files are kept)"
        ) from error


def _require_whole(snapshot: Snapshot, convert_pickle: bool) -> None:
    missing = missing_files(snapshot.folder, convert_pickle)
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
    """Silence huggingface_hub's own warnings (retries, missing token): our error says it once."""
    from huggingface_hub.utils import logging as library

    before = library.get_verbosity()
    library.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        library.set_verbosity(before)
