"""weftd's end of the line: messages read and applied, questions of weftd answered.

One client at a time, the newest; what an older one had still said is read before it is let go. Messages are read
whenever they come and, because queries are answered in between, also right before answering (`catch_up`).
"""

from __future__ import annotations

import array
import os
import select
import socket
import struct
from collections import deque
from collections.abc import Iterator

from weft import __version__
from weft.dns import control
from weft.dns.control import PACKET, PROTOCOL, Message
from weft.resolver.log import Log
from weft.resolver.loop import READ, WRITE, Loop
from weft.resolver.sandbox import Sandbox
from weft.resolver.server import Interest, Server, View

FDS_MAX = 16


class Control:
    def __init__(self, loop: Loop, server: Server, listener: socket.socket, sandbox: Sandbox, log: Log) -> None:
        self._loop = loop
        self._server = server
        self._listener = listener
        self._sandbox = sandbox
        self._log = log
        self._trusted = {0, os.getuid()}
        self._buffer = bytearray(PACKET)
        self._client: socket.socket | None = None
        self._waiting = select.poll()
        self._replies: deque[bytes] = deque()
        listener.settimeout(0)
        loop.add(listener.fileno(), self._accept)
        server.catch_up = self.catch_up

    @property
    def connected(self) -> bool:
        return self._client is not None

    def catch_up(self) -> None:
        """Read what weftd has said so far. Costs one system call if that is nothing."""
        if self._client is not None and self._waiting.poll(0):
            self._read(self._client)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        uid = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
        if uid not in self._trusted:
            self._log.event("a stranger was turned away", uid=uid)
            client.close()
            return
        if self._client is not None:
            self.catch_up()
            self._hang_up()
        client.settimeout(0)
        self._client = client
        self._waiting.register(client.fileno(), READ)
        self._loop.add(client.fileno(), self._ready)

    def _hang_up(self) -> None:
        if self._client is not None:
            self._loop.drop(self._client.fileno())
            self._waiting.unregister(self._client.fileno())
            self._client.close()
            self._client = None
            self._replies.clear()

    def _ready(self) -> None:
        self.catch_up()
        self._reply()

    def _read(self, client: socket.socket) -> None:
        """Read until there is nothing, or the client is another or gone."""
        while client is self._client:
            try:
                length, fds = _receive(client, self._buffer)
            except BlockingIOError:
                return
            except OSError:
                length, fds = 0, []
            if not length:
                self._hang_up()
                return
            self._heed(bytes(self._buffer[:length]), fds)
            for fd in fds:
                os.close(fd)

    def _heed(self, packet: bytes, fds: list[int]) -> None:
        try:
            messages = control.unpack(packet)
        except ValueError as error:
            self._log.failure("a message of weftd was not understood", error)
            return
        for said in messages:
            try:
                self._apply(said, fds)
            except Exception as error:
                self._log.failure("a message of weftd was not understood", error)

    def _apply(self, said: Message, fds: list[int]) -> None:
        server = self._server
        match said:
            case ("publish", network, endpoint, names, addresses):
                packed = [bytes.fromhex(a) for a in control.split(addresses)]
                server.changed(network, server.zone.publish(network, endpoint, control.split(names), packed))
            case ("withdraw", network, endpoint):
                server.changed(network, server.zone.withdraw(network, endpoint))
            case ("network", network, name):
                server.zone.set_network(network, name)
                server.changed_entirely(network)
            case ("drop", network):
                server.zone.drop_network(network)
                server.changed_entirely(network)
            case ("view", sandbox, networks, forward, servers, links):
                interest = (control.split(networks), _pairs(links))
                self._view(sandbox, interest, control.split(servers), fds, forward=forward == "forward")
            case ("close", sandbox):
                server.close_view(sandbox)
            case ("upstream", servers):
                server.upstream.host.set(control.split(servers))
            case ("hello", *_):
                self._say([("hello", PROTOCOL, __version__, server.upstream.host.path)])
            case ("list",):
                self._say(self._list())
            case ("counters",):
                self._say([("counters", control.items(f"{name}={value}" for name, value in self._counters()))])
            case _:
                raise ValueError(f"{said[0]} with {len(said) - 1} fields")

    def _view(
        self, sandbox: str, interest: Interest, servers: tuple[str, ...], fds: list[int], *, forward: bool
    ) -> None:
        if len(fds) < 2:
            self._server.set_view(sandbox, interest, servers, forward=forward)
            return
        udp, tcp = _socket(fds), _socket(fds)
        view = View(self._server, sandbox, interest, servers, forward=forward, udp=udp, tcp=tcp)
        self._server.open_view(view)

    def _list(self) -> Iterator[Message]:
        zone = self._server.zone
        for network, name in zone.networks():
            yield control.network(network, name)
        for network, endpoint, names, addresses in zone.holders():
            yield control.publish(network, endpoint, names, addresses)
        for view in self._server.views.values():
            networks, links = view.scope.interest
            yield control.view(view.sandbox, networks, view.servers, links, forward=view.forward)
        yield ("end",)

    def _counters(self) -> Iterator[tuple[str, int]]:
        yield from self._server.counts.items()
        yield "errors", self._log.failures
        yield "landlock", self._sandbox.landlock
        yield "seccomp", int(self._sandbox.seccomp)
        yield "views", len(self._server.views)
        yield "under_way", len(self._server.upstream.exchanges)
        yield "cache", len(self._server.upstream.cache)

    def _say(self, messages: Iterator[Message] | list[Message]) -> None:
        self._replies.extend(control.pack(messages))
        self._reply()

    def _reply(self) -> None:
        client = self._client
        if client is None:
            return
        try:
            while self._replies:
                client.send(self._replies[0])
                self._replies.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up()
            return
        self._loop.change(client.fileno(), READ | WRITE if self._replies else READ)


def _socket(fds: list[int]) -> socket.socket:
    """The first of the descriptors as a socket, to which it belongs from now on. Raises OSError if it is none."""
    sock = socket.socket(fileno=fds[0])
    del fds[0]
    return sock


def _pairs(links: str) -> tuple[tuple[str, str], ...]:
    return tuple((alias, name) for alias, _, name in (item.partition("=") for item in control.split(links)))


def _receive(client: socket.socket, buffer: bytearray) -> tuple[int, list[int]]:
    """One packet into the buffer; its length, and the descriptors that came with it."""
    fds = array.array("i")
    length, ancillary, _, _ = client.recvmsg_into(
        [buffer], socket.CMSG_SPACE(FDS_MAX * fds.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return length, fds.tolist()
