"""Forwarding: one question to several servers, the first good answer to all who asked it meanwhile.

An `Exchange` asks the first server, and after a short while without an answer the next one too, keeping all of them
open; a server that fails or cannot be reached makes the next one be asked at once. A truncated answer goes to those who
asked over UDP as it is; for those who asked over TCP the same server is asked over TCP.

Forged answers have to guess: each attempt has a socket and so a source port of its own, an id of its own and a random
spelling of the name (draft-vixie-dnsext-dns0x20); an answer must come from the server asked, bear the id and repeat the
question to the letter. After a few that do not, or one that is only spelt wrongly, the server is asked over TCP, which
cannot be forged from afar. One that answers in a spelling of its own there, too, or does not do TCP, is asked in lower
case from then on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial

from weft.dns import message
from weft.dns.message import Answer, Query
from weft.resolver.attempt import Attempt, Datagram, Stream
from weft.resolver.cache import Cache, Key
from weft.resolver.counts import Counts
from weft.resolver.log import Log
from weft.resolver.loop import Loop, Timer
from weft.resolver.servers import Endpoint, Health, HostServers

PATIENCE = (0.4, 0.8, 1.6)
"""Seconds until the next server is asked as well, in the first round through the servers, the second, and later."""
DEADLINE = 4.0
"""Seconds until the client is told that nobody answers; clients commonly wait 5."""
EXCHANGES_MAX = 2048
RESERVED = 8
"""Questions that a container may have under way when there are that many already: a few cannot starve the others."""
WAITING_MAX = 2048
"""Askers waiting for one exchange."""
DOUBTS_MAX = 8
"""Packets from a server's address that are no answer before it is asked over TCP."""

_GOOD = (message.NOERROR, message.NXDOMAIN)


class Asker:
    """Somebody who waits for an answer."""

    __slots__ = ("done", "query", "send", "stream")

    def __init__(self, query: Query, *, stream: bool, send: Callable[[bytes], None], done: Callable[[], None]) -> None:
        self.query = query
        self.stream = stream
        """Whether the question came over TCP."""
        self.send = send
        self.done = done
        """Called once, with the answer or the failure."""

    @property
    def limit(self) -> int:
        return message.STREAM_SIZE if self.stream else self.query.size

    def finish(self, wire: bytes) -> None:
        self.done()
        self.send(wire)


class Upstream:
    def __init__(self, loop: Loop, counts: Counts, log: Log, resolv_conf: str) -> None:
        self.loop = loop
        self.counts = counts
        self.log = log
        self.host = HostServers(log, resolv_conf)
        self.health = Health()
        self.cache = Cache()
        self.exchanges: dict[Key, Exchange] = {}
        self.ours: set[tuple[int, int]] = set()
        """Source port and id of what we are asking of loopback addresses now."""

    def ask(self, asker: Asker, servers: tuple[str, ...], *, under_way: int) -> None:
        """Have the asker answered: at once, from what is known or because it cannot be; or later.

        `under_way`: how many questions the asker's container has, with this one.
        """
        servers = servers or self.host.current()
        query = asker.query
        flags = query.flags & (message.RECURSION_DESIRED | message.AUTHENTIC_DATA | message.CHECKING_DISABLED)
        key = (servers, query.name, query.qtype, query.qclass, flags, query.edns, query.dnssec_ok)
        now = time.monotonic()
        kept = self.cache.get(key, now)
        if kept is not None:
            self.counts.cached += 1
            asker.finish(message.relay_answer(kept[0], query, age=kept[1], limit=asker.limit))
            return
        exchange = self.exchanges.get(key)
        if exchange is None:
            order = self.health.order(servers, now)
            if not order or (len(self.exchanges) >= EXCHANGES_MAX and under_way > RESERVED):
                self.refuse(asker, "no server to ask" if not order else "too many questions under way")
                return
            exchange = self.exchanges[key] = Exchange(self, key, query, flags, order)
        elif len(exchange.askers) >= WAITING_MAX:
            self.refuse(asker, "too many wait for one question")
            return
        self.counts.forwarded += 1
        exchange.askers.append(asker)
        exchange.start()

    def refuse(self, asker: Asker, why: str) -> None:
        self.counts.refused += 1
        self.log.event(why)
        asker.finish(message.render_answer(asker.query, rcode=message.SERVFAIL))


