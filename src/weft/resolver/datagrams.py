"""Many datagrams by one system call: recvmmsg(2) and sendmmsg(2), which Python's socket module does not have.

All memory is set aside once and shared by all sockets: nothing is kept here from one turn to the next. An answer is
written over its question behind the id, and goes back to the address that the kernel wrote beside the question. So a
datagram whose answer is ready costs one object, the bytes by which the answer is found.
"""

from __future__ import annotations

import ctypes
import mmap
import socket
from collections.abc import Callable

SIZE = 4096
"""Bytes of a datagram; no answer is longer (`message.parse_query` caps what a client may offer)."""
BATCH = 64
"""Datagrams taken from one socket in one turn."""

Find = Callable[[bytes], bytes | None]
"""From a query's bytes without the id to its answer's without the id; None: not ready."""
Rest = list[tuple[bytes, tuple[str, int]]]
"""Queries and who asked."""


class _Address(ctypes.Structure):
    """struct sockaddr_in; port and address in network order."""

    _fields_ = (
        ("family", ctypes.c_uint16),
        ("port", ctypes.c_uint8 * 2),
        ("address", ctypes.c_uint8 * 4),
        ("zero", ctypes.c_uint8 * 8),
    )


class _Piece(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("pieces", ctypes.c_void_p),
        ("count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("header", _Header), ("length", ctypes.c_uint32))


class Datagrams:
    """Raises AttributeError if the C library has no such calls."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._recvmmsg, self._sendmmsg = library.recvmmsg, library.sendmmsg
        self._recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
        self._sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
        # Of all buffers only a slice of an mmap is bytes, without a step between.
        self._data = mmap.mmap(-1, BATCH * SIZE)
        self._addresses = (_Address * BATCH)()
        self._taken = self._messages(taken := (_Piece * BATCH)())
        self._given = self._messages(given := (_Piece * BATCH)())
        self._pieces = (taken, given)  # the messages hold their addresses only
        # Fields of every message as plain numbers: to reach them through the structures takes several times as long.
        received = memoryview(self._taken).cast("B").cast("I")
        lengths = memoryview(given).cast("B").cast("L")  # as long as a size_t
        self._received = received[_Message.length.offset // 4 :: ctypes.sizeof(_Message) // 4]
        self._lengths = lengths[_Piece.length.offset // lengths.itemsize :: 2]
        self._first_taken = ctypes.addressof(self._taken)
        self._first_given = ctypes.addressof(self._given)

    def _messages(self, pieces: ctypes.Array[_Piece]) -> ctypes.Array[_Message]:
        """One message for each buffer. Those for taking and for giving share buffers and addresses."""
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._data))
        messages = (_Message * BATCH)()
        for i, (message, piece, address) in enumerate(zip(messages, pieces, self._addresses, strict=True)):
            piece.base, piece.length = base + i * SIZE, SIZE
            header = message.header
            header.name, header.name_length = ctypes.addressof(address), ctypes.sizeof(address)
            header.pieces, header.count = ctypes.addressof(piece), 1
        return messages

    def receive(self, sock: socket.socket) -> int:
        """Take what has come, up to `BATCH`; how many. An error of a past send is nothing to us."""
        number: int = self._recvmmsg(sock.fileno(), self._first_taken, BATCH, socket.MSG_DONTWAIT, None)
        return max(0, number)

    def reply(self, sock: socket.socket, number: int, find: Find) -> Rest:
        """Answer those of the `number` received whose answer is ready; the others, with who asked."""
        data, received, lengths = self._data, self._received, self._lengths
        rest: Rest = []
        sent = at = 0
        for i in range(number):
            answer = find(data[at + 2 : at + received[i]])
            if answer is None:
                rest.append((data[at : at + received[i]], self._client(i)))
                self._send(sock, sent, i)
                sent = i + 1
            else:
                length = len(answer) + 2
                data[at + 2 : at + length] = answer
                lengths[i] = length
            at += SIZE
        self._send(sock, sent, number)
        return rest

    def _client(self, i: int) -> tuple[str, int]:
        address = self._addresses[i]
        return socket.inet_ntoa(bytes(address.address)), int.from_bytes(bytes(address.port), "big")

    def _send(self, sock: socket.socket, first: int, end: int) -> None:
        """Send those from `first` to `end`; one that cannot be sent is left out, and its client asks again."""
        while first < end:
            given = self._first_given + first * ctypes.sizeof(_Message)
            first += max(1, self._sendmmsg(sock.fileno(), given, end - first, socket.MSG_DONTWAIT))


class OneByOne:
    """The same by the calls that every system has."""

    def __init__(self) -> None:
        self._queries: Rest = []

    def receive(self, sock: socket.socket) -> int:
        self._queries = []
        try:
            for _ in range(BATCH):
                self._queries.append(sock.recvfrom(SIZE, socket.MSG_DONTWAIT))
        except OSError:
            pass
        return len(self._queries)

    def reply(self, sock: socket.socket, number: int, find: Find) -> Rest:
        rest: Rest = []
        for data, client in self._queries[:number]:
            answer = find(data[2:])
            if answer is None:
                rest.append((data, client))
                continue
            try:
                sock.sendto(data[:2] + answer, socket.MSG_DONTWAIT, client)
            except OSError:
                pass
        return rest


def datagrams() -> Datagrams | OneByOne:
    """The fastest way that there is here."""
    try:
        return Datagrams()
    except AttributeError:
        return OneByOne()
