"""The ways that packets take, by their two ends."""

from __future__ import annotations

from collections.abc import Iterator

from weft.explain.reach import direct, policy, steps, wires
from weft.explain.reach.facts import Party, Reach, ReachFacts, Step, reach
from weft.explain.reach.outward import gateway_endpoint, to_outside
from weft.model import Endpoint, IPAddress, Network, PortBinding
from weft.plan import Address, Bridge, NftElement, Veth


def walk(facts: ReachFacts) -> Reach:
    found = [*steps.ended(facts.source), *steps.ended(facts.target)]
    return reach(facts, found or list(_walk(facts)))


def _walk(facts: ReachFacts) -> Iterator[Step]:
    match facts.source.kind, facts.target.kind:
        case "container", "container":
            yield from _between_containers(facts)
        case "container", "host":
            yield from _to_host(facts)
        case "container", "outside":
            yield from to_outside(facts)
        case "host", "container":
            yield from _from_host(facts)
        case "outside", "container":
            yield from _from_outside(facts)
        case _:
            yield Step(holds="perhaps", text="weft has no part in it: neither end is a container")


# From one container to another


def _between_containers(facts: ReachFacts) -> Iterator[Step]:
    source, target = facts.source, facts.target
    if source.sandbox == target.sandbox:
        yield Step(holds="yes", text="a container reaches itself over lo, whatever its networks")
        yield from _arrived(facts, (*target.addresses, *_loopback(facts)))
        return
    pairs = _shared(facts)
    if not pairs:
        entrance = direct.open_endpoint(facts) if facts.asked.address else None
        if entrance is None:
            yield _strangers(facts)
            return
        yield steps.default_route(source, entrance[2].version, facts)
        leaving = gateway_endpoint(facts, entrance[2].version)
        if leaving is not None:
            yield from policy.asked(leaving, facts.networks[leaving.network], facts)
        yield from direct.enters(*entrance, facts)
        yield from _arrived(facts, (entrance[2],))
        return
    if facts.asked.name:
        yield steps.resolves(facts, target.addresses)
    network, own, other = pairs[0]
    version = _version(facts, other)
    yield Step(
        holds="yes",
        text=f"both are on network {network.name}, next door to each other ({_subnets(own, other, version)})",
    )
    yield steps.interface(source, own, network, facts)
    yield steps.interface(target, other, network, facts)
    yield from _let_talk(network, version, facts)
    yield from _arrived(facts, tuple(interface.ip for interface in other.addresses))


def _shared(facts: ReachFacts) -> list[tuple[Network, Endpoint, Endpoint]]:
    """The networks that both are on, the one that the packet would take first."""
    pairs = [
        (facts.networks[own.network], own, other)
        for own in facts.source.endpoints
        for other in facts.target.endpoints
        if own.network == other.network
    ]
    wanted = {facts.asked.address} if facts.asked.address else set(facts.answers or ())
    return sorted(pairs, key=lambda pair: not wanted & {interface.ip for interface in pair[2].addresses})


def _version(facts: ReachFacts, endpoint: Endpoint) -> int:
    if facts.asked.address:
        return facts.asked.address.version
    return 4 if endpoint.ipv4 else 6


def _subnets(own: Endpoint, other: Endpoint, version: int) -> str:
    found = [str(i.network) for i in (own.address(version), other.address(version)) if i is not None]
    return " and ".join(dict.fromkeys(found))


def _strangers(facts: ReachFacts) -> Step:
    source, target = facts.source, facts.target
    names = ", ".join(facts.networks[endpoint.network].name for endpoint in target.endpoints) or "none"
    published = [b for b in _bindings(target) if facts.asked.port in (None, b.container_port)]
    why = (
        f"{target.name} is on {names}. Names are known within a network only, and from one network to another nothing "
    )
    why += "is passed on but to published ports."
    if published:
        host = published[0].host_ip or "any address of the host"
        why += f" This one is: {source.name} reaches it at {host}, port {published[0].host_port}."
    entrance = direct.open_endpoint(facts)
    if entrance is not None:
        why += f" Network {entrance[1].name} lets others in, though: try {entrance[2]}, which is its address there."
    network = facts.networks[target.endpoints[0].network].name if target.endpoints else "NETWORK"
    return Step(
        holds="no",
        text=f"{source.name} and {target.name} share no network",
        why=why,
        mend=(f"weft network connect {network} {source.name}",),
    )


