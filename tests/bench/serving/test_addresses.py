"""Addresses of this machine, of containers inside it, and of others."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tiankong.bench.serving import addresses
from tiankong.bench.serving.addresses import may_be_here

PLACES = {
    "eth0": [(socket.AF_INET, "192.0.2.5", "255.255.255.0")],
    "bond0": [(socket.AF_INET, "203.0.113.5", "255.255.255.0")],
    "docker0": [
        (socket.AF_INET, "172.17.0.1", "255.255.0.0"),
        (socket.AF_INET6, "fd00::1%docker0", "ffff:ffff:ffff:ffff::"),
        (psutil.AF_LINK, "02:42:00:00:00:01", None),
    ],
}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "0.0.0.0", "::1"])
def test_every_local_address_is_here(host: str) -> None:
    assert may_be_here(host)


@pytest.mark.parametrize(
    ("host", "here"),
    [("172.17.0.2", True), ("fd00::2", True), ("172.17.0.1", True), ("192.0.2.5", True),
     ("::ffff:172.17.0.2", True), ("192.0.2.8", False), ("203.0.113.8", False),
     ("fd00:1::2", False), ("198.51.100.1", False), ("no.such.host.invalid", False)],
)  # fmt: skip
def test_a_network_without_hardware_may_be_inside_this_machine(
    host: str, here: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("eth0/device", "docker0/lower_veth1", "veth1", "bond0/lower_eth0"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(addresses, "INTERFACES", tmp_path)
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {
        name: [SimpleNamespace(family=f, address=a, netmask=m) for f, a, m in entries]
        for name, entries in PLACES.items()
    })  # fmt: skip
    assert may_be_here(host) == here
