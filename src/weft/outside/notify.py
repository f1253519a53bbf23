"""Tells the service manager that the daemon is ready (sd_notify(3)), if it was started by one."""

from __future__ import annotations

import os
import socket


def notify_ready(status: str) -> None:
    address = os.environ.pop("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(f"READY=1\nSTATUS={status}\n".encode(), address)
        except OSError:  # the manager's loss; the daemon is ready all the same
            pass
