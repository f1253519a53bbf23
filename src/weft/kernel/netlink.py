"""Netlink: a small codec and a transport that sends many requests at once.

Requests are `Request(type, flags, body)`; attributes are bytes made by `attr` and its kin. The kernel answers within
the send call, so everything is there to be read when it returns, and nothing here ever waits. Only the last request
of a batch asks for an acknowledgement: failures are reported unasked, and every acknowledgement costs a read.

Sockets belong to the namespace they were opened in, whichever thread uses them later.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_ECHO = 0x8
NLM_F_ROOT = 0x100
NLM_F_MATCH = 0x200
NLM_F_DUMP = NLM_F_ROOT | NLM_F_MATCH
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
NLA_F_NESTED = 0x8000

_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLM_F_DUMP_INTR = 0x10
_NLM_F_CAPPED = 0x100
_NLM_F_ACK_TLVS = 0x200
_NLMSGERR_ATTR_MSG = 1

SOL_NETLINK = 270
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11
_SO_RCVBUFFORCE = 33

_HEADER = struct.Struct("=IHHII")
_ERROR = struct.Struct("=i")
_ATTR = struct.Struct("=HH")
_ATTR_U32 = struct.Struct("=HHI")
_ATTR_BE32 = struct.Struct("=HH4s")
_PAD = (b"", b"\0\0\0", b"\0\0", b"\0")

# Python makes a buffer of the full size for each read; from 128 KiB on, malloc would ask the kernel for it every time.
_DATAGRAM = 1 << 15
_SHORT = 1 << 12
_DUMP_TRIES = 8


class Request(NamedTuple):
    type: int
    flags: int
    """NLM_F_*; NLM_F_REQUEST is added."""
    body: bytes


class Message(NamedTuple):
    type: int
    flags: int
    seq: int
    pid: int
    """The port id of the socket that caused it."""
    body: bytes


class Packed(NamedTuple):
    """Requests as they are sent, with their sequence numbers."""

    data: bytes
    first: int
    last: int


class Failure(NamedTuple):
    """A request that the kernel refused."""

    at: int
    """Which of the batch."""
    errno: int
    text: str
    """The kernel's own words (extended acknowledgement), or what the number means."""


def attr(kind: int, payload: bytes) -> bytes:
    size = len(payload)
    return _ATTR.pack(size + 4, kind) + payload + _PAD[size & 3]


def u32(kind: int, value: int) -> bytes:
    return _ATTR_U32.pack(8, kind, value)


def be32(kind: int, value: int) -> bytes:
    return _ATTR_BE32.pack(8, kind, value.to_bytes(4, "big"))


def u8(kind: int, value: int) -> bytes:
    return attr(kind, bytes((value,)))


def text(kind: int, value: str) -> bytes:
    return attr(kind, value.encode() + b"\0")


def nest(kind: int, *attrs: bytes) -> bytes:
    return attr(kind | NLA_F_NESTED, b"".join(attrs))


