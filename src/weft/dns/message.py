"""DNS messages as bytes (RFC 1035, 6891): queries read, answers written, other servers' answers walked.

Nothing here follows a compression pointer: a query's one question cannot hold any, and walking an answer only needs
to know where a name ends, which a pointer tells by itself. So no message can make the reader loop.

Names are in *wire form without the root*: each label behind its length, b"\\x02c1\\x04blue". Lower-casing such bytes as
a whole is safe, because lengths (at most 63) lie below the letter "A".

Classes here are written out instead of being dataclasses: the resolver imports this, and `dataclasses` alone would
add a quarter to its memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

A = 1
SOA = 6
PTR = 12
AAAA = 28
OPT = 41
IXFR = 251
AXFR = 252

IN = 1
ANY = 255
"""As a type and as a class."""

NOERROR = 0
FORMERR = 1
SERVFAIL = 2
NXDOMAIN = 3
NOTIMP = 4
REFUSED = 5
BADVERS = 16

RESPONSE = 0x8000
OPCODE = 0x7800
TRUNCATED = 0x0200
RECURSION_DESIRED = 0x0100
RECURSION_AVAILABLE = 0x0080
AUTHENTIC_DATA = 0x0020
CHECKING_DISABLED = 0x0010
RCODE = 0x000F

PLAIN_SIZE = 512
"""What a client takes over UDP if it says nothing (RFC 1035)."""
SIZE_MAX = 4096
"""What we send over UDP at most, whatever the client offers: it is asked over loopback, where nothing fragments."""
SIZE_OFFERED = 1232
"""What we say that we take ourselves: fits every path without fragments (DNS flag day 2020)."""
STREAM_SIZE = 65535
NAME_MAX = 255

_HEADER = struct.Struct("!HHHHHH")
_TAIL = struct.Struct("!HHIH")
_DNSSEC_OK = 0x8000


class FormatError(Exception):
    """The bytes are not a well-formed message."""


class Query:
    """A question as asked."""

    __slots__ = (
        "dnssec_ok",
        "edns",
        "flags",
        "ident",
        "name",
        "options",
        "qclass",
        "qtype",
        "question",
        "size",
        "version",
    )

    def __init__(
        self,
        *,
        ident: int,
        flags: int,
        question: bytes,
        edns: bool = False,
        size: int = PLAIN_SIZE,
        dnssec_ok: bool = False,
        version: int = 0,
        options: bool = False,
    ) -> None:
        self.ident = ident
        self.flags = flags
        self.question = question
        """Name, type and class as they came: an answer repeats them to the letter (draft-vixie-dnsext-dns0x20)."""
        self.name = question[:-5].lower()
        self.qtype, self.qclass = struct.unpack("!HH", question[-4:])
        self.edns = edns
        self.size = size
        """What the client takes over UDP, in bytes."""
        self.dnssec_ok = dnssec_ok
        self.version = version
        self.options = options
        """Whether there were EDNS options (cookies, say), which make each query's bytes different."""

    @property
    def opcode(self) -> int:
        return (self.flags & OPCODE) >> 11


def parse_query(data: bytes) -> Query:
    """Read a query. Raises FormatError."""
    if len(data) < 12:
        raise FormatError("shorter than a header")
    ident, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(data)
    if flags & RESPONSE:
        raise FormatError("an answer where a query was expected")
    if questions != 1:
        raise FormatError(f"{questions} questions")
    end = _question_end(data)
    query = Query(ident=ident, flags=flags, question=data[12:end])
    if answers or authorities or additionals:
        for rtype, ttl_at, start, stop in _records(data, end, answers + authorities + additionals):
            if rtype == OPT:
                _read_opt(query, data, ttl_at, stop - start)
    return query


def _question_end(data: bytes) -> int:
    at = 12
    try:
        while length := data[at]:
            if length > 63:
                raise FormatError("a compressed or unknown label in the question")
            at += length + 1
    except IndexError:
        raise FormatError("the question ends early") from None
    if at - 11 > NAME_MAX:
        raise FormatError("a name longer than 255 bytes")
    if at + 5 > len(data):
        raise FormatError("the question ends early")
    return at + 5


def _read_opt(query: Query, data: bytes, ttl_at: int, length: int) -> None:
    if query.edns:
        raise FormatError("two OPT records")
    size, _, query.version, flags = struct.unpack_from("!HBBH", data, ttl_at - 2)
    query.edns = True
    query.size = min(max(size, PLAIN_SIZE), SIZE_MAX)
    query.dnssec_ok = bool(flags & _DNSSEC_OK)
    query.options = length > 0


