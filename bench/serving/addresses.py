"""Addresses: whether a server at one may run on this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from pathlib import Path

import psutil

INTERFACES = Path("/sys/class/net")

Address = IPv4Address | IPv6Address


def may_be_here(host: str) -> bool:
    """Tell whether a host is this machine, or may be a container inside it."""
    return any(
        address.is_loopback or address.is_unspecified or _is_near(address)
        for address in _addresses(host)
    )


def _addresses(host: str) -> Iterator[Address]:
    with suppress(OSError, UnicodeError):  # nobody knows the host
        for *_, place in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
            yield _address(str(place[0]))


def _address(text: str) -> Address:
    address = ip_address(text.partition("%")[0])  # without the name of an interface
    return getattr(address, "ipv4_mapped", None) or address


def _is_near(address: Address) -> bool:
    """Tell whether an address is this machine's, or in a network that may be inside of it.

    Such are the networks of containers: their interfaces (bridges, pairs) have no hardware.
    """
    for name, entries in psutil.net_if_addrs().items():
        for entry in entries:
            if entry.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            own = _address(entry.address)
            if address == own:
                return True
            network = ip_interface(f"{own}/{_prefix(entry.netmask, own)}").network
            if address.version == own.version and address in network and not _has_hardware(name):
                return True
    return False


def _prefix(mask: str | None, own: Address) -> int:
    """Return the length of a mask's prefix: the standard library reads no IPv6 masks."""
    return int(ip_address(mask)).bit_count() if mask else own.max_prefixlen


def _has_hardware(name: str) -> bool:
    """Tell whether an interface is a device, or leads to one (a bond, a bridge, a VLAN)."""
    folder = INTERFACES / name
    if not folder.exists() or (folder / "device").exists():
        return True  # also where the kernel does not tell
    return any(_has_hardware(each.name.removeprefix("lower_")) for each in folder.glob("lower_*"))
