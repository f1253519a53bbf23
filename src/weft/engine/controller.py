"""The use cases: what people and programs ask of weft, each whole or not at all.

All of them have one shape. What is wanted is worked out and refused first, touching nothing (`wanted`, `plans`). Then
the records are stored as pending, the kernel is made to agree, names are published, and the records are confirmed.
An error on the way takes everything back; a death on the way leaves pending records, which the next start takes back
(`converge`). Taking away goes the other way round: first no record asks for it, then the kernel lets go.

Runs on the engine's worker thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from weft import names
from weft.drivers import driver_named, manners_of
from weft.drivers.driver import Manners
from weft.engine import etc, plans, stacks, wanted, wanted_ports
from weft.engine.announcements import Announcements
from weft.engine.farewells import Farewells
from weft.engine.gate import Gate
from weft.engine.holding import Holding
from weft.engine.networks import DEFAULT_NETWORK, Networks
from weft.engine.owners import Owners
from weft.engine.parts import Parts
from weft.engine.specs import ContainerSpec, EndpointSpec
from weft.engine.through import go_through
from weft.engine.undoing import undoing
from weft.errors import Conflict, NotFound
from weft.model import Endpoint, Exit, Origin, Sandbox
from weft.plan import Netns, Plan, superseded


class Controller:
    def __init__(
        self,
        parts: Parts,
        gate: Gate,
        when_idle: Callable[[Callable[[], object]], None],
        farewells: Farewells | None = None,
    ) -> None:
        self._parts = parts
        self._records = parts.records
        self._gate = gate
        self._when_idle = when_idle
        self._preparing = False
        self._stopping: list[str] = []
        self._holding = Holding(parts)
        self.networks = Networks(parts, gate)
        self._owners = Owners(parts.records, parts.kernel)
        self._farewells = farewells or Farewells(parts.kernel, when_idle)
        self.announcements = Announcements(parts.records, parts.kernel, when_idle)

    # Containers

    def create_container(self, spec: ContainerSpec) -> Sandbox:
        """The namespace, its networks, names and ports, in one go; a process waits for `start`.

        Raises Invalid, NotFound (network, pid), Conflict (name, address, port), Exhausted.
        """
        with self.networks.default_if_needed():
            return self._create_container(spec)

    def _create_container(self, spec: ContainerSpec) -> Sandbox:
        parts = self._parts
        sandbox, endpoints = self._wanted_container(spec)
        plan = plans.sandbox_plan(sandbox, endpoints, self._records.networks)
        ids = (sandbox.id, *(endpoint.id for endpoint in endpoints))
        self._farewells.make_way(endpoints, sandbox.ports)
        if sandbox.ports and plans.holds_ports(endpoints, self._records.networks):
            self._holding.reserve(sandbox)
        with undoing(parts, plan, ids, *self._steps_back(sandbox, endpoints)):
            parts.store.put(sandbox=sandbox, endpoints=endpoints, pending=ids)
            parts.kernel.ensure(plan)
            self._holding.aim(sandbox, endpoints)
            self._publish(sandbox, endpoints)
            parts.store.confirm(ids)
        self._records.put_sandbox(sandbox)
        for endpoint in endpoints:
            self._records.add_endpoint(endpoint)
        self._parts.events.emit_container("create", sandbox)
        for endpoint in endpoints:
            self._entered(sandbox, endpoint)
        self.prepare()
        return sandbox

    def prepare(self) -> None:
        """Have ready what the next containers will need: made a piece at a time, while no request waits."""
        if not self._preparing:
            self._preparing = True
            self._when_idle(self._prepare_one)

    def _prepare_one(self) -> None:
        self._preparing = False
        if self._parts.kernel.prepare():
            self.prepare()

    def start(self, ref: str) -> Sandbox:
        """Start the container's process. Raises Invalid (cannot be executed) or Conflict (nothing to start)."""
        sandbox = self._records.sandbox(ref)
        if sandbox.process is None:
            raise Conflict(f"container {sandbox.name!r} has no process of weft's to start")
        if sandbox.exit is not None or self._parts.runtime.pids(sandbox.id):
            state = "has exited" if sandbox.exit else "is running"
            raise Conflict(f"container {sandbox.name!r} {state} already")
        owner = stacks.owner_of(sandbox, self._records)
        if owner.exit is not None:
            raise Conflict(f"container {owner.name!r}, whose network {sandbox.name!r} is to use, has exited")
        self._parts.runtime.start(sandbox, etc.etc_of(sandbox, self._parts))
        self._parts.events.emit_container("start", sandbox)
        return sandbox

    def signal(self, ref: str, signum: int) -> None:
        """Raises Conflict where there is no running process of weft's."""
        sandbox = self._records.sandbox(ref)
        if self._parts.runtime.pids(sandbox.id) is None:
            raise Conflict(f"container {sandbox.name!r} has no running process that weft started")
        self._parts.runtime.signal(sandbox.id, signum)
        self._parts.events.emit_container("kill", sandbox, signal=str(signum))

    @contextmanager
    def stopping(self, sandbox_id: str) -> Iterator[None]:
        """While somebody asks a container to end and waits for it: its end is told as a stop, too."""
        self._stopping.append(sandbox_id)
        try:
            yield
        finally:
            self._stopping.remove(sandbox_id)

    def rename_container(self, ref: str, name: str) -> Sandbox:
        """Neighbours find it by the new name at once, and by the old one no more.

        Raises NotFound, Invalid, Conflict (name).
        """
        sandbox = self._records.sandbox(ref)
        wanted.check_new_name(name, self._records)
        renamed = replace(sandbox, name=name)
        with undoing(self._parts, (), (), lambda: self._parts.store.put(sandbox=sandbox), lambda: self._name(sandbox)):
            self._parts.store.put(sandbox=renamed)
            self._name(renamed)
        self._parts.events.emit_container("rename", renamed, old=sandbox.name)
        return renamed

    def _name(self, sandbox: Sandbox) -> None:
        """Make known what a sandbox is called. A resolver that has to be started on the way is told by the records."""
        self._records.put_sandbox(sandbox)
        for endpoint in self._records.endpoints_of(sandbox.id):
            self._parts.names.publish(endpoint.network, plans.holder(sandbox, endpoint))
        if sandbox.process is not None:
            self._parts.runtime.rename(sandbox)

    def remove_container(self, ref: str, *, force: bool = False) -> None:
        """Raises NotFound, or Conflict while its process runs (unless forced)."""
        sandbox = self._records.sandbox(ref)
        if not force and sandbox.process is not None and self._parts.runtime.pids(sandbox.id):
            raise Conflict(f"container {sandbox.name!r} is running; `weft stop` it first, or `weft rm -f`")
        self._check_unshared(sandbox, force=force)
        self._remove(sandbox, lambda: self._kill(sandbox))

    def _remove(self, sandbox: Sandbox, *first: Callable[[], object]) -> None:
        endpoints = self._records.endpoints_of(sandbox.id)
        self._parts.store.drop(sandbox=sandbox.id, endpoints=[endpoint.id for endpoint in endpoints])
        go_through(
            *first,
            lambda: self._release(sandbox, endpoints),
            lambda: self._records.drop_sandbox(sandbox),
            lambda: self._discard(sandbox),
            lambda: self._emit_stop(sandbox),
            lambda: self._parts.events.emit_container("destroy", sandbox),
        )

    def _check_unshared(self, sandbox: Sandbox, *, force: bool) -> None:
        sharers = stacks.sharers_of(sandbox, self._records)
        if sharers and not force:
            shown = ", ".join(sharer.name for sharer in sharers)
            raise Conflict(f"container {sandbox.name!r} shares its network with {shown}; `weft rm` them first")

    def _kill(self, sandbox: Sandbox) -> None:
        """End its process, if that was started and nobody has noticed its end."""
        runtime = self._parts.runtime
        if sandbox.process is None or sandbox.exit is not None or not runtime.started(sandbox.id):
            return
        if runtime.pids(sandbox.id) is not None:
            self._parts.events.emit_container("kill", sandbox, signal="9")
        end = runtime.kill(sandbox.id) or Exit(code=137, at=self._parts.clock.time())
        self._emit_die(sandbox, end)

    def _discard(self, sandbox: Sandbox) -> None:
        if sandbox.process is not None:
            self._parts.runtime.discard(sandbox.id)

    def ended(self, sandbox_id: str) -> None:
        """A container's process, or the namespace it was attached by, is gone: let go of its networks."""
        sandbox = self._records.sandboxes.get(sandbox_id)
        if sandbox is None or sandbox.exit is not None:
            return
        if sandbox.process is None:
            self._parts.events.emit_container("end", sandbox, source=sandbox.source)
            self.remove_container(sandbox.id, force=True)
            return
        end = self._parts.runtime.exit_of(sandbox.id) or Exit(code=137, at=self._parts.clock.time())
        self._emit_die(sandbox, end)
        if sandbox.auto_remove:
            self._remove(sandbox)
            return
        endpoints = self._records.endpoints_of(sandbox.id)
        exited = replace(sandbox, exit=end)
        self._parts.store.drop(endpoints=[endpoint.id for endpoint in endpoints])
        self._parts.store.put(sandbox=exited)
        go_through(
            lambda: self._release(sandbox, endpoints),
            lambda: self._records.put_sandbox(exited),
            lambda: self._emit_stop(exited),
        )

    # Endpoints

    def connect(self, network_ref: str, container_ref: str, spec: EndpointSpec) -> Endpoint:
        """Raises NotFound, Conflict (already connected, exited, address taken), Invalid, Exhausted."""
        with self.networks.default_if_needed():
            return self._connect(network_ref, container_ref, spec)

    def _connect(self, network_ref: str, container_ref: str, spec: EndpointSpec) -> Endpoint:
        parts, records = self._parts, self._records
        sandbox, network = records.sandbox(container_ref), self.networks.named(network_ref)
        if sandbox.exit is not None:
            raise Conflict(f"container {sandbox.name!r} has exited: nothing is left to connect")
        stacks.check_own(sandbox, records)
        present = records.endpoints_of(sandbox.id)
        endpoint = wanted.wanted_endpoint(spec, network, sandbox, present, records)
        old = plans.sandbox_plan(sandbox, present, records.networks)
        self._farewells.make_way([endpoint])
        to_hold = sandbox.id not in records.holding and plans.holds_ports([endpoint], records.networks)
        if to_hold:
            wanted_ports.check_ports_free(sandbox.ports, records)
        records.add_endpoint(endpoint)
        after = records.endpoints_of(sandbox.id)
        new = plans.sandbox_plan(sandbox, after, records.networks)
        with undoing(
            parts,
            superseded(new, old),
            (endpoint.id,),
            lambda: parts.store.drop(endpoints=(endpoint.id,)),
            lambda: records.drop_endpoint(endpoint),
            lambda: self._holding.release(sandbox) if to_hold else None,
            lambda: parts.names.withdraw(network.id, endpoint.id),
            lambda: self._turn_to(sandbox, present),
            lambda: parts.kernel.ensure(old),
        ):
            if to_hold and sandbox.ports:
                self._holding.reserve(sandbox)
            parts.store.put(endpoints=(endpoint,), pending=(endpoint.id,))
            parts.kernel.ensure(new)
            if gone := superseded(old, new):
                parts.kernel.remove(gone)
            parts.names.publish(network.id, plans.holder(sandbox, endpoint))
            self._turn_to(sandbox, after)
            parts.store.confirm((endpoint.id,))
        self._entered(sandbox, endpoint)
        return endpoint

    def disconnect(self, network_ref: str, container_ref: str, *, force: bool = False) -> None:
        """Raises NotFound where there is nothing to disconnect (unless forced)."""
        parts, records = self._parts, self._records
        try:
            network, sandbox = records.network(network_ref), records.sandbox(container_ref)
            stacks.check_own(sandbox, records)
            endpoint = wanted.find_endpoint(network, sandbox, records)
        except NotFound:
            if force:
                return
            raise
        old = plans.sandbox_plan(sandbox, records.endpoints_of(sandbox.id), records.networks)
        parts.store.drop(endpoints=(endpoint.id,))
        records.drop_endpoint(endpoint)
        after = records.endpoints_of(sandbox.id)
        new = plans.sandbox_plan(sandbox, after, records.networks)
        let_go = after and not plans.holds_ports(after, records.networks)
        self._emit_endpoint("disconnect", sandbox, endpoint)
        go_through(
            lambda: parts.names.withdraw(network.id, endpoint.id),
            lambda: self._turn_to(sandbox, after),
            # Another way out is there before the old one goes.
            lambda: parts.kernel.ensure(new),
            lambda: self._gate.forget_policies([endpoint]),
            lambda: parts.kernel.remove(superseded(old, new)),
            lambda: self._holding.release(sandbox) if let_go else None,
            lambda: self._farewells.put_off(sandbox, [endpoint], {network.id: network}, ends=False),
        )

    # Shared steps

    def _wanted_container(self, spec: ContainerSpec) -> tuple[Sandbox, list[Endpoint]]:
        parts, records = self._parts, self._records
        wanted.check_one_origin(spec)
        ident = names.new_id()
        name = wanted.wanted_name(spec, records)
        stack = stacks.shared_stack(spec, records)
        origin, source = (stack.origin, stack.source) if stack else self._origin(spec)
        sandbox = Sandbox(
            id=ident,
            name=name,
            key=stack.key if stack else names.pin(parts.config.run_dir, ident),
            origin=origin,
            source=source,
            hostname=stack.hostname if stack else spec.hostname or names.short(ident),
            dns=spec.dns,
            dns_search=spec.dns_search,
            dns_options=spec.dns_options,
            labels=spec.labels,
            process=spec.process,
            auto_remove=spec.auto_remove,
            created=parts.clock.time(),
        )
        endpoints = [] if stack or stacks.names_no_network(spec) else self._wanted_endpoints(spec, sandbox)
        ports = wanted_ports.ports_of(sandbox, spec.ports, endpoints, records, parts.ports, parts.config)
        extra = wanted.extra_hosts(spec, endpoints, records.networks) if spec.extra_hosts else ()
        return replace(sandbox, ports=ports, extra_hosts=extra), endpoints

    def _wanted_endpoints(self, spec: ContainerSpec, sandbox: Sandbox) -> list[Endpoint]:
        endpoints: list[Endpoint] = []
        for wish in spec.networks or (EndpointSpec(network=DEFAULT_NETWORK),):
            network = self.networks.named(wish.network)
            link, usual = driver_named(network.driver).link(network), manners_of(network).prefix == Manners().prefix
            ordinary = not endpoints and sandbox.origin is Origin.MADE and wish.ifname is None and usual
            beginning = (self._parts.kernel.offer(link) if ordinary and link else None) or ""
            endpoint = wanted.wanted_endpoint(wish, network, sandbox, endpoints, self._records, beginning=beginning)
            endpoints.append(endpoint)
        return sorted(endpoints, key=self._records.gateway_rank) if len(endpoints) > 1 else endpoints

    def _origin(self, spec: ContainerSpec) -> tuple[Origin, str]:
        if spec.pid is not None:
            started = self._parts.processes.start_time(spec.pid)
            if started is None:
                raise NotFound(f"no process has the pid {spec.pid}")
            self._owners.check_free(f"/proc/{spec.pid}/ns/net", f"the process with the pid {spec.pid}")
            return Origin.PID, f"{spec.pid}:{started}"
        if spec.netns is not None:
            if not self._parts.kernel.is_namespace(spec.netns):
                raise NotFound(f"{spec.netns!r} is not a network namespace")
            self._owners.check_free(spec.netns, f"what is bound at {spec.netns!r}")
            return Origin.PATH, spec.netns
        return Origin.MADE, ""

    def _publish(self, sandbox: Sandbox, endpoints: Sequence[Endpoint]) -> None:
        if not sandbox.origin.own:
            return  # whoever owns the namespace is served there
        holders = [(endpoint.network, plans.holder(sandbox, endpoint)) for endpoint in endpoints]
        view = plans.view(sandbox, endpoints, self._records.networks)
        udp, tcp = self._parts.kernel.open_nameserver(sandbox.key)
        self._parts.names.enter(view, holders, udp, tcp)

    def _turn_to(self, sandbox: Sandbox, endpoints: Sequence[Endpoint]) -> None:
        """Tell everybody but the kernel which networks the sandbox is on now."""
        networks = self._records.networks
        self._parts.names.set_view(plans.view(sandbox, endpoints, networks))
        self._holding.aim(sandbox, endpoints)
        etc.rewrite(sandbox, self._parts)

    def _release(self, sandbox: Sandbox, endpoints: Sequence[Endpoint]) -> None:
        """The records are gone; now everything else is."""
        parts, ends = self._parts, sandbox.origin is Origin.MADE
        networks = {endpoint.network: self._records.networks[endpoint.network] for endpoint in endpoints}
        # Nobody comes in from now on. A namespace of our own, which takes the kernel longest, ends a moment later.
        # Where others live in it, it does not end: its links are taken out first.
        staying = not ends or stacks.sharers_of(sandbox, self._records)
        planned = plans.sandbox_plan if staying else plans.sandbox_elements
        plan: Plan = tuple(i for i in planned(sandbox, endpoints, networks) if not (ends and isinstance(i, Netns)))
        for endpoint in endpoints:
            self._records.drop_endpoint(endpoint)
            self._emit_endpoint("disconnect", sandbox, endpoint)
        go_through(
            lambda: parts.names.leave(sandbox.id, [(endpoint.network, endpoint.id) for endpoint in endpoints]),
            lambda: self._gate.forget_policies(endpoints),
            lambda: parts.kernel.remove(plan) if plan else None,
            lambda: self._holding.release(sandbox),
            lambda: self._farewells.put_off(sandbox, endpoints, networks, ends=ends),
        )

    def _steps_back(self, sandbox: Sandbox, endpoints: Sequence[Endpoint]) -> tuple[Callable[[], object], ...]:
        parts = self._parts
        return (
            lambda: parts.store.drop(sandbox=sandbox.id, endpoints=[endpoint.id for endpoint in endpoints]),
            lambda: parts.names.leave(sandbox.id, [(endpoint.network, endpoint.id) for endpoint in endpoints]),
            lambda: self._holding.release(sandbox),
        )

    def _entered(self, sandbox: Sandbox, endpoint: Endpoint) -> None:
        self.announcements.entered(sandbox, endpoint)
        self._emit_endpoint("connect", sandbox, endpoint)

    def _emit_die(self, sandbox: Sandbox, end: Exit) -> None:
        self._parts.events.emit_die(sandbox, end, self._parts.runtime.started(sandbox.id))

    def _emit_stop(self, sandbox: Sandbox) -> None:
        if sandbox.id in self._stopping:
            self._parts.events.emit_container("stop", sandbox)

    def _emit_endpoint(self, action: str, sandbox: Sandbox, endpoint: Endpoint) -> None:
        shown = " ".join(str(interface) for interface in endpoint.addresses)
        self._parts.events.emit_place(action, self._records.networks[endpoint.network], sandbox, addresses=shown)