def _records(data: bytes, at: int, count: int) -> Iterator[tuple[int, int, int, int]]:
    """Type, offset of the TTL, start and end of the data of each record from `at` on."""
    total = len(data)
    for _ in range(count):
        at = _skip_name(data, at, total)
        if at + 10 > total:
            raise FormatError("a record ends early")
        rtype, _, _, length = _TAIL.unpack_from(data, at)
        start = at + 10
        if start + length > total:
            raise FormatError("a record ends early")
        yield rtype, at + 4, start, start + length
        at = start + length


def _skip_name(data: bytes, at: int, total: int) -> int:
    while at < total:
        length = data[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:
            return at + 2
        if length > 63:
            raise FormatError("an unknown kind of label")
        at += length + 1
    raise FormatError("a name ends early")


def respelt(question: bytes, random: bytes) -> bytes:
    """The question with its letters in upper or lower case, as the bits of `random` (32 bytes) fall."""
    bits = int.from_bytes(random, "big")
    name = bytearray(question[:-4].lower())
    for at, byte in enumerate(name):
        # Lengths of labels lie below the letters.
        if bits >> at & 1 and 0x61 <= byte <= 0x7A:
            name[at] = byte ^ 0x20
    return bytes(name) + question[-4:]


def repeats(data: bytes, question: bytes) -> bool:
    """Whether a message repeats the question to the letter."""
    return data[12 : 12 + len(question)] == question


def render_query(query: Query) -> bytes:
    """The query as it goes to another server: without EDNS options, which are between a client and its server."""
    header = _HEADER.pack(query.ident, query.flags, 1, 0, 0, 1 if query.edns else 0)
    return header + query.question + (_opt(query.size, 0, query.version, _edns_flags(query)) if query.edns else b"")


def _opt(size: int, extended: int, version: int, flags: int) -> bytes:
    return struct.pack("!BHHBBHH", 0, OPT, size, extended, version, flags, 0)


def _edns_flags(query: Query) -> int:
    return _DNSSEC_OK if query.dnssec_ok else 0


def render_answer(
    query: Query, *, rcode: int = NOERROR, rdata: Sequence[bytes] = (), ttl: int = 0, limit: int = STREAM_SIZE
) -> bytes:
    """Our own answer: records of the asked name and type, as many as fit; TC says that some did not."""
    tail = _opt(SIZE_OFFERED, rcode >> 4, 0, _edns_flags(query)) if query.edns else b""
    room = limit - 12 - len(query.question) - len(tail)
    # 0xC00C: the owner is the name at offset 12, the question's.
    head = struct.pack("!HHHI", 0xC00C, query.qtype, IN, ttl)
    records: list[bytes] = []
    for data in rdata:
        room -= 12 + len(data)
        if room < 0:
            break
        records.append(head + struct.pack("!H", len(data)) + data)
    flags = (
        RESPONSE | RECURSION_AVAILABLE | query.flags & (OPCODE | RECURSION_DESIRED | CHECKING_DISABLED) | rcode & RCODE
    )
    if len(records) < len(rdata) and limit < STREAM_SIZE:
        flags |= TRUNCATED
    header = _HEADER.pack(query.ident, flags, 1, len(records), 0, 1 if tail else 0)
    return b"".join((header, query.question, *records, tail))


def render_refusal(data: bytes, rcode: int) -> bytes:
    """An answer to what could not be read: a bare header. `data` has at least 12 bytes."""
    ident, flags = struct.unpack_from("!HH", data)
    flags = RESPONSE | RECURSION_AVAILABLE | flags & (OPCODE | RECURSION_DESIRED) | rcode
    return _HEADER.pack(ident, flags, 0, 0, 0, 0)


class Answer:
    """Another server's answer, checked against the question that it is for."""

    __slots__ = ("bare", "data", "has_data", "lifetime", "rcode", "truncated", "ttls")

    def __init__(
        self, data: bytes, *, bare: bool = False, has_data: bool = False, ttls: tuple[int, ...] = (), lifetime: int = 0
    ) -> None:
        flags = struct.unpack_from("!H", data, 2)[0]
        self.data = data
        self.bare = bare
        """A header without the question, as some servers refuse."""
        self.has_data = has_data
        """Whether the question is answered, rather than by "no" or a chain of aliases that ends in nothing."""
        self.rcode = flags & RCODE
        self.truncated = bool(flags & TRUNCATED)
        self.ttls = ttls
        """Offsets of the records' TTLs."""
        self.lifetime = lifetime
        """Seconds for which it may be repeated; 0: not at all."""


def parse_answer(data: bytes, query: Query) -> Answer | None:
    """Read an answer to `query`; None if it is one to something else. Raises FormatError."""
    if len(data) < 12:
        raise FormatError("shorter than a header")
    ident, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(data)
    if ident != query.ident or not flags & RESPONSE:
        return None
    if questions == 0 and answers == 0:
        # As some servers refuse. A "no" or "nothing" has to repeat the question.
        return Answer(data, bare=True) if flags & RCODE not in (NOERROR, NXDOMAIN) else None
    end = 12 + len(query.question)
    if (
        questions != 1
        or data[12 : end - 4].lower() != query.question[:-4].lower()
        or data[end - 4 : end] != query.question[-4:]
    ):
        return None
    if flags & TRUNCATED:
        # What there is may end anywhere; it is passed on as it is, or asked for again over TCP.
        return Answer(data)
    return _walked(data, end, query, flags & RCODE, answers, authorities, additionals)


def _walked(
    data: bytes, end: int, query: Query, rcode: int, answers: int, authorities: int, additionals: int
) -> Answer:
    ttls: list[int] = []
    lifetime = 0x7FFFFFFF
    negative = 0
    has_data = False
    for number, (rtype, ttl_at, start, stop) in enumerate(_records(data, end, answers + authorities + additionals)):
        if rtype == OPT:
            continue
        ttl = _seconds(data, ttl_at)
        ttls.append(ttl_at)
        lifetime = min(lifetime, ttl)
        if number < answers:
            has_data = has_data or rtype == query.qtype or query.qtype == ANY
        elif rtype == SOA and number < answers + authorities and stop - start >= 20:
            # How long a "no" lasts: the SOA's own TTL or its last field, whichever is less (RFC 2308, section 5).
            negative = min(ttl, _seconds(data, stop - 4))
    if not has_data:
        lifetime = min(lifetime, negative)
    if rcode not in (NOERROR, NXDOMAIN):
        lifetime = 0
    return Answer(data, has_data=has_data, ttls=tuple(ttls), lifetime=lifetime)


def _seconds(data: bytes, at: int) -> int:
    value: int = struct.unpack_from("!I", data, at)[0]
    return value if value < 0x80000000 else 0


def relay_answer(answer: Answer, query: Query, *, age: int, limit: int) -> bytes:
    """Another server's answer for this client: its id, its spelling of the name, TTLs less `age`, cut to `limit`."""
    if answer.bare:
        return render_answer(query, rcode=answer.rcode)
    data = bytearray(answer.data)
    end = 12 + len(query.question)
    data[:2] = query.ident.to_bytes(2, "big")
    data[12:end] = query.question
    if len(data) > limit:
        return _cut(data, query, end)
    if age:
        for at in answer.ttls:
            data[at : at + 4] = max(_seconds(answer.data, at) - age, 0).to_bytes(4, "big")
    return bytes(data)


def _cut(data: bytearray, query: Query, end: int) -> bytes:
    flags = struct.unpack_from("!H", data, 2)[0] | TRUNCATED
    tail = _opt(SIZE_OFFERED, 0, 0, _edns_flags(query)) if query.edns else b""
    return _HEADER.pack(query.ident, flags, 1, 0, 0, 1 if tail else 0) + data[12:end] + tail


def to_wire(text: str) -> bytes:
    """A dotted name in wire form without the root. Raises FormatError if it cannot be asked for."""
    wire = bytearray()
    try:
        encoded = text.removesuffix(".").encode()
    except UnicodeEncodeError:
        raise FormatError(f"{text!r} cannot be written as UTF-8") from None
    for label in encoded.split(b"."):
        if not 0 < len(label) < 64:
            raise FormatError(f"{text!r} has an empty label or one longer than 63 bytes")
        wire.append(len(label))
        wire += label
    if len(wire) >= NAME_MAX:
        raise FormatError(f"{text!r} is longer than 255 bytes")
    return bytes(wire)


def labels(name: bytes) -> list[bytes]:
    """The labels of a name in wire form."""
    found = []
    at = 0
    while at < len(name):
        end = at + 1 + name[at]
        found.append(name[at + 1 : end])
        at = end
    return found
