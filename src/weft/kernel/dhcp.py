"""Asks DHCP servers over a link of the host, in the place of a container that branches off from it or is yet to.

From a packet socket on the parent itself: there frames pass before the kernel hands them on to a container, and whole,
whatever addresses the host has. Servers are asked to answer to everybody, so that nothing depends on who takes frames
for the container's MAC yet; the parent is told to take those, too, for servers that do not heed it.

Every method waits for answers: none is to be called on the engine's thread. Any other will do, in the host's namespace.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import secrets
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import Self

from weft.dhcp import client, frames
from weft.dhcp.client import Grant, Identity, Refusal
from weft.dhcp.message import Message, parse, render
from weft.errors import NotFound, Unavailable
from weft.kernel import bpf

_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_MR_UNICAST = 3
_SIOCGIFHWADDR = 0x8927

PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds until a question is put again, each made a little shorter or longer (RFC 2131, 4.1, which begins with 4)."""
PATIENCE_FOR_OTHERS = 1.5
"""Seconds, once a server has offered what will not do, until nobody else is expected to offer something better."""
PROBES = (0.0, 0.1)
PROBE_SECONDS = 0.25
"""What machines on a wire take to answer for their address. RFC 5227 waits for seconds; so would every join."""


class LanDhcp:
    """Implements `engine.needs.LanServers`."""

    def mac_of(self, parent: str) -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket, _refusing(parent):
            answer = fcntl.ioctl(any_socket.fileno(), _SIOCGIFHWADDR, parent.encode().ljust(40, b"\0"))
        return answer[18:24]  # of struct ifreq: a name of 16 bytes, a struct sockaddr whose family takes 2

    def discover(
        self,
        parent: str,
        who: Identity,
        *,
        wanted: IPv4Address | None = None,
        fits: Callable[[Grant], bool] = lambda offer: True,
        seconds: float,
    ) -> tuple[Grant | None, Grant | None]:
        asked = client.discover(who, _new_xid(), wanted=wanted)
        other: Grant | None = None
        with _on(parent, asked) as wire:
            for answer, mac in wire.ask(frames.to_servers(render(asked), who.mac), seconds):
                offer = client.read_offer(answer, mac, asked)
                if offer is not None and fits(offer):
                    return offer, other
                if offer is not None and other is None:
                    other = offer
                    wire.ask_until(PATIENCE_FOR_OTHERS)
        return None, other

    def request(self, parent: str, who: Identity, offer: Grant, *, seconds: float) -> Grant | Refusal | None:
        asked = client.request(who, _new_xid(), offer.address, offer.server)
        return self._reply(parent, who, asked, offer.address, offer.server, seconds)

    def reclaim(self, parent: str, who: Identity, address: IPv4Address, *, seconds: float) -> Grant | Refusal | None:
        asked = client.request(who, _new_xid(), address, None)
        return self._reply(parent, who, asked, address, None, seconds)

    def renew(
        self,
        parent: str,
        who: Identity,
        address: IPv4Address,
        server: tuple[IPv4Address, bytes] | None,
        *,
        seconds: float,
    ) -> Grant | Refusal | None:
        asked = client.renew(who, _new_xid(), address)
        if server is None:
            frame = frames.to_servers(render(asked), who.mac, source=address)
            return self._reply(parent, who, asked, address, None, seconds, frame)
        to, mac = server
        frame = frames.to_servers(render(asked), who.mac, source=address, destination=to, next_hop=mac)
        return self._reply(parent, who, asked, address, to, seconds, frame)

    def _reply(
        self,
        parent: str,
        who: Identity,
        asked: Message,
        address: IPv4Address,
        server: IPv4Address | None,
        seconds: float,
        frame: bytes = b"",
    ) -> Grant | Refusal | None:
        frame = frame or frames.to_servers(render(asked), who.mac)
        with _on(parent, asked) as wire:
            for answer, mac in wire.ask(frame, seconds):
                reply = client.read_reply(answer, mac, asked, address=address, server=server)
                if reply is not None:
                    return reply
        return None

    def is_taken(self, parent: str, address: IPv4Address, mac: bytes) -> bool:
        program = (*bpf.load_half(12), *bpf.differs(frames.ETH_ARP, (bpf.DROP,)), bpf.KEEP)
        with _refusing(parent), _Wire(parent, mac, program) as wire:
            begun = time.monotonic()
            for at in (*PROBES, PROBE_SECONDS):
                while (left := begun + at - time.monotonic()) > 0:
                    if frames.claims(wire.hear(left), address, mac):
                        return True
                if at != PROBE_SECONDS:
                    wire.say(frames.who_has(address, mac))
        return False

    def release(self, parent: str, who: Identity, address: IPv4Address, server: tuple[IPv4Address, bytes]) -> None:
        to, mac = server
        said = render(client.release(who, _new_xid(), address, to))
        self._say(parent, who, frames.to_servers(said, who.mac, source=address, destination=to, next_hop=mac))

    def decline(self, parent: str, who: Identity, address: IPv4Address, server: IPv4Address) -> None:
        said = render(client.decline(who, _new_xid(), address, server))
        self._say(parent, who, frames.to_servers(said, who.mac))

    def _say(self, parent: str, who: Identity, frame: bytes) -> None:
        with _refusing(parent), _Wire(parent, who.mac, (bpf.DROP,)) as wire:
            wire.say(frame)