class Exchange:
    """One question under way."""

    def __init__(self, upstream: Upstream, key: Key, query: Query, flags: int, servers: list[Endpoint]) -> None:
        self.upstream = upstream
        self.key = key
        self.askers: list[Asker] = []
        self._question = query.question
        self._flags = flags
        self._edns = query.edns
        self._dnssec_ok = query.dnssec_ok
        self._servers = servers
        self._next = 0
        self._attempts: list[Attempt] = []
        self._failed: set[str] = set()
        self._misspelt: set[str] = set()
        self._worst: Answer | None = None
        self._timer: Timer | None = None
        self._deadline: Timer | None = None

    def start(self) -> None:
        if self._deadline is None:
            self._deadline = self.upstream.loop.after(DEADLINE, self._give_up)
            self._ask_next()

    def query(self, server: Endpoint) -> Query:
        """The question with a fresh id and spelling."""
        respells = self.upstream.health.respells(server, time.monotonic())
        return Query(
            ident=int.from_bytes(os.urandom(2), "big"),
            flags=self._flags,
            question=self._question if respells else message.respelt(self._question, os.urandom(32)),
            edns=self._edns,
            size=message.SIZE_OFFERED,
            dnssec_ok=self._dnssec_ok,
        )

    def _ask_next(self) -> None:
        """Ask the next server that has not failed; each once per round, a round more patient than the last."""
        if self._timer is not None:
            self._timer.cancel()
        count = len(self._servers)
        for _ in range(count):
            server = self._servers[self._next % count]
            patience = PATIENCE[min(self._next // count, len(PATIENCE) - 1)]
            self._next += 1
            if server.text not in self._failed and self._ask(server):
                self._timer = self.upstream.loop.after(patience, partial(self._overdue, server))
                return
        if not self._attempts:
            self._give_up()

    def _ask(self, server: Endpoint) -> bool:
        for attempt in self._attempts:
            if attempt.server is server:
                if attempt.stream and server.text in self._misspelt:
                    return self._ask_plainly(attempt)
                attempt.repeat()
                return True
        try:
            self._attempts.append(Datagram(self, server))
        except OSError as error:
            self._unreachable(server, error)
            return False
        return True

    def _overdue(self, server: Endpoint) -> None:
        self.upstream.counts.retried += 1
        self.upstream.health.failed(server, time.monotonic())
        self._ask_next()

    def _unreachable(self, server: Endpoint, error: OSError) -> None:
        self._failed.add(server.text)
        self.upstream.health.failed(server, time.monotonic())
        self.upstream.log.event("server unreachable", server=server.text, error=error.strerror)

    def failed(self, attempt: Attempt, error: OSError) -> None:
        """The attempt's server cannot be reached."""
        if attempt.stream and attempt.server.text in self._misspelt and self._ask_plainly(attempt):
            return
        self._discard(attempt)
        self._unreachable(attempt.server, error)
        self.upstream.counts.retried += 1
        self._ask_next()

    def answered(self, attempt: Attempt, answer: Answer) -> None:
        """The attempt's server has answered."""
        if answer.rcode not in _GOOD:
            # It works, but not for this question: perhaps another can.
            self._worst = answer
            self._failed.add(attempt.server.text)
            self._discard(attempt)
            self.upstream.counts.retried += 1
            self._ask_next()
            return
        self.upstream.health.answered(attempt.server)
        if answer.truncated and not attempt.stream and any(a.stream for a in self.askers):
            self._finish_datagrams(answer)
            self._ask_over_tcp(attempt)
            return
        self.upstream.cache.put(self.key, answer, time.monotonic())
        self._finish(answer)

    def doubted(self, attempt: Attempt) -> None:
        """What came is no answer to the attempt: forged, late or broken. The true one may still come."""
        attempt.doubts += 1
        if attempt.doubts >= DOUBTS_MAX and not attempt.stream:
            self.upstream.log.event("many wrong answers: asking over TCP", server=attempt.server.text)
            self._ask_over_tcp(attempt)

    def misspelt(self, attempt: Attempt, answer: Answer) -> None:
        """The answer is to our question, but not as we spelt it: by a guess, or the server's habit."""
        if attempt.stream:
            self.upstream.health.respelt(attempt.server, time.monotonic())
            self.answered(attempt, answer)
            return
        self.upstream.counts.upstream_bad += 1
        self._misspelt.add(attempt.server.text)
        self._ask_over_tcp(attempt)

    def _ask_plainly(self, attempt: Attempt) -> bool:
        """Ask a server that spells in its own way and cannot be asked over TCP."""
        self._misspelt.discard(attempt.server.text)
        self.upstream.health.respelt(attempt.server, time.monotonic())
        self._discard(attempt)
        return self._ask(attempt.server)

    def _finish_datagrams(self, answer: Answer) -> None:
        waiting = [a for a in self.askers if not a.stream]
        self.askers = [a for a in self.askers if a.stream]
        _tell(waiting, answer, self.upstream.log)

    def _ask_over_tcp(self, attempt: Attempt) -> None:
        server = attempt.server
        self._discard(attempt)
        try:
            self._attempts.append(Stream(self, server))
        except OSError as error:
            if server.text not in self._misspelt or not self._ask_plainly(attempt):
                self._unreachable(server, error)
                self._ask_next()

    def _discard(self, attempt: Attempt) -> None:
        attempt.close()
        if attempt in self._attempts:
            self._attempts.remove(attempt)

    def _give_up(self) -> None:
        self.upstream.counts.failed += 1
        if self._worst is None:
            self.upstream.log.event("no server answered", servers=",".join(s.text for s in self._servers))
        self._finish(self._worst)

    def _finish(self, answer: Answer | None) -> None:
        for timer in (self._timer, self._deadline):
            if timer is not None:
                timer.cancel()
        for attempt in self._attempts:
            attempt.close()
        self._attempts.clear()
        self.upstream.exchanges.pop(self.key, None)
        askers, self.askers = self.askers, []
        _tell(askers, answer, self.upstream.log)


def _tell(askers: list[Asker], answer: Answer | None, log: Log) -> None:
    for asker in askers:
        try:
            if answer is None:
                asker.finish(message.render_answer(asker.query, rcode=message.SERVFAIL))
            else:
                asker.finish(message.relay_answer(answer, asker.query, age=0, limit=asker.limit))
        except Exception as error:
            log.failure("an answer could not be passed on", error)
