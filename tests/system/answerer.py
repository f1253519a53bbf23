"""A program that listens in several network namespaces at once and answers everybody with "NAME PEER'S-ADDRESS".

Started with a list of listeners as JSON: [{"netns": path or "", "name", "proto", "address", "port"}], where `proto` is
"tcp", "udp" or "sctp".
Says "ready" once all listen; ends when standard input does.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
from typing import Any

from tests.enter import network

SCTP = 132
"""The protocol's number, which Python does not name everywhere."""


def main() -> int:
    waiting = selectors.DefaultSelector()
    for wanted in json.loads(sys.argv[1]):
        with network(wanted["netns"] or "/proc/self/ns/net"):
            waiting.register(_listen(wanted), selectors.EVENT_READ, wanted["name"])
    waiting.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is sys.stdin:
                return 0
            _answer(key.fileobj, key.data)


def _listen(wanted: dict[str, Any]) -> socket.socket:
    family = socket.AF_INET6 if ":" in wanted["address"] else socket.AF_INET
    kind = socket.SOCK_DGRAM if wanted["proto"] == "udp" else socket.SOCK_STREAM
    listener = socket.socket(family, kind, SCTP if wanted["proto"] == "sctp" else 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((wanted["address"], wanted["port"]))
    if kind == socket.SOCK_STREAM:
        listener.listen(64)
    return listener


def _answer(listener: Any, name: str) -> None:
    if listener.type == socket.SOCK_STREAM:
        stream, peer = listener.accept()
        with stream:
            stream.sendall(_words(name, peer))
        return
    _, peer = listener.recvfrom(2048)
    listener.sendto(_words(name, peer), peer)


def _words(name: str, peer: tuple[Any, ...]) -> bytes:
    return f"{name} {peer[0].removeprefix('::ffff:')}".encode()


if __name__ == "__main__":
    sys.exit(main())