class _Wire:
    """A packet socket on a link, which hears what a filter keeps."""

    def __init__(self, link: str, mac: bytes, program: bpf.Program) -> None:
        index = socket.if_nametoindex(link)
        self._end = 0.0
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            bpf.attach(self._socket, program)
            self._socket.bind((link, _ETH_P_ALL))
            request = struct.pack("@iHH8s", index, _PACKET_MR_UNICAST, len(mac), mac)
            try:
                self._socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, request)
            except OSError:
                pass  # such a link takes what comes, or nothing but broadcasts, which will mostly do
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def say(self, frame: bytes) -> None:
        self._socket.send(frame)

    def hear(self, seconds: float) -> bytes:
        """A frame; empty if none comes."""
        self._socket.settimeout(max(0.001, seconds))
        try:
            return self._socket.recv(4096)
        except TimeoutError:
            return b""

    def ask(self, frame: bytes, seconds: float) -> Iterator[tuple[Message, bytes]]:
        """Put a question, again and again, for so long; what is said to clients, and by whom."""
        self._end = time.monotonic() + seconds
        pauses = iter(PAUSES)
        while (now := time.monotonic()) < self._end:
            self.say(frame)
            again = now + next(pauses, PAUSES[-1]) * random.uniform(0.9, 1.1)
            while (left := min(again, self._end) - time.monotonic()) > 0:
                heard = self.hear(left)
                if not heard:
                    continue
                try:
                    mac, payload = frames.from_server(heard)
                    yield parse(payload), mac
                except ValueError:
                    continue  # whatever it is, it is not for us

    def ask_until(self, seconds: float) -> None:
        """From now, and no longer."""
        self._end = min(self._end, time.monotonic() + seconds)


@contextmanager
def _on(parent: str, asked: Message) -> Iterator[_Wire]:
    with _refusing(parent), _Wire(parent, asked.mac, _answers_to(asked.xid)) as wire:
        yield wire


def _answers_to(xid: int) -> Sequence[bpf.Instruction]:
    """Datagrams to a client, over IPv4 without options or fragments, with this question's number."""
    return (
        *(*bpf.load_half(12), *bpf.differs(frames.ETH_IP, (bpf.DROP,))),
        *(*bpf.load_byte(14), *bpf.differs(0x45, (bpf.DROP,))),
        *(*bpf.load_byte(23), *bpf.differs(frames.UDP, (bpf.DROP,))),
        *(*bpf.load_half(36), *bpf.differs(frames.CLIENT_PORT, (bpf.DROP,))),
        *(*bpf.load_word(46), *bpf.differs(xid, (bpf.DROP,))),
        bpf.KEEP,
    )


@contextmanager
def _refusing(parent: str) -> Iterator[None]:
    """Raises NotFound or Unavailable for what the kernel says of a link."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.ENXIO):
            raise NotFound(f"there is no link {parent} on this host to ask a DHCP server by") from error
        if error.errno == errno.ENETDOWN:
            raise Unavailable(
                f"no DHCP server can be asked by {parent}, which is down: `ip link set {parent} up`"
            ) from error
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise Unavailable(f"no DHCP server can be asked by {parent}: {reason}") from error


def _new_xid() -> int:
    return secrets.randbits(32)
