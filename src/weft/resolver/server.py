"""The DNS server: views, and what happens to a query.

The hot path is `View._datagrams`: take what has come, look up each query's bytes (all but the id) in the answers of
the view's scope, send id and answer. Because the key holds the question as it was spelt, the spelling is echoed. When
an endpoint comes or goes, the answers for its names are thrown away, and made again at the first question.

The order inside it is a strict guarantee: queries are taken first, then weftd's pending messages are read, then the
queries are answered: those whose answer is ready together, then the others. So what weftd said before a query was sent
is known when the query is answered.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterable
from random import shuffle

from weft.dns import message
from weft.dns.message import FormatError, Query, to_wire
from weft.dns.zone import TTL, Local, Zone
from weft.resolver.counts import Counts
from weft.resolver.datagrams import datagrams
from weft.resolver.log import Log
from weft.resolver.loop import Loop
from weft.resolver.stream import Connection, Listener
from weft.resolver.upstream import Asker, Upstream

READY_MAX = 16384
"""Answers kept ready, over all scopes; one more, and all go."""
KEY_MAX = 300
"""Bytes of a query whose answer is kept ready."""
VARIANTS = 16
"""In how many orders the addresses of a shared name are kept ready."""
UNDER_WAY_MAX = 256
"""Questions of one view that are being asked of other servers."""

_NOT_FORWARDED = (message.AXFR, message.IXFR, message.ANY)
"""Zone transfers are no business of containers; ANY serves only to draw large answers (RFC 8482)."""


Interest = tuple[tuple[str, ...], tuple[tuple[str, str], ...]]
"""What somebody may ask about: networks, and links, which are (alias, name): the alias stands for the name, for these
askers alone."""


class Scope:
    """What views with the same interest share: the answers are the same."""

    __slots__ = ("interest", "keys", "links", "networks", "ready", "shuffled", "views")

    def __init__(self, interest: Interest) -> None:
        self.interest = interest
        self.networks, links = interest
        self.links = {to_wire(alias).lower(): to_wire(name).lower() for alias, name in links}
        self.ready: dict[bytes, bytes] = {}
        """A query's bytes without the id, to the answer's without the id."""
        self.shuffled: dict[bytes, list[bytes]] = {}
        """The same for names with several addresses: the answer in several orders."""
        self.keys: dict[bytes, list[bytes]] = {}
        """A name, in lower case, to the queries above that ask for what it means."""
        self.views = 0

    def forget(self) -> None:
        self.ready.clear()
        self.shuffled.clear()
        self.keys.clear()

    def forget_names(self, names: Iterable[bytes]) -> None:
        for name in names:
            for key in self.keys.pop(name, ()):
                self.ready.pop(key, None)
                self.shuffled.pop(key, None)


class Server:
    """All that is known, and the views that ask."""

    def __init__(self, loop: Loop, counts: Counts, log: Log, resolv_conf: str) -> None:
        self.loop = loop
        self.counts = counts
        self.log = log
        self.zone = Zone()
        self.upstream = Upstream(loop, counts, log, resolv_conf)
        self.datagrams = datagrams()
        self.views: dict[str, View] = {}
        self.catch_up: Callable[[], None] = lambda: None
        """Reads what weftd has said so far."""
        self._scopes: dict[Interest, Scope] = {}
        self._ready = 0

    def open_view(self, view: View) -> None:
        """Serve a view, in place of the one that the sandbox had."""
        self.close_view(view.sandbox)
        self.views[view.sandbox] = view
        view.start()

    def set_view(self, sandbox: str, interest: Interest, servers: tuple[str, ...], *, forward: bool) -> None:
        view = self.views.get(sandbox)
        if view is None:
            self.log.event("a change of a container that is not served", container=sandbox)
            return
        before, view.scope = view.scope, self.take_scope(interest)
        self._leave_scope(before)
        view.servers = servers
        view.forward = forward

    def close_view(self, sandbox: str) -> None:
        view = self.views.pop(sandbox, None)
        if view is not None:
            view.close()
            self._leave_scope(view.scope)

    def take_scope(self, interest: Interest) -> Scope:
        scope = self._scopes.get(interest)
        if scope is None:
            scope = self._scopes[interest] = Scope(interest)
        scope.views += 1
        return scope

    def _leave_scope(self, scope: Scope) -> None:
        scope.views -= 1
        if not scope.views:
            del self._scopes[scope.interest]

    def changed(self, network: str, names: Collection[bytes]) -> None:
        """Some names on a network mean something else now. All other answers stay ready: somebody always comes."""
        for scope in self._scopes.values():
            if scope.keys and network in scope.networks:
                scope.forget_names(names)

    def changed_entirely(self, network: str) -> None:
        """The network has another name, or is gone."""
        for scope in self._scopes.values():
            if network in scope.networks:
                scope.forget()

    def remember(self, scope: Scope, key: bytes, name: bytes, query: Query, local: Local) -> None:
        """Keep the answer ready for the same bytes, for as long as the name means the same."""
        if query.options or len(key) > KEY_MAX:
            return
        if self._ready > READY_MAX:
            for each in self._scopes.values():
                each.forget()
            self._ready = 0
        scope.keys.setdefault(name, []).append(key)
        if len(local.rdata) > 1:
            scope.shuffled[key] = variants = _in_several_orders(query, local)
            self._ready += len(variants)
        else:
            scope.ready[key] = _render(query, local)[2:]
            self._ready += 1


def _in_several_orders(query: Query, local: Local) -> list[bytes]:
    """Answers in which each address comes first equally often, up to `VARIANTS` of them."""
    rdata = list(local.rdata)
    shuffle(rdata)
    found = []
    for first in range(min(len(rdata), VARIANTS)):
        rest = rdata[:first] + rdata[first + 1 :]
        shuffle(rest)
        found.append(_render(query, Local(local.rcode, (rdata[first], *rest)))[2:])
    return found


def _render(query: Query, local: Local, limit: int | None = None) -> bytes:
    return message.render_answer(
        query, rcode=local.rcode, rdata=local.rdata, ttl=TTL, limit=query.size if limit is None else limit
    )


class View:
    """What one sandbox may ask, and the sockets on which it asks."""

    def __init__(
        self,
        server: Server,
        sandbox: str,
        interest: Interest,
        servers: tuple[str, ...],
        *,
        forward: bool,
        udp: socket.socket,
        tcp: socket.socket,
    ) -> None:
        self.sandbox = sandbox
        self.scope = server.take_scope(interest)
        self.servers = servers
        self.forward = forward
        self.under_way = 0
        self._server = server
        self._udp = udp
        self._tcp = tcp
        self._listener: Listener | None = None

    def start(self) -> None:
        self._udp.settimeout(0)
        self._server.loop.add(self._udp.fileno(), self._datagrams)
        self._listener = Listener(self._server.loop, self._tcp, self._frames)

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._server.loop.drop(self._udp.fileno())
        self._udp.close()

    def _datagrams(self) -> None:
        server = self._server
        number = server.datagrams.receive(self._udp)
        server.catch_up()
        if self._udp.fileno() < 0:
            return
        rest = server.datagrams.reply(self._udp, number, self.scope.ready.get)
        server.counts.queries += number
        server.counts.local += number - len(rest)
        for data, client in rest:
            self._look(data, client)

    def _look(self, data: bytes, client: tuple[str, int]) -> None:
        """Answer a datagram whose answer is not ready."""
        key = data[2:]
        variants = self.scope.shuffled.get(key)
        if variants:
            self._server.counts.local += 1
            # In turn rather than at random: every holder gets its share at once.
            variants.append(variants.pop(0))
            self._send(data[:2] + variants[0], client)
            return
        self._handle(data, lambda wire: self._send(wire, client), port=client[1], stream=False)

    def _send(self, wire: bytes, client: tuple[str, int]) -> None:
        try:
            self._udp.sendto(wire, client)
        except OSError:
            pass  # the client asks again, or is gone

    def _frames(self, connection: Connection, frames: list[bytes]) -> None:
        self._server.catch_up()
        self._server.counts.queries += len(frames)
        for data in frames:
            self._handle(data, connection.send, port=connection.port, stream=True)

    def _handle(self, data: bytes, send: Callable[[bytes], None], *, port: int, stream: bool) -> None:
        """Answer one query, or have it answered. Whatever is wrong with it, the next one is served."""
        try:
            query = message.parse_query(data)
        except FormatError:
            self._server.counts.malformed += 1
            # An answer is not answered, or two servers could keep each other busy for ever; over TCP they cannot.
            if len(data) >= 12 and (stream or not data[2] & 0x80):
                send(message.render_refusal(data, message.NOTIMP if data[2] & 0x78 else message.FORMERR))
            return
        try:
            self._answer(data, query, send, port=port, stream=stream)
        except Exception as error:
            self._server.log.failure("a query failed", error)
            send(message.render_answer(query, rcode=message.SERVFAIL))

    def _answer(self, data: bytes, query: Query, send: Callable[[bytes], None], *, port: int, stream: bool) -> None:
        server = self._server
        rcode = _refusal(query)
        if rcode is not None:
            send(message.render_answer(query, rcode=rcode))
            return
        name = self.scope.links.get(query.name, query.name)
        local = server.zone.lookup(name, query.qtype, self.scope.networks)
        if local is None and name is not query.name:
            local = Local(message.NXDOMAIN)  # who was linked to is gone: nobody else is meant by the alias
        if local is not None:
            server.counts.local += 1
            if len(local.rdata) > 1:
                shuffled = list(local.rdata)
                shuffle(shuffled)
                local = Local(local.rcode, tuple(shuffled))
            send(_render(query, local, message.STREAM_SIZE if stream else None))
            if not stream:
                server.remember(self.scope, data[2:], name, query, local)
        elif not self.forward:
            send(message.render_answer(query, rcode=message.NXDOMAIN))
        elif query.qtype in _NOT_FORWARDED or (port, query.ident) in server.upstream.ours:
            # Our own question coming back would go round for ever.
            send(message.render_answer(query, rcode=message.REFUSED))
        else:
            self._forward(Asker(query, stream=stream, send=send, done=self._done))

    def _forward(self, asker: Asker) -> None:
        self.under_way += 1
        if self.under_way > UNDER_WAY_MAX:
            self._server.upstream.refuse(asker, "a container asks too much at once")
        else:
            self._server.upstream.ask(asker, self.servers, under_way=self.under_way)

    def _done(self) -> None:
        self.under_way -= 1


def _refusal(query: Query) -> int | None:
    if query.opcode:
        return message.NOTIMP
    if query.version:
        return message.BADVERS
    if query.qclass not in (message.IN, message.ANY):
        return message.REFUSED
    return None
