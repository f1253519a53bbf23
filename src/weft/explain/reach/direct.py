"""Ways to a container's own address from beyond its networks: what the network's gateway mode makes of them."""

from __future__ import annotations

from collections.abc import Iterator

from weft.explain.reach import steps
from weft.explain.reach.facts import ReachFacts, Step
from weft.model import Endpoint, IPAddress, Network
from weft.plan import Address, Item, NftElement, Plan

_PROTOCOL = {4: "ipv4", 6: "ipv6"}


def of_family(plan: Plan, name: str, version: int) -> list[Item]:
    """A network's elements of a set whose keys begin with the family."""
    return [i for i in plan if isinstance(i, NftElement) and i.name == name and i.key[0] == _PROTOCOL[version]]


def trusted(plan: Plan, version: int) -> list[str]:
    """The interfaces from which a network's containers are reached all the same."""
    found = (i.key[0] for i in plan if isinstance(i, NftElement) and i.name == f"trusted{version}")
    return [str(interface) for interface in dict.fromkeys(found)]


def host_is_on(network: Network, version: int, facts: ReachFacts) -> bool:
    """Whether the host has an address on a network: not where it is isolated, or has another router."""
    plan = facts.network_plans[network.id]
    planned = any(isinstance(i, Address) and i.address.version == version for i in plan)
    own = network.borrowed.addresses if network.borrowed else ()
    return planned or any(address.version == version for address in own)


def open_endpoint(facts: ReachFacts) -> tuple[Endpoint, Network, IPAddress] | None:
    """Where the target lets others in at an address of its own, the one asked for if there is one."""
    for endpoint in facts.target.endpoints:
        network = facts.networks[endpoint.network]
        plan = facts.network_plans[network.id]
        for interface in endpoint.addresses:
            asked = facts.asked.address in (None, interface.ip)
            if asked and any(of_family(plan, mode, interface.version) for mode in ("open", "routed")):
                return endpoint, network, interface.ip
    return None


def enters(endpoint: Endpoint, network: Network, address: IPAddress, facts: ReachFacts) -> Iterator[Step]:
    """From the host's routing to the container's own interface."""
    version = address.version
    yield steps.forwards(version, facts)
    yield _admitted(network, address, facts)
    yield from steps.others_let_pass(network, version, facts, direct=True)
    yield steps.interface(facts.target, endpoint, network, facts)


def _admitted(network: Network, address: IPAddress, facts: ReachFacts) -> Step:
    plan, target, port = facts.network_plans[network.id], facts.target, facts.asked.port
    opening = of_family(plan, "open", address.version)
    if opening:
        text = f"network {network.name} lets everybody reach its containers (gateway mode nat-unprotected)"
        return steps.weft_lets_pass(opening, text, facts)
    opening = of_family(plan, "routed", address.version)
    if port is None:
        return steps.weft_lets_pass(opening, f"network {network.name} is routed: a ping passes", facts)
    key = (address, str(facts.asked.proto), port)
    opened = [
        i for i in target.plan if isinstance(i, NftElement) and i.name.startswith("routed_ports") and i.key == key
    ]
    if opened:
        text = f"{target.name} publishes {facts.asked.service} at {address} (network {network.name} is routed)"
        return steps.weft_lets_pass([*opening, *opened], text, facts)
    inside = [b for b in target.sandbox.ports if b.container_port != b.host_port == port] if target.sandbox else []
    hint = (
        f" What is meant may be port {inside[0].container_port}: ports of the host mean nothing here." if inside else ""
    )
    return Step(
        holds="no",
        text=f"{target.name} does not publish {facts.asked.service}",
        why=f"Network {network.name} is routed: others reach the ports that a container publishes, at the container's "
        f"own address and with the container's own number; everything else is dropped.{hint}",
        mend=(f"weft run -p {port} …",),
    )


def only_from(network: Network, version: int, facts: ReachFacts) -> Iterator[Step]:
    """Where not everybody is let in, but who comes by some interfaces is."""
    links = trusted(facts.network_plans[network.id], version)
    if links:
        shown = " or ".join(links)
        yield Step(
            holds="perhaps",
            text=f"network {network.name} is reached directly by what arrives through {shown}",
            why="Those interfaces are trusted (option trusted-interfaces). What arrives by another one is dropped.",
        )
