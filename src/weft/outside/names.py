"""The running resolver, seen from weftd: it is started if need be, told of changes, and brought to a known state.

The resolver outlives weftd. A new weftd connects to the one that runs, asks what it holds (`reconcile`) and says only
what is different, so names that stay are never absent. Only a resolver that speaks another version of the protocol
is ended and replaced; then every container's sockets are opened anew.

All methods are to be called by one thread at a time, in the host's network namespace (a new resolver is born in it).
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO, Final

import weft
from weft.dns import control
from weft.dns.control import PACKET, PROTOCOL, Message
from weft.engine.needs import Holder, View
from weft.errors import Invalid, Unavailable, WeftError
from weft.model import IPAddress

TIMEOUT: Final = 2.0
"""Seconds in which the resolver must take or answer a message; it needs less than a millisecond."""
START_TIMEOUT: Final = 10.0
LOG_MAX: Final = 1024 * 1024

_log = logging.getLogger("weft.names")


class ResolverNames:
    """`engine.needs.Names` by a process of its own at run_dir/resolver.sock."""

    def __init__(
        self,
        run_dir: str,
        resolv_conf: str,
        *,
        servers: Sequence[IPAddress] = (),
        restore: Callable[[], None] | None = None,
    ) -> None:
        """`servers` replace those in the host's resolv.conf.

        `restore` must call `reconcile` with all that should be; it is called when a message finds the resolver gone
        and a new one has been started. Without it such a message raises Unavailable.
        """
        self.pid = 0
        """The resolver's process id; 0 before `start`."""
        self._run_dir = run_dir
        self._path = f"{run_dir}/resolver.sock"
        self._resolv_conf = os.path.abspath(resolv_conf)
        self._upstream: Message = ("upstream", control.items(str(s) for s in servers))
        self._restore = restore
        self._sock: socket.socket | None = None
        self._pidfd = -1
        # Watches the process that runs now; itself it stays the same, so whoever watches it need not begin anew.
        self._ended = select.epoll()
        self._reviving = False

    # The process.

    def start(self) -> None:
        """Take over the resolver that runs, or start one. Raises Unavailable. Without effect if connected."""
        if self.alive():
            return
        if not self._take_over():
            self._end_unreachable()
            self._spawn()
            if not self._take_over():
                raise Unavailable(f"the resolver started, but does not answer at {self._path}; {self._last_words()}")
        self._send([self._upstream])

    def fileno(self) -> int:
        """A descriptor, the same for life, that is readable while the resolver that was started has ended."""
        return self._ended.fileno()

    def alive(self) -> bool:
        return self._sock is not None and not self._ended.poll(0)

    def revive(self) -> None:
        """If the resolver has ended, start another and restore what it should hold."""
        if self.alive() or self._reviving:
            return
        _log.warning("the resolver (pid %d) is gone; starting another", self.pid)
        self._reviving = True
        try:
            self.close()
            self.start()
            if self._restore is not None:
                self._restore()
        finally:
            self._reviving = False

    def check(self) -> None:
        """See that the resolver still answers; one that hangs is replaced."""
        try:
            self.counters()
        except Unavailable as error:
            _log.warning("%s", error)
            self.revive()

    def close(self) -> None:
        """Let go of the resolver, which goes on."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        if self._pidfd >= 0:
            self._ended.unregister(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def stop(self) -> None:
        """End the resolver, if there is one that we are connected to. Repeatable."""
        if self._pidfd >= 0:
            for sign in (signal.SIGTERM, signal.SIGKILL):
                try:
                    signal.pidfd_send_signal(self._pidfd, sign)
                except ProcessLookupError:
                    break
                if self._ended.poll(TIMEOUT):
                    break
        self.close()

    # What it is told.

    def set_network(self, network_id: str, name: str) -> None:
        self._tell([control.network(network_id, name)])

    def drop_network(self, network_id: str) -> None:
        self._tell([("drop", network_id)])

    def publish(self, network_id: str, holder: Holder) -> None:
        self._tell([_publish(network_id, holder)])

    def withdraw(self, network_id: str, endpoint_id: str) -> None:
        self._tell([("withdraw", network_id, endpoint_id)])

    def enter(self, view: View, holders: Sequence[tuple[str, Holder]], udp: int, tcp: int) -> None:
        try:
            self._tell([*(_publish(network_id, holder) for network_id, holder in holders), _view(view)], (udp, tcp))
        finally:
            os.close(udp)
            os.close(tcp)

    def set_view(self, view: View) -> None:
        self._tell([_view(view)])

    def leave(self, sandbox_id: str, endpoints: Sequence[tuple[str, str]]) -> None:
        withdrawn = [("withdraw", network_id, endpoint_id) for network_id, endpoint_id in endpoints]
        self._tell([*withdrawn, ("close", sandbox_id)])

    def reconcile(
        self,
        networks: Mapping[str, str],
        holders: Mapping[str, Sequence[Holder]],
        views: Sequence[View],
        open_sockets: Callable[[str], tuple[int, int]],
    ) -> None:
        """See `Names.reconcile`. A view whose sockets cannot be opened is logged and left out."""
        self.start()
        held = {_subject(m): m for m in self._ask(("list",), "end")}
        wanted = {_subject(m): m for m in _wanted(networks, holders, views)}
        changed = [m for subject, m in wanted.items() if held.get(subject) != m]
        gone = [subject for subject in held if subject not in wanted]
        opened = [m for m in changed if m[0] == "view" and _subject(m) not in held]
        # What is new comes before what goes: an alias that moves from one endpoint to another is never absent.
        self._send([m for m in changed if m not in opened])
        self._send([_ended(subject) for subject in gone])
        for message in opened:
            self._open(message, open_sockets)

    def counters(self) -> dict[str, int]:
        """Whole numbers since the resolver started: queries, local, cached, forwarded, failed, refused, …"""
        self.start()
        (answer,) = self._ask(("counters",), "counters")
        return {name: int(value) for name, _, value in (item.partition("=") for item in control.split(answer[1]))}

    def _open(self, message: Message, open_sockets: Callable[[str], tuple[int, int]]) -> None:
        try:
            udp, tcp = open_sockets(message[1])
        except (WeftError, OSError) as error:
            _log.warning("no names for container %s: %s", message[1][:12], error)
            return
        try:
            self._send([message], (udp, tcp))
        finally:
            os.close(udp)
            os.close(tcp)

    # The line.

    def _tell(self, messages: Sequence[Message], fds: Sequence[int] = ()) -> None:
        try:
            self._send(messages, fds)
        except Unavailable:
            if self._reviving or self._restore is None:
                raise
            self.revive()
            # Restored is what the records say, perhaps without what is being said now; saying it twice does no harm.
            self._send(messages, fds)

    def _send(self, messages: Sequence[Message], fds: Sequence[int] = ()) -> None:
        if self._sock is None:
            raise Unavailable("there is no connection to the resolver")
        try:
            packets = list(control.pack(messages))
            for packet in packets[:-1]:
                self._sock.send(packet)
            for packet in packets[-1:]:
                # The last message is the view's, if it is one that comes with sockets.
                socket.send_fds(self._sock, [packet], list(fds)) if fds else self._sock.send(packet)
        except ValueError as error:
            raise Invalid(f"too many names, or too long: {error}") from error
        except OSError as error:
            self._hang_up()
            raise Unavailable(f"the resolver (pid {self.pid}) does not take messages: {error}") from error

    def _ask(self, message: Message, last: str) -> list[Message]:
        """Say something that is answered; the answer, up to the message `last` (included unless it is "end")."""
        self._send([message])
        assert self._sock is not None
        answer: list[Message] = []
        while not answer or answer[-1][0] != last:
            try:
                packet = self._sock.recv(PACKET)
            except OSError as error:
                self._hang_up()
                raise Unavailable(f"the resolver (pid {self.pid}) does not answer: {error}") from error
            if not packet:
                self._hang_up()
                raise Unavailable(f"the resolver (pid {self.pid}) has ended; {self._last_words()}")
            answer += control.unpack(packet)
        return answer[:-1] if last == "end" else answer

    def _hang_up(self) -> None:
        """Forget the line, not the process: whoever watches it must still see its end."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _take_over(self) -> bool:
        """Connect to the resolver that runs. One that does not answer, or not in our words, is ended."""
        if self._connect() and self._understood():
            return True
        self.stop()
        return False

    def _connect(self) -> bool:
        self.close()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.settimeout(TIMEOUT)
        try:
            sock.connect(self._path)
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            return False
        except OSError as error:
            sock.close()
            raise Unavailable(f"cannot reach the resolver at {self._path}: {error}") from error
        self.pid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        try:
            self._pidfd = os.pidfd_open(self.pid)
            self._ended.register(self._pidfd, select.EPOLLIN)
        except OSError:
            sock.close()
            return False
        self._sock = sock
        return True

    def _understood(self) -> bool:
        try:
            (answer,) = self._ask(("hello", PROTOCOL), "hello")
        except Unavailable as error:
            _log.warning("%s", error)
            return False
        if answer[1] != PROTOCOL:
            _log.warning("the resolver speaks protocol %s, not %s; it is replaced", answer[1], PROTOCOL)
            return False
        if answer[3] != self._resolv_conf:
            # It has shut itself off from all other files.
            _log.warning("the resolver reads %s, not %s; it is replaced", answer[3], self._resolv_conf)
            return False
        return True

    def _end_unreachable(self) -> None:
        """End a resolver that runs, as the lock on its file says, but cannot be reached: its socket was removed."""
        path = f"{self._run_dir}/resolver.pid"
        deadline = time.monotonic() + TIMEOUT
        while _locked(path) and time.monotonic() < deadline:
            pid = _number(path)
            _log.warning("the resolver (pid %d) cannot be reached and is ended", pid)
            if pid > 1:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)

    def _spawn(self) -> None:
        main = os.path.join(os.path.dirname(os.path.abspath(weft.__file__)), "resolver", "__main__.py")
        command = [sys.executable or "python3", "-I", "-S", main, "--control", self._path]
        command += ["--resolv-conf", self._resolv_conf, "--detach"]
        try:
            with _open_log(self._log_path) as log:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd="/",
                    env={"LC_ALL": "C.UTF-8"},
                    timeout=START_TIMEOUT,
                    check=False,
                )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"the resolver cannot be started: {error}") from error
        if done.stdout != b"ready\n":
            raise Unavailable(f"the resolver cannot be started; {self._last_words()}")

    @property
    def _log_path(self) -> str:
        return f"{self._run_dir}/resolver.log"

    def _last_words(self) -> str:
        try:
            with open(self._log_path, encoding="utf-8", errors="replace") as log:
                lines = log.read().splitlines()
        except OSError as error:
            return f"its log cannot be read: {error}"
        return f"its log ends: {lines[-1]}" if lines else "its log is empty"


