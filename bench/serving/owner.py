"""The owner of a running server: the processes whose CPU and memory are its own.

What listens at a URL may be a proxy, and its figures would pass for the server's.  So the server is
asked which process it is, and is counted only if that very process listens there itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from contextlib import suppress
from http.client import HTTPException
from urllib.parse import urlsplit

import psutil

from ...toolkit.processes import started_ticks
from ..load.target import Target
from .accounting import processes

HOSTS = ("localhost", "127.0.0.1", "::1")
LOOPBACK = ("127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::")  # addresses that listen on loopback too
RAYLET = "raylet"  # parent of Ray's proxy, which listens, and of its replicas, which answer
ANSWER_SECONDS = 5.0


def owner(target: Target) -> int | None:
    """Return the root of the process tree of the server at a target (None: not known).

    It is not known behind a proxy, in a container, at another address than loopback, of another
    server than tiankong's reference server, and of another user's process.
    """
    place = urlsplit(target.url)
    answering = _answering(target) if place.hostname in HOSTS else None
    if answering is None:
        return None
    port = place.port or (443 if place.scheme == "https" else 80)
    with suppress(psutil.Error, PermissionError):
        listening = _listening(port)
        root = _root(psutil.Process(answering), port)
        if root is not None and listening:
            tree = {process.pid for process in processes(root)}
            return root if tree.issuperset(listening) else None
    return None


def _answering(target: Target) -> int | None:
    """Return the process of this machine that says that it answers at a target."""
    try:
        with target.ask("/v2", timeout=ANSWER_SECONDS) as response:
            said = json.load(response)["process"]
        pid, started = int(said["pid"]), int(said["started_ticks"])
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return None
    return pid if started_ticks(pid) == started else None  # elsewhere the id is another's


def _listening(port: int) -> Collection[int | None]:
    """Return the processes that get what is sent to a port of loopback (None: another user's)."""
    found: dict[str, list[int | None]] = {}
    for connection in psutil.net_connections("tcp"):
        address = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address and address.port == port:
            found.setdefault(address.ip, []).append(connection.pid)
    exact = {pid for address in LOOPBACK for pid in found.get(address, ())}
    return exact or {pid for address in EVERYWHERE for pid in found.get(address, ())}


def _root(process: psutil.Process, port: int) -> int | None:
    """Return the root of the tree that an answering process belongs to, if it listens itself.

    A parent that holds the same socket belongs to it (Gunicorn).  A replica of Ray does not listen:
    its tree is the raylet's, with the program that started Ray here.
    """
    ours = {1, os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    if _listens(process, port):
        parent = process.parent()
        while parent is not None and parent.pid not in ours and _listens(parent, port):
            process, parent = parent, parent.parent()
        return process.pid
    for above in process.parents():
        if above.name() == RAYLET:
            starter = above.parent()
            return starter.pid if starter is not None and starter.pid not in ours else above.pid
    return None


def _listens(process: psutil.Process, port: int) -> bool:
    return any(
        connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
        for connection in process.net_connections("tcp")
    )
