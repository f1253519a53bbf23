"""The engine with a real kernel and store, in a private host; without resolver, processes and anything that heals."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from weft.config import Config
from weft.engine.controller import Controller
from weft.engine.converge import Converge
from weft.engine.doctor import Doctor
from weft.engine.events import EventLog
from weft.engine.explain import Explainer
from weft.engine.gate import Gate
from weft.engine.parts import Parts
from weft.engine.reach import Ways
from weft.engine.specs import ContainerSpec, EndpointSpec, NetworkSpec, PortSpec
from weft.engine.state import Records
from weft.explain.container import explain_container
from weft.explain.explanation import Explanation, Line
from weft.explain.health.finding import Report
from weft.explain.network import explain_network
from weft.kernel.host import HostLook
from weft.kernel.linux import LinuxKernel
from weft.model import Network, Sandbox
from weft.store.sqlite import SqliteStore


class Nothing:
    """A part of which every method does nothing and answers nothing."""

    def __getattr__(self, name: str) -> object:
        return lambda *args, **kwargs: None


class _NoNames(Nothing):
    def enter(self, view: object, holders: object, udp: int, tcp: int) -> None:
        os.close(udp)  # or they would keep the namespace
        os.close(tcp)


class _NoProcesses(Nothing):
    def sweep(self, kept: object) -> tuple[str, ...]:
        return ()


class _Clock:
    def time(self) -> float:
        return 1_000_000.0


@dataclass
class House:
    config: Config
    parts: Parts
    gate: Gate
    controller: Controller
    converge: Converge
    explainer: Explainer
    doctor: Doctor
    ways: Ways
    kernel: LinuxKernel

    def network(self, name: str, **spec: object) -> Network:
        return self.controller.networks.create(NetworkSpec(name=name, **spec))

    def container(self, name: str, *networks: str, ports: Sequence[PortSpec] = ()) -> Sandbox:
        endpoints = tuple(EndpointSpec(network=network) for network in networks)
        return self.controller.create_container(ContainerSpec(name=name, networks=endpoints, ports=tuple(ports)))

    def explain(self, container: str) -> Explanation:
        facts, _ = self.explainer.container(container)
        return explain_container(facts)

    def explain_network(self, network: str) -> Explanation:
        return explain_network(self.explainer.network(network))

    def examine(self) -> Report:
        """Without asking the name server: there is none."""
        examination = self.doctor.examination()
        for piece in examination.pieces():
            piece()
        return examination.report()

    def repair(self) -> None:
        for piece in self.doctor.repairs():
            piece()


def house(*, forward_rules: Callable[[], Sequence[str]] = list, directory: str = "", spares: int = 0) -> House:
    """To be called in a private host. `directory`: that of a house before, to move in after it."""
    run_dir = directory or tempfile.mkdtemp(prefix="weft-")
    config = Config(run_dir=f"{run_dir}/run", state_dir=f"{run_dir}/state")
    kernel = LinuxKernel(config.run_dir, spares=spares)
    clock = _Clock()
    parts = Parts(
        config=config,
        records=Records(),
        kernel=kernel,
        store=SqliteStore(f"{run_dir}/weft.db"),
        names=_NoNames(),
        ports=Nothing(),
        runtime=_NoProcesses(),
        processes=Nothing(),
        clock=clock,
        events=EventLog(clock, lambda deed: deed()),
        resolv_conf=lambda: "",
    )
    gate = Gate(parts, forward_rules)
    converge = Converge(parts, gate, lambda deed: None)
    look = HostLook(kernel, config)
    gate.ensure()
    return House(
        config=config,
        parts=parts,
        gate=gate,
        controller=Controller(parts, gate, lambda deed: deed()),
        converge=converge,
        explainer=Explainer(parts, gate, look),
        doctor=Doctor(parts, gate, converge, look, dict),
        ways=Ways(parts, gate, look),
        kernel=kernel,
    )


def shell(command: str) -> str:
    """What a command prints; in the caller's namespaces."""
    done = subprocess.run(["bash", "-ec", command], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def wrong(explanation: Explanation) -> list[Line]:
    lines = [line for section in explanation.sections for line in section.lines]
    return [line for line in lines if line.state not in ("present", None)]