def _let_talk(network: Network, version: int, facts: ReachFacts) -> Iterator[Step]:
    if steps.on_wire(network, facts):
        yield from wires.let_talk(network, facts)
        return
    isolated = [
        i for i in facts.target.plan if isinstance(i, Veth) and i.isolated and i.master == _bridge(network, facts)
    ]
    if isolated:
        yield Step(
            holds="no",
            text=f"network {network.name} keeps its containers apart (icc=false)",
            why="Their ports on the bridge are isolated: frames pass between a container and the host, not between two "
            "containers. A network made without that option lets them talk.",
        )
        return
    if facts.host.sysctls.get("net.bridge.bridge-nf-call-iptables") == "1":
        # Then frames within a bridge are shown to the chains of the forward hook as if they were forwarded.
        opening = steps.elements(facts.network_plans[network.id], "same", "bridges")
        yield steps.weft_lets_pass(opening, f"weft lets pass what stays on network {network.name}", facts)
        yield from steps.others_let_pass(network, version, facts)
    else:
        yield Step(holds="yes", text="frames within a bridge are not shown to the host's firewall")


def _bridge(network: Network, facts: ReachFacts) -> str:
    return next((item.name for item in facts.network_plans[network.id] if isinstance(item, Bridge)), "")


def _arrived(facts: ReachFacts, addresses: tuple[IPAddress, ...]) -> Iterator[Step]:
    yield from steps.inner_firewall(facts)
    if facts.asked.port is not None:
        found = steps.listens(facts, facts.asked.port, addresses, facts.target)
        if found is not None:
            yield found


def _loopback(facts: ReachFacts) -> tuple[IPAddress, ...]:
    return tuple(s.address for s in facts.listeners or () if s.address.is_loopback)


# Between a container and the host, or the world


def _to_host(facts: ReachFacts) -> Iterator[Step]:
    source = facts.source
    version = facts.asked.address.version if facts.asked.address else 4
    endpoint = gateway_endpoint(facts, version)
    if endpoint is None:
        yield steps.default_route(source, version, facts)
    else:
        network = facts.networks[endpoint.network]
        yield steps.interface(source, endpoint, network, facts)
        if steps.on_wire(network, facts):
            yield wires.to_host(endpoint, network, facts)
        else:
            yield from policy.asked(endpoint, network, facts)
    port = facts.asked.port
    for publisher in facts.publishers:
        binding = next((b for b in _bindings(publisher) if _meets(b, facts)), None)
        leading = _leading(publisher, binding) if binding is not None else []
        if binding is not None and (leading or not _is_routed(publisher)):
            text = (
                f"port {port} of the host is published: it leads to port {binding.container_port} of {publisher.name}"
            )
            yield steps.weft_lets_pass(leading, text, facts)
            if endpoint is not None:
                yield from steps.others_let_pass(facts.networks[endpoint.network], version, facts)
            return
    shut = [chain for chain in facts.host.chains if chain.hook == "input" and chain.closed]
    for chain in shut[:1]:
        yield Step(
            holds="perhaps",
            text=f"chain {chain.name} of table {chain.family} {chain.table} {chain.closed}s what it does not admit",
            why="It sees whatever is sent to the host itself.",
        )
    if port is not None:
        found = steps.listens(facts, port, _host_addresses(facts), facts.target)
        if found is not None:
            yield found


def _leading(publisher: Party, binding: PortBinding) -> list[NftElement]:
    """The elements that lead a port of the host to a container."""
    maps = (i for i in publisher.plan if isinstance(i, NftElement) and i.value is not None)
    return [item for item in maps if binding.host_port in item.key]


def _is_routed(party: Party) -> bool:
    """Whether ports are published at the container's own addresses, and by no address of the host's."""
    found = [item for item in party.plan if isinstance(item, NftElement)]
    return any(item.name.startswith("routed_ports") for item in found) and not any(item.value for item in found)


def _meets(binding: PortBinding, facts: ReachFacts) -> bool:
    same = (binding.host_port, binding.proto) == (facts.asked.port, facts.asked.proto)
    return same and binding.host_ip in (None, facts.asked.address)


def _host_addresses(facts: ReachFacts) -> tuple[IPAddress, ...]:
    return (facts.asked.address,) if facts.asked.address else facts.host.addresses


def _from_host(facts: ReachFacts) -> Iterator[Step]:
    target = facts.target
    endpoint = _wanted_endpoint(facts)
    if endpoint is None:
        yield Step(holds="no", text=f"{target.name} is on no network")
        return
    network = facts.networks[endpoint.network]
    if facts.asked.name:
        shown = " and ".join(str(interface.ip) for interface in endpoint.addresses)
        yield Step(holds="yes", text=f"{target.name} is at {shown}", why="Its name means nothing to the host.")
    version = _version(facts, endpoint)
    if not steps.on_wire(network, facts) and not direct.host_is_on(network, version, facts):
        yield Step(
            holds="no",
            text=f"the host has no IPv{version} address on network {network.name}",
            why="Its options keep the host off it: gateway mode isolated, or inhibit-ipv4.",
        )
        return
    own = [i for i in facts.network_plans[network.id] if isinstance(i, Address) and i in facts.drift]
    if steps.on_wire(network, facts):
        yield from wires.from_host(endpoint, network, facts)
    elif own:
        yield steps.lacking(f"the host has no address on network {network.name}", own, facts)
    else:
        yield Step(holds="yes", text=f"the host has an address of its own on network {network.name}")
    yield steps.interface(target, endpoint, network, facts)
    yield from _arrived(facts, tuple(interface.ip for interface in endpoint.addresses))


