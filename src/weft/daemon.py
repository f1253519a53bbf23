"""weftd: builds all parts and runs them; the only module that knows all.

The event loop's thread speaks HTTP and hears the kernel; the engine's worker thread does the work. Stopping, in
whatever way, takes nothing down: containers, rules and the resolver go on, and the next weftd takes over.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import uvloop

from weft import __version__
from weft.config import Config
from weft.engine.acquiring import Acquiring
from weft.engine.adjusting import Adjusting
from weft.engine.controller import Controller
from weft.engine.converge import Converge
from weft.engine.doctor import Doctor
from weft.engine.drift import GATHER_SECONDS, Drift
from weft.engine.events import Event, EventLog
from weft.engine.explain import Explainer
from weft.engine.farewells import Farewells
from weft.engine.gate import Gate
from weft.engine.lease_book import LeaseBook
from weft.engine.leasing import Leasing
from weft.engine.parts import Parts
from weft.engine.policies import Policies
from weft.engine.publishing import Publishing
from weft.engine.reach import Ways
from weft.engine.readdressing import Readdressing
from weft.engine.renewing import Renewing
from weft.engine.state import Records
from weft.engine.updating import Updating
from weft.engine.wanted import check_settings
from weft.engine.worker import Worker
from weft.errors import Conflict, WeftError
from weft.kernel.dhcp import LanDhcp
from weft.kernel.host import HostLook
from weft.kernel.linux import LinuxKernel
from weft.kernel.ports import HostPortSockets
from weft.kernel.watch import Change, Watch
from weft.model import Origin
from weft.outside.ends import Ends
from weft.outside.hostports import RelayedPorts
from weft.outside.logs import configure_logging
from weft.outside.names import ResolverNames
from weft.outside.notify import notify_ready
from weft.outside.processes import HostProcesses
from weft.outside.runtime import ShimRuntime
from weft.resolver.privileges import raise_descriptor_limit
from weft.serve.adjust import Adjust
from weft.serve.app import App, Patience
from weft.serve.diagnose import Diagnose
from weft.serve.docker import docker_routes
from weft.serve.docker.app import DockerApi
from weft.serve.http import Server, listen, listen_tcp
from weft.serve.native import PREFIX, Native
from weft.serve.policy import PolicyRoutes
from weft.serve.ports import Ports
from weft.serve.routes import Table
from weft.serve.tls import mutual_tls
from weft.serve.update import Update
from weft.settings import load_config
from weft.store.sqlite import SqliteStore

_log = logging.getLogger("weft.daemon")

_REVIVE_SECONDS = 1.0
_RETRY_SECONDS = 0.5
"""Until what could not be put right is tried again."""


class _SystemClock:
    def time(self) -> float:
        return time.time()


@dataclass(frozen=True, slots=True)
class Daemon:
    """Everything that runs, built and not yet started."""

    config: Config
    worker: Worker
    parts: Parts
    gate: Gate
    controller: Controller
    converge: Converge
    drift: Drift
    watch: Watch
    resolver: ResolverNames
    runtime: ShimRuntime
    ports: RelayedPorts
    diagnose: Diagnose
    publishing: Publishing
    adjusting: Adjusting
    updating: Updating
    policies: Policies
    leasing: Leasing


def build(config: Config, wrap: Callable[[Parts], Parts] = lambda parts: parts) -> Daemon:
    """`wrap` lets a test stand between the engine and the world."""
    check_settings(config)
    os.makedirs(config.state_dir, mode=0o700, exist_ok=True)
    os.makedirs(config.run_dir, mode=0o755, exist_ok=True)
    worker = Worker()
    kernel = LinuxKernel(config.run_dir, spares=config.spares, programs=config.guard == "programs")
    resolver = ResolverNames(config.run_dir, config.resolv_conf, servers=config.dns, restore=lambda: restore_names())
    runtime = ShimRuntime(config.run_dir, config.state_dir)
    ports = RelayedPorts(HostPortSockets(), worker.after_answer)
    clock = _SystemClock()
    parts = wrap(
        Parts(
            config=config,
            records=Records(),
            kernel=kernel,
            store=SqliteStore(f"{config.state_dir}/weft.db"),
            names=resolver,
            ports=ports,
            runtime=runtime,
            processes=HostProcesses(),
            clock=clock,
            events=EventLog(clock, worker.after_answer),
            resolv_conf=partial(_read, config.resolv_conf),
        )
    )
    gate = Gate(parts, lambda: _rules(_read(config.forward_rules)))
    farewells = Farewells(parts.kernel, worker.when_idle)
    converge = Converge(parts, gate, worker.when_idle, farewells)
    controller = Controller(parts, gate, worker.when_idle, farewells)
    controller.announcements.later = worker.later
    look = HostLook(kernel, config)
    acquiring = Acquiring(parts, worker, LanDhcp(), LeaseBook(parts))
    leasing = Leasing(acquiring, Renewing(acquiring, Readdressing(parts, controller.announcements)))

    def restore_names() -> None:
        converge.reconcile_names()
        parts.events.emit("daemon", "heal", "", "resolver", what="the resolver had ended")

    return Daemon(
        config=config,
        worker=worker,
        parts=parts,
        gate=gate,
        controller=controller,
        converge=converge,
        drift=Drift(parts, converge, worker.when_idle),
        watch=Watch(),
        resolver=resolver,
        runtime=runtime,
        ports=ports,
        diagnose=Diagnose(
            Explainer(parts, gate, look),
            Doctor(parts, gate, converge, look, resolver.counters),
            Ways(parts, gate, look),
            worker,
        ),
        publishing=Publishing(parts, farewells),
        adjusting=Adjusting(parts),
        updating=Updating(parts, gate, farewells),
        policies=Policies(parts, gate),
        leasing=leasing,
    )


async def run(daemon: Daemon) -> None:
    """Until SIGTERM or SIGINT."""
    begun = time.monotonic()
    loop = asyncio.get_running_loop()
    more = (
        *daemon.diagnose.routes(),
        *Ports(daemon.publishing, daemon.worker).routes(),
        *Adjust(daemon.adjusting, daemon.worker).routes(),
        *Update(daemon.updating, daemon.worker).routes(),
        *PolicyRoutes(daemon.policies, daemon.worker).routes(),
    )
    native = Native(daemon.controller, daemon.parts, daemon.worker, daemon.leasing, more)
    patience = Patience()
    docker = DockerApi(docker_routes(daemon.controller, daemon.parts, daemon.worker, daemon.leasing), patience)
    app = App(prefix=PREFIX, routes=Table(native.routes()), others=docker, patience=patience)
    servers = [Server(app)]
    if daemon.config.tcp:
        servers.append(Server(app, mutual_tls(daemon.config.tls_cert, daemon.config.tls_key, daemon.config.tls_ca)))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, servers)
    daemon.worker.attach(loop)
    daemon.ports.attach(loop)
    ears = _Ears(daemon, loop)
    await daemon.worker.call(daemon.converge.start, rebooted=_rebooted(daemon.config.run_dir))
    ears.listen()
    daemon.leasing.start()
    daemon.worker.when_idle(daemon.controller.prepare)
    gc.collect()
    gc.freeze()  # the records of a large host would make every full collection slow
    listeners = [listen(daemon.config.socket_path)]
    if daemon.config.tcp:
        listeners.append(listen_tcp(daemon.config.tcp))
    _announce(daemon, time.monotonic() - begun)
    await asyncio.gather(*(server.serve(sockets=[s]) for server, s in zip(servers, listeners, strict=True)))
    _log.info("stopped; containers, rules and names go on")


def _stop(servers: Sequence[Server]) -> None:
    for server in servers:
        server.stop()


def _announce(daemon: Daemon, seconds: float) -> None:
    count = len(daemon.parts.records.sandboxes)
    facts = {"socket": daemon.config.socket_path, "containers": count, "ms": int(seconds * 1000)}
    _log.info("ready", extra={"fields": facts})
    daemon.parts.events.emit("daemon", "start", "", "weftd", version=__version__)
    notify_ready(f"{count} containers")


class _Ears:
    """What the daemon hears besides requests: the kernel's changes, ends of containers, the resolver's death."""

    def __init__(self, daemon: Daemon, loop: asyncio.AbstractEventLoop) -> None:
        self._daemon = daemon
        self._loop = loop
        self._ends = Ends(loop, lambda sandbox_id: daemon.worker.submit(partial(daemon.controller.ended, sandbox_id)))
        self._heard: list[Change] = []
        daemon.parts.events.subscribe(self._pass_on)

    def _pass_on(self, event: Event) -> None:
        self._loop.call_soon_threadsafe(self._on_event, event)

    def listen(self) -> None:
        daemon = self._daemon
        for fd in daemon.watch.filenos():
            self._loop.add_reader(fd, self._hear, fd)
        for sandbox in list(daemon.parts.records.sandboxes.values()):
            if sandbox.exit is None:
                self._watch_end(sandbox.id)
                daemon.drift.learn_later(sandbox.id)
        self._listen_to_resolver()
        if not daemon.resolver.alive():  # could not be started; what else there is goes on without names
            daemon.worker.submit(self._revive_resolver)
        self._loop.call_later(daemon.config.audit_seconds, self._audit)
        self._loop.call_later(_RETRY_SECONDS, self._retry)

    def _retry(self) -> None:
        if self._daemon.converge.is_waiting():
            self._daemon.worker.when_idle(self._daemon.converge.retry)
        self._loop.call_later(_RETRY_SECONDS, self._retry)

    def _audit(self) -> None:
        self._daemon.worker.when_idle(self._daemon.converge.audit)
        self._loop.call_later(self._daemon.config.audit_seconds, self._audit)

    # The kernel

    def _hear(self, fd: int) -> None:
        if not self._heard:
            self._loop.call_later(GATHER_SECONDS, self._report)
        self._heard.extend(self._daemon.watch.read(fd))

    def _report(self) -> None:
        heard, self._heard = self._heard, []
        if not heard:
            return
        links = {change.name or _name_of(change.index) for change in heard if change.nsid is None}
        notice = partial(
            self._daemon.drift.notice,
            firewall=any(change.what == "firewall" and change.nsid is None for change in heard),
            everything=any(change.what == "overflow" for change in heard),
            links=links - {""},
            namespaces={change.nsid for change in heard if change.nsid is not None},
        )
        self._daemon.worker.submit(notice)

    # Ends of containers

    def _on_event(self, event: Event) -> None:
        if event.type == "daemon" and event.name == "resolver":
            self._listen_to_resolver()
        if event.type != "container":
            return
        if event.action in ("create", "start"):
            self._watch_end(event.id)
            if event.action == "create":
                self._daemon.drift.learn_later(event.id)
        elif event.action in ("die", "destroy", "end"):
            self._ends.forget(event.id)

    def _watch_end(self, sandbox_id: str) -> None:
        sandbox = self._daemon.parts.records.sandboxes.get(sandbox_id)
        if sandbox is None or sandbox.exit is not None:
            return
        if sandbox.origin is Origin.PATH:
            self._ends.watch_path(sandbox_id, sandbox.source)
        elif sandbox.origin is Origin.PID:
            self._ends.watch_pid(sandbox_id, int(sandbox.source.partition(":")[0]))
        elif sandbox.process is not None:
            fd = self._daemon.runtime.pidfd(sandbox_id)
            if fd is not None:
                self._ends.watch_fd(sandbox_id, fd)
            else:
                self._daemon.worker.submit(partial(self._end_unseen, sandbox_id))

    def _end_unseen(self, sandbox_id: str) -> None:
        """Without a process it has either yet to start, or ended before anybody could look."""
        if self._daemon.runtime.exit_of(sandbox_id) is not None:
            self._daemon.controller.ended(sandbox_id)

    # The resolver

    def _listen_to_resolver(self) -> None:
        self._resolver = self._daemon.resolver.fileno()
        self._loop.add_reader(self._resolver, self._resolver_died)

    def _resolver_died(self) -> None:
        self._loop.remove_reader(self._resolver)
        self._daemon.worker.submit(self._revive_resolver)

    def _revive_resolver(self) -> None:
        # What restores it emits an event, which makes us listen to the new one; so does a use case that is quicker.
        try:
            self._daemon.resolver.revive()
        except WeftError as error:
            _log.error("cannot start the resolver: %s", error.message)
            again = partial(self._daemon.worker.submit, self._revive_resolver)
            self._loop.call_soon_threadsafe(self._loop.call_later, _REVIVE_SECONDS, again)


def _name_of(index: int) -> str:
    """Of a link of the host; empty if there is none."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""


def _rebooted(run_dir: str) -> bool:
    """Whether this is the first start since the run directory, and so every namespace, was made anew."""
    marker = f"{run_dir}/booted"
    if os.path.exists(marker):
        return False
    with open(marker, "w"):
        return True


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _rules(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _claim_namespace() -> socket.socket:
    """One weftd per network namespace: an abstract socket's name is the namespace's own."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind("\0weftd")
    except OSError:
        raise Conflict("another weftd runs in this network namespace already") from None
    return claim


def main(argv: Sequence[str] | None = None, *, wrap: Callable[[Parts], Parts] = lambda parts: parts) -> int:
    try:
        config = load_config(argv, os.environ)
        configure_logging(config.log_level, config.log_format)
        claim = _claim_namespace()
        raise_descriptor_limit()  # one for each published port
        uvloop.run(run(build(config, wrap)))
    except WeftError as error:
        print(f"weftd: {error.message}", file=sys.stderr)
        return 1
    claim.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
