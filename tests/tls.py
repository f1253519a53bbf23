"""Certificates, and a client that says over TLS that it has sent all, and reads on: Python's own cannot."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any, Self


def authority(directory: Path, *names: str) -> Path:
    """A new authority: for each name a directory with ca.pem, cert.pem and key.pem, as Docker's clients want them."""
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    directory.mkdir(parents=True)
    _openssl(directory, "req", "-x509", *new_key, *"-keyout key -out ca.pem -subj /CN=ca -days 2".split())
    (directory / "san").write_text("subjectAltName=IP:127.0.0.1")
    for name in names:
        (directory / name).mkdir()
        (directory / name / "ca.pem").write_bytes((directory / "ca.pem").read_bytes())
        _openssl(directory, "req", *new_key, "-keyout", f"{name}/key.pem", "-out", "request", "-subj", f"/CN={name}")
        signed = "x509 -req -in request -CA ca.pem -CAkey key -CAcreateserial -extfile san -days 2 -out"
        _openssl(directory, *signed.split(), f"{name}/cert.pem")
    return directory


def _openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def client_context(files: Path | None, *, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """With these files, or without a certificate; with one version of TLS alone, or any."""
    context = ssl.create_default_context(cafile=files / "ca.pem" if files else None)
    if files:
        context.load_cert_chain(files / "cert.pem", files / "key.pem")
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if version:
        context.minimum_version = context.maximum_version = version
    return context


class TlsClient:
    """What tests use of a socket, over TLS. `shutdown` is TLS's; `beneath` is the TCP socket."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.beneath = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")
        self._plain = bytearray()
        self._ended = False
        try:
            while not self._done(self._tls.do_handshake):
                self._hear()
        except BaseException:
            with contextlib.suppress(OSError):
                self._send()  # TLS's own word on it
            sock.close()
            raise

    def _done(self, step: Any) -> bool:
        try:
            step()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._send()
        return True

    def _hear(self) -> None:
        data = self.beneath.recv(1 << 18)
        if not data:
            raise ConnectionResetError("TCP has ended, and TLS has not")
        self._incoming.write(data)

    def _send(self) -> None:
        if self._outgoing.pending:
            self.beneath.sendall(self._outgoing.read())

    @property
    def version(self) -> str | None:
        return self._tls.version()

    def sendall(self, data: bytes) -> None:
        self._tls.write(data)
        self._send()

    def send(self, data: bytes) -> int:
        self.sendall(data)
        return len(data)

    def recv(self, limit: int) -> bytes:
        while not self._plain and not self._ended:
            self._decrypt()
            if not self._plain and not self._ended:
                self._hear()
        found = bytes(self._plain[:limit])
        del self._plain[:limit]
        return found

    def _decrypt(self) -> None:
        try:
            while piece := self._tls.read(1 << 14):
                self._plain += piece
            self._ended = True
        except ssl.SSLZeroReturnError:  # both sides have said so
            self._ended = True
        except ssl.SSLWantReadError:
            pass
        self._send()

    def shutdown(self, how: int) -> None:
        assert how == socket.SHUT_WR
        self._decrypt()  # OpenSSL would not have it afterwards
        with contextlib.suppress(ssl.SSLError):  # it is not the other side's turn
            self._tls.unwrap()
        self._send()

    def settimeout(self, seconds: float) -> None:
        self.beneath.settimeout(seconds)

    def close(self) -> None:
        """As the kernel does it for a process that dies."""
        self.beneath.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