def _wanted_endpoint(facts: ReachFacts) -> Endpoint | None:
    endpoints = facts.target.endpoints
    return next(
        (e for e in endpoints if facts.asked.address in [interface.ip for interface in e.addresses]),
        endpoints[0] if endpoints else None,
    )


def _from_outside(facts: ReachFacts) -> Iterator[Step]:
    target, port = facts.target, facts.asked.port
    inward = [e for e in target.endpoints if facts.asked.address in (None, *(a.ip for a in e.addresses))]
    if inward and all(facts.networks[endpoint.network].internal for endpoint in inward):
        shown = ", ".join(facts.networks[endpoint.network].name for endpoint in inward)
        yield Step(
            holds="no",
            text=f"{target.name} is on {shown} alone, which is internal",
            why="Nothing leads into an internal network, whatever its other options.",
        )
        return
    entrance = direct.open_endpoint(facts)
    if entrance is not None and (facts.asked.address or _is_routed(target) or not _bindings(target)):
        if not facts.asked.address:
            yield Step(holds="yes", text=f"{target.name} is reached at its own address, {entrance[2]}")
        yield from direct.enters(*entrance, facts)
        yield from _arrived(facts, (entrance[2],))
        return
    bindings = [b for b in _bindings(target) if port in (None, b.container_port, b.host_port)]
    bindings = [b for b in bindings if b.proto == facts.asked.proto]
    if not bindings and (near := _on_a_wire(facts)) is not None:
        network = facts.networks[near.network]
        yield steps.interface(target, near, network, facts)
        yield wires.from_outside(near, network, facts)
        yield from _arrived(facts, target.addresses)
        return
    trusting = [
        step
        for endpoint in target.endpoints
        for step in direct.only_from(facts.networks[endpoint.network], _version(facts, endpoint), facts)
    ]
    if trusting and (facts.asked.address or not bindings):
        yield from trusting[:1]
        yield from _arrived(facts, target.addresses)
        return
    if not bindings:
        what = facts.asked.service if port is not None else "no port"
        yield Step(
            holds="no",
            text=f"{target.name} does not publish {what}" if port is not None else f"{target.name} publishes {what}",
            why="From outside, containers are reached through published ports only; packets to their addresses are "
            "dropped on arrival.",
            mend=(f"weft run -p {port or 'PORT'}:{port or 'PORT'} …",),
        )
        return
    binding = min(bindings, key=lambda b: b.host_ip is not None)
    yield _published_where(binding, target)
    leading = _leading(target, binding)
    yield steps.weft_lets_pass(leading, f"weft rewrites it to port {binding.container_port} of {target.name}", facts)
    version = binding.host_ip.version if binding.host_ip else 4
    endpoint = next((e for e in target.endpoints if not facts.networks[e.network].internal), None)
    yield steps.forwards(version, facts)
    if endpoint is not None:
        yield from steps.others_let_pass(facts.networks[endpoint.network], version, facts)
        yield steps.interface(target, endpoint, facts.networks[endpoint.network], facts)
        yield steps.default_route(target, version, facts)
    yield from steps.inner_firewall(facts)
    found = steps.listens(facts, binding.container_port, target.addresses, target)
    if found is not None:
        yield found


def _on_a_wire(facts: ReachFacts) -> Endpoint | None:
    """The endpoint that those outside reach as it is."""
    outward = [e for e in facts.target.endpoints if not facts.networks[e.network].internal]
    return next((e for e in outward if steps.on_wire(facts.networks[e.network], facts)), None)


def _published_where(binding: PortBinding, target: Party) -> Step:
    where = f"port {binding.host_port}/{binding.proto}"
    if binding.host_ip is not None and binding.host_ip.is_loopback:
        return Step(
            holds="no",
            text=f"{target.name} publishes it on {binding.host_ip} only ({where})",
            why="That address is reached from the host itself, and from nowhere else.",
            mend=(f"weft run -p {binding.host_port}:{binding.container_port} …",),
        )
    host = f"{binding.host_ip}" if binding.host_ip else "every address of the host"
    return Step(holds="yes", text=f"{target.name} publishes it: {where} of {host}")


def _bindings(party: Party) -> tuple[PortBinding, ...]:
    return party.sandbox.ports if party.sandbox else ()
