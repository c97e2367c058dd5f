"""A model hub on localhost for tests: the endpoints huggingface_hub uses, over one folder.

Files ending in ``.safetensors`` or ``.bin`` are stored as LFS files are (their ETag is a SHA-256),
the others as git does (their ETag is a blob id).  Switches make it fail in the ways hubs and
networks do.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from stand_in import StandIn

_REVISION = r"(?P<revision>refs/pr/\d+|[^/]+)"
_INFO = re.compile(rf"/api/models/(?P<repo>.+?)(/revision/{_REVISION})?")
_TREE = re.compile(rf"/api/models/(?P<repo>.+?)/tree/{_REVISION}/?")
_FILE = re.compile(rf"/(?P<repo>.+?)/resolve/{_REVISION}/(?P<name>.+)")
_DISCUSSIONS = re.compile(r"/api/models/(?P<repo>.+?)/discussions(?P<revision>)")
MARKS = "，。床前明月光疑是地上霜下"


@dataclass
class Switches:
    """The failures to produce.

    Attributes:
        status: answer everything with this status and ``error_code``.
        missing: files that are listed but not served.
        cut_after: bytes after which a file's transfer breaks off; ``cuts`` says how often (None
            is always, and then nothing past that byte is ever sent).
        wrong: files served with one byte changed.
        short: files served one byte short, as if that were all.
    """

    status: int | None = None
    error_code: str = ""
    missing: set[str] = field(default_factory=set)
    cut_after: dict[str, int] = field(default_factory=dict)
    cuts: int | None = None
    wrong: set[str] = field(default_factory=set)
    short: set[str] = field(default_factory=set)


class HubEndpoint:
    """The server; use it as a context manager.

    Args:
        folder: the repository's files.
        repo_id: its name.

    ``revisions`` are the folders of other branches, tags and pull requests by name, ``requests``
    the accounts that opened pull requests by number (None: the hub does not tell).
    ``strangers`` are the paths asked for that are none of a model's, ``agents`` who asked.
    """

    def __init__(self, folder: Path, repo_id: str = "test/tiny-bert") -> None:
        self.folder, self.repo_id = folder, repo_id
        self.revisions: dict[str, Path] = {}
        self.requests: dict[int, str] | None = None
        self.switches = Switches()
        self.counts: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.strangers: list[str] = []
        self.agents: set[str] = set()
        hub = self

        class Handler(_Handler):
            endpoint = hub

        self._server = StandIn(Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    @property
    def url(self) -> str:
        """The address for ``HF_ENDPOINT``."""
        return self._server.url

    @property
    def commit(self) -> str:
        """The commit of ``main`` (40 digits): it changes with the folder's contents."""
        return commit_of(self.folder)

    def files(self) -> list[Path]:
        """The repository's files."""
        return files_of(self.folder)

    def folder_at(self, revision: str | None) -> Path | None:
        """The files of a revision, None if there is no such revision."""
        if revision in (None, "", "main"):
            return self.folder
        there = [self.folder, *self.revisions.values()]
        by_commit = {commit_of(folder): folder for folder in there}
        return self.revisions.get(str(revision)) or by_commit.get(str(revision))

    def stop(self) -> None:
        """Stop answering: open connections break, new ones are refused."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def files_of(folder: Path) -> list[Path]:
    """Return the files of a folder."""
    return sorted(path for path in folder.iterdir() if path.is_file())


def commit_of(folder: Path) -> str:
    """Return the commit of a folder's files (40 digits)."""
    digest = hashlib.sha1(usedforsecurity=False)
    for path in files_of(folder):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def is_lfs(path: Path) -> bool:
    """Tell whether the hub stores a file with LFS."""
    return path.suffix in (".safetensors", ".bin")


