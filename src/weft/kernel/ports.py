"""Sockets that reserve published ports on the host.

Packets for a published port are rewritten before they could reach a socket, so these are only bound: another program
that wants the port is told that it is in use, and so are we. A binding to every address is one socket for both
families. TCP ones do not listen; UDP ones drop whatever reaches them.
"""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Sequence

from weft.errors import Conflict, Exhausted, Invalid, Unsupported, WeftError
from weft.kernel import bpf
from weft.kernel.owners import holder_of, is_lingering
from weft.kernel.refusal import refusal
from weft.model import IPAddress, PortBinding, Proto

_TYPES = {Proto.TCP: socket.SOCK_STREAM, Proto.UDP: socket.SOCK_DGRAM, Proto.SCTP: socket.SOCK_STREAM}
_NUMBERS = {Proto.TCP: socket.IPPROTO_TCP, Proto.UDP: socket.IPPROTO_UDP, Proto.SCTP: 132}

Reserved = tuple[Proto, int, IPAddress | None]


class HostPortSockets:
    """The ports held for published ports; used on one thread."""

    def __init__(self) -> None:
        self._held: dict[Reserved, socket.socket] = {}

    def reserve(self, bindings: Sequence[PortBinding]) -> None:
        """Hold them all or none; what is held already stays so.

        Raises Conflict naming the port and its holder, Invalid for an address that the host does not have.
        """
        taken: dict[Reserved, socket.socket] = {}
        try:
            for binding in bindings:
                key = _key(binding)
                if key not in self._held and key not in taken:
                    taken[key] = self._hold(*key)
        except WeftError:
            for held in taken.values():
                held.close()
            raise
        self._held.update(taken)

    def release(self, bindings: Sequence[PortBinding]) -> None:
        for binding in bindings:
            held = self._held.pop(_key(binding), None)
            if held:
                held.close()

    def close(self) -> None:
        for held in self._held.values():
            held.close()
        self._held.clear()

    def socket_of(self, binding: PortBinding) -> socket.socket | None:
        """The socket that holds a port, for a relay to serve on: no other could be bound there."""
        return self._held.get(_key(binding))

    def free_port(self, proto: Proto, host_ip: IPAddress | None, first: int, last: int) -> int:
        """A port that could be held just now; (0, 0) asks for the kernel's ephemeral range. Raises Exhausted."""
        if (first, last) == (0, 0):
            low, high = _ephemeral()
            reserved = _reserved()
            ports = [port for port in range(low, high + 1) if port not in reserved]
            random.shuffle(ports)  # A port given back is not given out again at once.
        else:
            low, high = first, last
            ports = list(range(first, last + 1))
        for port in ports:
            if (proto, port, host_ip) in self._held:
                continue
            try:
                _bind(proto, port, host_ip).close()
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise _refused(error, proto, port, host_ip) from error
                continue
            return port
        raise Exhausted(f"no free {proto} port from {low} to {high}{_at(host_ip)}")

    def _hold(self, proto: Proto, port: int, address: IPAddress | None) -> socket.socket:
        try:
            return _bind(proto, port, address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise _refused(error, proto, port, address) from error
            if any((proto, port) == (other, taken) for other, taken, _ in self._held):
                raise Conflict(f"port {port}/{proto}{_at(address)} is published already") from error
            if is_lingering(proto, port):
                try:
                    return _bind(proto, port, address, reuse=True)
                except OSError:
                    pass
            raise _refused(error, proto, port, address) from error


def _key(binding: PortBinding) -> Reserved:
    return binding.proto, binding.host_port, binding.host_ip


def _bind(proto: Proto, port: int, address: IPAddress | None, *, reuse: bool = False) -> socket.socket:
    """`reuse` only overcomes connections of our own: others are refused the port afterwards all the same."""
    wildcard = "::" if socket.has_ipv6 else "0.0.0.0"
    host = str(address) if address else wildcard
    bound = _open(proto, socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if bound.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address is not None))
        elif ":" in host:
            host = "0.0.0.0"  # This kernel has no IPv6.
        if proto is Proto.UDP:
            bpf.attach(bound, (bpf.DROP,))
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse))
        bound.bind((host, port))
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except BaseException:
        bound.close()
        raise
    return bound


def _open(proto: Proto, family: int) -> socket.socket:
    try:
        return socket.socket(family, _TYPES[proto] | socket.SOCK_NONBLOCK, _NUMBERS[proto])
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT and family == socket.AF_INET6:
            return _open(proto, socket.AF_INET)
        raise


def _refused(error: OSError, proto: Proto, port: int, address: IPAddress | None) -> WeftError:
    what = f"port {port}/{proto}{_at(address)}"
    match error.errno:
        case errno.EADDRINUSE:
            return Conflict(f"{what} is taken on this host by {holder_of(proto, port, address)}")
        case errno.EADDRNOTAVAIL:
            return Invalid(f"this host has no address {address} to publish {port}/{proto} on")
        case errno.EPROTONOSUPPORT | errno.ESOCKTNOSUPPORT:
            return Unsupported(f"this kernel does not speak {proto}; {what} cannot be published")
        case _:
            return refusal(error.errno or 0, f"hold {what}", error.strerror or "")


def _at(address: IPAddress | None) -> str:
    return f" of {address}" if address else ""


def _ephemeral() -> tuple[int, int]:
    low, high = _read("ip_local_port_range").split()
    return int(low), int(high)


def _reserved() -> frozenset[int]:
    ports: set[int] = set()
    for part in _read("ip_local_reserved_ports").strip().split(","):
        if part:
            low, _, high = part.partition("-")
            ports.update(range(int(low), int(high or low) + 1))
    return frozenset(ports)


def _read(name: str) -> str:
    with open(f"/proc/sys/net/ipv4/{name}", encoding="ascii") as file:
        return file.read()
