"""`python -m tests.system.flood PATH VICTIM FRAME`: a container's lies, from before it has eth1 until it is up.

PATH is its namespace, VICTIM one of the network that it is about to be connected to, FRAME what it sends, in hex.
Prints "ready", and when eth1 has been there for a while how many frames VICTIM has heard, and how many were sent.
"""

from __future__ import annotations

import socket
import sys
import time

from tests.enter import network

_AFTER = 0.3
"""Seconds."""


def main(path: str, victim: str, frame: bytes) -> None:
    with network(victim):
        ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    ear.bind(("eth0", 0))
    ear.setblocking(False)
    sent, end = 0, time.monotonic() + 15
    with network(path):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        print("ready", flush=True)
        while time.monotonic() < end:
            try:
                wire.sendto(frame, ("eth1", 0))
            except OSError:  # not there, or not up yet
                continue
            if not sent:
                end = time.monotonic() + _AFTER
            sent += 1
    print(sum(got == frame for got in _heard(ear)), sent, flush=True)


def _heard(ear: socket.socket) -> list[bytes]:
    heard = []
    while True:
        try:
            heard.append(ear.recv(2048))
        except BlockingIOError:
            return heard


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3]))
