"""Who holds a port of the host: told from /proc, and only asked for once something has failed."""

from __future__ import annotations

import os
from ipaddress import ip_address

from weft.model import IPAddress, Proto

_TABLES = {Proto.TCP: ("tcp", "tcp6"), Proto.UDP: ("udp", "udp6")}
_LISTEN = "0A"


def holder_of(proto: Proto, port: int, address: IPAddress | None) -> str:
    """Words for a message: "redis-server (pid 12)", or that it cannot be told."""
    inodes = _sctp_inodes(port, address) if proto is Proto.SCTP else _inodes(proto, port, address)
    for inode in inodes:
        found = _process_with(f"socket:[{inode}]")
        if found:
            return found
    return "another program (which one cannot be told)"


def is_lingering(proto: Proto, port: int) -> bool:
    """Whether nothing but connections keeps a TCP port, such as were relayed and have yet to end."""
    states = [fields[3] for fields in _sockets(proto, port)]
    return proto is Proto.TCP and bool(states) and _LISTEN not in states


def _inodes(proto: Proto, port: int, address: IPAddress | None) -> list[str]:
    found = [(fields[1], fields[9]) for fields in _sockets(proto, port) if fields[9] != "0"]
    if address is None:
        return [inode for _, inode in found]
    # A clash is with the same address or with a wildcard.
    clashing = (_hex(address), "0" * 8, "0" * 32)
    return [inode for local, inode in found if local.split(":")[0] in clashing]


def _sctp_inodes(port: int, address: IPAddress | None) -> list[str]:
    """Of those that listen: the kernel lists no others. A row ends with port, user, inode and addresses."""
    found = []
    for fields in _rows("sctp/eps"):
        own = [ip_address(text) for text in fields[8:]]
        if fields[5] == str(port) and (address is None or any(a == address or a.is_unspecified for a in own)):
            found.append(fields[7])
    return found


def _sockets(proto: Proto, port: int) -> list[list[str]]:
    wanted = f":{port:04X}"
    return [fields for table in _TABLES.get(proto, ()) for fields in _rows(table) if fields[1].endswith(wanted)]


def _rows(table: str) -> list[list[str]]:
    """Of a table below /proc/net without its head; none if there is no such table."""
    try:
        with open(f"/proc/thread-self/net/{table}", encoding="ascii") as file:
            next(file, None)
            return [line.split() for line in file]
    except OSError:
        return []


def _hex(address: IPAddress) -> str:
    """As /proc/net writes it: 32-bit words, each in the host's byte order."""
    raw = address.packed
    return "".join(raw[at : at + 4][::-1].hex().upper() for at in range(0, len(raw), 4))


def _process_with(link: str) -> str:
    for pid in os.listdir("/proc"):
        if pid.isdigit() and _holds(pid, link):
            return "weft itself" if int(pid) == os.getpid() else f"{_name(pid)} (pid {pid})"
    return ""


def _holds(pid: str, link: str) -> bool:
    try:
        return any(_target(f"/proc/{pid}/fd/{fd}") == link for fd in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _name(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "a program"