def attributes(body: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """(kind, payload) of each attribute from `offset` on; flag bits are taken off the kind."""
    end = len(body)
    while offset + 4 <= end:
        size, kind = _ATTR.unpack_from(body, offset)
        if size < 4:
            return
        yield kind & 0x3FFF, body[offset + 4 : offset + size]
        offset += (size + 3) & ~3


def attribute_map(body: bytes, offset: int = 0) -> dict[int, bytes]:
    return dict(attributes(body, offset))


def zero_terminated(payload: bytes) -> str:
    return payload.rstrip(b"\0").decode(errors="replace")


def parse_messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram."""
    offset, end = 0, len(data)
    while offset + 16 <= end:
        size, kind, flags, seq, pid = _HEADER.unpack_from(data, offset)
        if size < 16:
            return
        yield Message(kind, flags, seq, pid, data[offset + 16 : offset + size])
        offset += (size + 3) & ~3


def error_of(message: Message) -> tuple[int, str] | None:
    """(errno, text) of an error or acknowledgement (errno 0); None if the message is something else."""
    if message.type == _NLMSG_DONE:
        number = -_ERROR.unpack_from(message.body)[0] if len(message.body) >= 4 else 0
        return number, os.strerror(number)
    if message.type != _NLMSG_ERROR:
        return None
    number = -_ERROR.unpack_from(message.body)[0]
    if number == 0:
        return 0, ""
    words = os.strerror(number)
    if message.flags & _NLM_F_ACK_TLVS:
        echoed = 16 if message.flags & _NLM_F_CAPPED else _HEADER.unpack_from(message.body, 4)[0]
        said = attribute_map(message.body, 4 + echoed).get(_NLMSGERR_ATTR_MSG)
        if said:
            words = zero_terminated(said)
    return number, words


def pack(requests: Sequence[Request], seq: int) -> bytes:
    """All as one datagram, numbered from `seq`; the last asks for an acknowledgement."""
    parts: list[bytes] = []
    head, last = _HEADER.pack, seq + len(requests) - 1
    for kind, flags, body in requests:
        acknowledge = NLM_F_REQUEST | NLM_F_ACK if seq == last else NLM_F_REQUEST
        parts += (head(16 + len(body), kind, flags | acknowledge, seq, 0), body)
        seq += 1
    return b"".join(parts)


def pack_batch(begin: Request, requests: Sequence[Request], end: Request, seq: int = 1) -> Packed:
    """An nfnetlink batch. As bytes it may be sent again, through other sockets too."""
    last = seq + len(requests)
    data = _whole(begin, 0, seq) + pack(requests, seq + 1) + _whole(end, 0, last + 1)
    return Packed(data, seq + 1, last)


def _whole(request: Request, extra: int, seq: int) -> bytes:
    kind, flags, body = request
    return _HEADER.pack(16 + len(body), kind, flags | NLM_F_REQUEST | extra, seq, 0) + body


class Netlink:
    """A socket to one netlink family in the calling thread's namespace."""

    def __init__(self, family: int, *, port: int = 0, receive_buffer: int = 0) -> None:
        """`port` is the port id to bind (0: the kernel chooses at the first send); `receive_buffer` in bytes."""
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self.socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self.socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        if receive_buffer:
            self._widen(receive_buffer)
        if port:
            try:
                self.socket.bind((port, 0))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        self._seq = 1

    def close(self) -> None:
        self.socket.close()

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, requests: Sequence[Request]) -> list[Failure]:
        """Have all requests carried out, in order; those after a failed one are tried, too."""
        if not requests:
            return []
        first = self._seq
        self._take(len(requests))
        return self.send_packed(Packed(pack(requests, first), first, self._seq - 1))

    def batch(self, begin: Request, requests: Sequence[Request], end: Request) -> list[Failure]:
        """Have all requests carried out or none (nfnetlink's batches). `at` -1 means the batch as a whole."""
        if not requests:
            return []
        packed = pack_batch(begin, requests, end, self._seq)
        self._take(len(requests) + 2)
        return self.send_packed(packed)

    def send_packed(self, packed: Packed) -> list[Failure]:
        """Send, and read up to the acknowledgement of the last request."""
        data, first, last = packed
        self.socket.send(data)
        failures: list[Failure] = []
        while True:
            try:
                answer = self.socket.recv(_SHORT, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return failures  # A batch that failed as a whole acknowledges no request.
            for message in parse_messages(answer):
                outcome = error_of(message)
                if outcome and outcome[0] and message.seq >= first - 1:
                    failures.append(Failure(message.seq - first, *outcome))
                if outcome and message.seq == last:
                    return failures

    def get(self, requests: Sequence[Request]) -> list[list[Message] | Failure]:
        """For each of several reading requests what the kernel answered; none of them may be a dump."""
        if not requests:
            return []
        first = self._seq
        self._take(len(requests))
        self.socket.send(pack(requests, first))
        answers: list[list[Message] | Failure] = [[] for _ in requests]
        for message in self._waiting():
            index = message.seq - first
            if not 0 <= index < len(requests):
                continue
            outcome = error_of(message)
            if outcome is None:
                answer = answers[index]
                if isinstance(answer, list):
                    answer.append(message)
            elif outcome[0]:
                answers[index] = Failure(index, *outcome)
            if message.seq == first + len(requests) - 1 and outcome is not None:
                break
        return answers

    def dump(self, request: Request) -> list[Message]:
        """All that the kernel lists, from one consistent pass. Raises OSError if it cannot."""
        for _ in range(_DUMP_TRIES):
            messages, whole = self._dump_once(request)
            if whole:
                return messages
        raise OSError(errno.EINTR, "the list changed whenever it was read")

    def _dump_once(self, request: Request) -> tuple[list[Message], bool]:
        seq = self._seq
        self._take(1)
        self.socket.send(_whole(request, NLM_F_DUMP, seq))
        messages: list[Message] = []
        whole = True
        while True:
            # The kernel fills the next part while the last is read; there is always one until DONE.
            for message in parse_messages(self.socket.recv(_DATAGRAM)):
                if message.seq != seq:
                    continue
                whole = whole and not message.flags & _NLM_F_DUMP_INTR
                outcome = error_of(message)
                if outcome is None:
                    messages.append(message)
                elif outcome[0]:
                    raise OSError(*outcome)
                else:
                    return messages, whole

    def _waiting(self) -> Iterator[Message]:
        """The messages that are there to be read."""
        while True:
            try:
                data = self.socket.recv(_DATAGRAM, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            yield from parse_messages(data)

    def _take(self, count: int) -> None:
        """Use up sequence numbers."""
        self._seq += count

    def _widen(self, size: int) -> None:
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
        except PermissionError:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