def etag(path: Path) -> str:
    """Return a file's ETag: SHA-256 of an LFS file, git's blob id of another."""
    data = path.read_bytes()
    if is_lfs(path):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    endpoint: HubEndpoint
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Stay quiet."""

    def do_GET(self) -> None:
        """Answer GET."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answer HEAD."""
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.endpoint.agents.add(self.headers.get("User-Agent", ""))
        switches = self.endpoint.switches
        patterns = (
            ("tree", _TREE), ("file", _FILE), ("discussions", _DISCUSSIONS), ("info", _INFO),
        )  # fmt: skip
        for kind, pattern in patterns:  # noqa: B007 (read after the loop)
            if match := pattern.fullmatch(path):
                break
        else:
            self.endpoint.strangers.append(path)
            return self._refuse(404, "")
        self.endpoint.counts[self.command if kind == "file" else kind] += 1
        if switches.status is not None:
            return self._refuse(switches.status, switches.error_code)
        if match["repo"] != self.endpoint.repo_id:
            return self._refuse(404, "RepoNotFound")
        folder = self.endpoint.folder_at(match["revision"])
        if folder is None:
            return self._refuse(404, "RevisionNotFound")
        if kind == "file":
            return self._file(folder / match["name"])
        if kind == "discussions":
            return self._discussions()
        return self._json(self._info(folder) if kind == "info" else self._tree(folder))

    def _discussions(self) -> None:
        if self.endpoint.requests is None:
            return self._refuse(404, "")
        repo = {"name": self.endpoint.repo_id, "type": "model"}
        opened = {"createdAt": "2024-01-01T00:00:00.000Z", "status": "open", "isPullRequest": True}
        entries = [
            {"num": number, "title": "Adding `safetensors` variant of this model",
             "author": {"name": author}, "repo": repo} | opened
            for number, author in self.endpoint.requests.items()
        ]  # fmt: skip
        return self._json({"discussions": entries, "count": len(entries), "start": 0})

    def _info(self, folder: Path) -> dict[str, Any]:
        siblings = []
        for path in files_of(folder):
            size = path.stat().st_size
            entry: dict[str, Any] = {"rfilename": path.name, "size": size, "blobId": "0" * 40}
            if is_lfs(path):
                entry["lfs"] = {"sha256": etag(path), "size": size, "pointerSize": 134}
            else:
                entry["blobId"] = etag(path)
            siblings.append(entry)
        repo = self.endpoint.repo_id
        return {"id": repo, "modelId": repo, "sha": commit_of(folder), "siblings": siblings}

    def _tree(self, folder: Path) -> list[dict[str, Any]]:
        entries = []
        for path in files_of(folder):
            size = path.stat().st_size
            entry: dict[str, Any] = {"type": "file", "path": path.name, "size": size}
            entry["oid"] = "0" * 40 if is_lfs(path) else etag(path)
            if is_lfs(path):
                entry["lfs"] = {"oid": etag(path), "size": size, "pointerSize": 134}
            entries.append(entry)
        return entries

    def _file(self, path: Path) -> None:
        name = path.name
        switches = self.endpoint.switches
        if name in switches.missing or not path.is_file():
            return self._refuse(404, "EntryNotFound")
        data = path.read_bytes()
        size, tag = len(data), etag(path)
        if name in switches.wrong:
            data = data[:-1] + bytes([data[-1] ^ 1])
        if name in switches.short and self.command == "GET":
            data = data[:-1]
        start = self._start()
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", commit_of(path.parent))
        self.send_header("ETag", f'"{tag}"')
        if is_lfs(path):
            self.send_header("X-Linked-Etag", f'"{tag}"')
            self.send_header("X-Linked-Size", str(size))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if self.command == "GET":
            self._send(name, data, start)

    def _start(self) -> int:
        asked = self.headers.get("Range", "")
        match = re.fullmatch(r"bytes=(\d+)-", asked)
        if match is None:
            return 0
        self.endpoint.ranges.append(asked)
        return int(match[1])

    def _send(self, name: str, data: bytes, start: int) -> None:
        switches = self.endpoint.switches
        limit = switches.cut_after.get(name)
        if limit is None or switches.cuts == 0:
            self.wfile.write(data[start:])
            return
        if switches.cuts is not None:
            switches.cuts -= 1
        self.wfile.write(data[start : max(start, limit)])
        self.close_connection = True

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code or "refused")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _json(self, data: object) -> None:
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def save_tiny_model(folder: Path) -> Path:
    """Save a random BertForMaskedLM (1 layer x 16, a few characters) as the hub keeps one."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *MARKS, "A", "a", "##b"]
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    BertForMaskedLM(config).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    settings = {"do_lower_case": False, "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder
