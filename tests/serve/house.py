"""The real API and engine over a real socket, with nothing behind them: no kernel, no resolver, no processes.

For tests of what is said over the wire. What a container really does is tested in tests/system with a real weftd.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from weft.client import Client, connect
from weft.config import Config
from weft.engine.acquiring import Acquiring
from weft.engine.controller import Controller
from weft.engine.events import EventLog
from weft.engine.farewells import Farewells
from weft.engine.gate import Gate
from weft.engine.lease_book import LeaseBook
from weft.engine.leasing import Leasing
from weft.engine.parts import Parts
from weft.engine.readdressing import Readdressing
from weft.engine.renewing import Renewing
from weft.engine.state import Records
from weft.engine.updating import Updating
from weft.engine.worker import Worker
from weft.errors import Conflict, Invalid
from weft.model import Exit, PortBinding, Proto, Sandbox
from weft.serve.app import App
from weft.serve.http import Server, listen
from weft.serve.native import PREFIX, Native
from weft.serve.routes import Table
from weft.serve.update import Update
from weft.store.sqlite import SqliteStore


class Nothing:
    """A part of which every method does nothing and answers nothing, unless a subclass knows better."""

    def __getattr__(self, name: str) -> object:
        return lambda *args, **kwargs: None


class NoKernel(Nothing):
    def missing(self, plan: object) -> tuple[object, ...]:
        return ()

    def host_networks(self, beside: str = "") -> tuple[object, ...]:
        return ()

    def sweep_inside(self, netns: str, kept: object) -> tuple[str, ...]:
        return ()

    def is_namespace(self, path: str) -> bool:
        return path.startswith("/run/netns/")

    def open_nameserver(self, netns: str) -> tuple[int, int]:
        return (-1, -1)


class NoPorts(Nothing):
    def __init__(self) -> None:
        self.next = 49152

    def reserve(self, bindings: Sequence[PortBinding]) -> None:
        if any(binding.host_port == 22 for binding in bindings):
            raise Conflict("port 22/tcp is in use by sshd")

    def free_port(self, proto: Proto, host_ip: object, first: int, last: int) -> int:
        self.next += 1
        return first or self.next


class NoRuntime(Nothing):
    """Processes that only say they run. `nonexistent` is a command that cannot be executed."""

    def __init__(self) -> None:
        self.running: dict[str, tuple[int, int]] = {}
        self.ends: dict[str, Exit] = {}
        self.signals: list[int] = []
        self.obeys = {15, 9}
        self.on_end = lambda ident: None

    def start(self, sandbox: Sandbox, files: Mapping[str, str]) -> int:
        assert sandbox.process is not None
        if sandbox.process.argv[0] == "nonexistent":
            raise Invalid("nonexistent: no such file or directory")
        self.running[sandbox.id] = (4711, 4712)
        return 4711

    def pids(self, sandbox_id: str) -> tuple[int, int] | None:
        return self.running.get(sandbox_id)

    def started(self, sandbox_id: str) -> float:
        return 4.0 if sandbox_id in self.running or sandbox_id in self.ends else 0.0

    def exit_of(self, sandbox_id: str) -> Exit | None:
        return self.ends.get(sandbox_id)

    def signal(self, sandbox_id: str, signum: int) -> None:
        self.signals.append(signum)
        if signum in self.obeys:
            self.end(sandbox_id, 128 + signum)

    def end(self, sandbox_id: str, code: int) -> None:
        self.running.pop(sandbox_id, None)
        self.ends[sandbox_id] = Exit(code=code, at=5.0)
        self.on_end(sandbox_id)

    def kill(self, sandbox_id: str) -> Exit | None:
        if self.running.pop(sandbox_id, None) is not None:
            self.ends[sandbox_id] = Exit(code=137, at=5.0)
        return self.ends.get(sandbox_id)

    def discard(self, sandbox_id: str) -> None:
        self.running.pop(sandbox_id, None)


class NoProcesses:
    def start_time(self, pid: int) -> int | None:
        return 7 if pid == 1234 else None


class Time:
    def time(self) -> float:
        return 1_800_000_000.0


@dataclass(frozen=True)
class House:
    config: Config
    parts: Parts
    controller: Controller
    updating: Updating
    worker: Worker
    runtime: NoRuntime
    leasing: Leasing

    @property
    def host(self) -> str:
        return f"unix://{self.config.socket_path}"

    @property
    def client(self) -> Client:
        return connect(self.host)


def build(directory: Path) -> House:
    config = Config(run_dir=f"{directory}/run", state_dir=f"{directory}/state")
    Path(config.state_dir).mkdir()
    worker = Worker()
    runtime = NoRuntime()
    parts = Parts(
        config=config,
        records=Records(),
        kernel=NoKernel(),
        store=SqliteStore(f"{config.state_dir}/weft.db"),
        names=Nothing(),
        ports=NoPorts(),
        runtime=runtime,
        processes=NoProcesses(),
        clock=Time(),
        events=EventLog(Time(), worker.after_answer),
        resolv_conf=lambda: "",
    )
    gate, farewells = Gate(parts, lambda: ()), Farewells(parts.kernel, worker.when_idle)
    controller = Controller(parts, gate, worker.when_idle, farewells)
    runtime.on_end = lambda ident: worker.submit(partial(controller.ended, ident))
    acquiring = Acquiring(parts, worker, Nothing(), LeaseBook(parts))  # type: ignore[arg-type]
    leasing = Leasing(acquiring, Renewing(acquiring, Readdressing(parts, controller.announcements)))
    return House(config, parts, controller, Updating(parts, gate, farewells), worker, runtime, leasing)


@contextmanager
def served(directory: Path) -> Iterator[House]:
    """A house that answers on its socket."""
    house = build(directory)
    ready = threading.Event()
    stop: list[Callable[[], None]] = []

    async def run() -> None:
        house.worker.attach(asyncio.get_running_loop())
        update = Update(house.updating, house.worker)
        native = Native(house.controller, house.parts, house.worker, house.leasing, update.routes())
        server = Server(App(prefix=PREFIX, routes=Table(native.routes())))
        stop.append(server.stop)
        listener = listen(house.config.socket_path)
        ready.set()
        await server.serve(sockets=[listener])

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert ready.wait(10)
    try:
        yield house
    finally:
        stop[0]()
        thread.join(20)
        house.worker.close()
        house.parts.store.close()  # type: ignore[attr-defined]
        assert not thread.is_alive()
