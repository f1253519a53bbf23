"""The Docker Engine API, as far as networks and what is on them go: stock clients speak to weft.

One file per group of requests. What Docker's clients look at is as Docker has it: paths, fields, status codes, the
wording of refusals. See docs/docker.md.
"""

from __future__ import annotations

from weft.engine.controller import Controller
from weft.engine.leasing import Leasing
from weft.engine.parts import Parts
from weft.engine.presets import Presets
from weft.engine.worker import Worker
from weft.serve.docker.attach import Attach
from weft.serve.docker.containers import Containers
from weft.serve.docker.counters import Counters
from weft.serve.docker.elsewhere import empty_lists
from weft.serve.docker.events import Events
from weft.serve.docker.exec_memory import KnownExecs
from weft.serve.docker.execs import Execs
from weft.serve.docker.logs import Logs
from weft.serve.docker.networks import Networks
from weft.serve.docker.processes import Processes
from weft.serve.docker.system import System
from weft.serve.routes import Route


def docker_routes(controller: Controller, parts: Parts, worker: Worker, leasing: Leasing) -> tuple[Route, ...]:
    execs = KnownExecs(parts.records)
    return (
        *System(parts).routes(),
        *Networks(controller, parts, worker, Presets(parts), leasing).routes(),
        *Events(parts).routes(),
        *Containers(controller, parts, worker, execs).routes(),
        *Logs(parts).routes(),
        *Processes(parts).routes(),
        *Counters(parts).routes(),
        *Execs(parts, execs).routes(),
        *Attach(parts, worker).routes(),
        *empty_lists(),
    )
