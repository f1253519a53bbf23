"""The parts that the use cases work with, handed over once by `daemon`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from weft.config import Config
from weft.engine.events import EventLog
from weft.engine.needs import Clock, HostPorts, Kernel, Names, Processes, Runtime, Store
from weft.engine.state import Records


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    config: Config
    records: Records
    kernel: Kernel
    store: Store
    names: Names
    ports: HostPorts
    runtime: Runtime
    processes: Processes
    clock: Clock
    events: EventLog
    resolv_conf: Callable[[], str]
    """The host's resolv.conf as it is now."""