def _open_log(path: str) -> BinaryIO:
    """The log to append to; one that has grown is put aside first, under .1."""
    try:
        if os.stat(path).st_size > LOG_MAX:
            os.replace(path, f"{path}.1")
    except FileNotFoundError:
        pass
    return open(path, "ab", buffering=0)


def _locked(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _number(path: str) -> int:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read() or 0)
    except (OSError, ValueError):
        return 0


def _publish(network_id: str, holder: Holder) -> Message:
    return control.publish(network_id, holder.endpoint, holder.names, (a.packed for a in holder.addresses))


def _view(view: View) -> Message:
    servers = [str(server) for server in view.servers]
    return control.view(view.sandbox, view.networks, servers, view.links, forward=view.forward)


def _wanted(
    networks: Mapping[str, str], holders: Mapping[str, Sequence[Holder]], views: Sequence[View]
) -> Iterator[Message]:
    for network_id, name in networks.items():
        yield control.network(network_id, name)
    for network_id, bearers in holders.items():
        for holder in bearers:
            yield _publish(network_id, holder)
    for view in views:
        yield _view(view)


def _subject(message: Message) -> Message:
    """What a message is about: of two about the same, the later holds."""
    return message[:3] if message[0] == "publish" else message[:2]


def _ended(subject: Message) -> Message:
    """The message that undoes one about the subject."""
    match subject:
        case ("publish", network_id, endpoint):
            return ("withdraw", network_id, endpoint)
        case ("view", sandbox):
            return ("close", sandbox)
        case _:
            return ("drop", subject[1])
