"""Whose network stack a container uses, if not one of its own with networks: the host's, another container's, or none.

`none`, `host` and `container:NAME` stand where a network's name would, as in Docker. A container on the host's stack,
or on another's, has nothing in the kernel that is its own: its plan is empty, it is on no network, and whatever is
made, healed or taken away, is its owner's. So what weft does to a container can never touch the host's own network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weft.engine.specs import ContainerSpec, EndpointSpec
from weft.engine.state import Records
from weft.errors import Conflict, Invalid
from weft.model import Origin, Sandbox
from weft.names import short
from weft.plan import HOST

NO_NETWORK = "none"
HOST_NETWORK = "host"
MEANING = {NO_NETWORK: "no network at all", HOST_NETWORK: "the host's own network"}
"""Names that stand where a network's would, and that no network can have."""

_CONTAINER = "container:"


@dataclass(frozen=True, slots=True)
class Stack:
    """Where a container that shares finds its network."""

    origin: Origin
    key: str
    source: str
    hostname: str
    """The owner's; empty for the host's own."""


def names_no_network(spec: ContainerSpec) -> bool:
    """Whether the container is to be alone. Raises Invalid if networks are asked for as well."""
    return _asked(spec) == NO_NETWORK


def shared_stack(spec: ContainerSpec, records: Records) -> Stack | None:
    """The stack that is asked for in the place of networks; None: one of its own.

    Raises NotFound (the owner), Conflict (it has ended), Invalid (what a container there cannot have).
    """
    ref = _asked(spec)
    if ref is None or ref == NO_NETWORK:
        return None
    owner = None if ref == HOST_NETWORK else owner_of(records.sandbox(ref.removeprefix(_CONTAINER)), records)
    if owner is None or owner.origin is Origin.HOST:
        _refuse_own(spec, "the host", "listen on the host's own port instead")
        return Stack(Origin.HOST, HOST, "", spec.hostname or "")
    if owner.exit is not None:
        raise Conflict(f"container {owner.name!r} has exited: there is no network to share")
    _refuse_own(spec, f"container {owner.name!r}", f"publish it on {owner.name!r}")
    if spec.hostname is not None:
        raise Invalid(f"hostname {spec.hostname!r}: the container has the host name of {owner.name!r}, too")
    return Stack(Origin.SHARED, owner.key, owner.id, owner.hostname)


def owner_of(sandbox: Sandbox, records: Records) -> Sandbox:
    """Whose network a container uses: its own, or another's. Raises Conflict if that one has been removed."""
    if sandbox.origin is not Origin.SHARED:
        return sandbox
    owner = records.sandboxes.get(sandbox.source)
    if owner is None:
        gone = short(sandbox.source)
        raise Conflict(f"container {gone}, whose network container {sandbox.name!r} used, has been removed")
    return owner


def sharers_of(sandbox: Sandbox, records: Records) -> list[Sandbox]:
    """Those that live on a container's network besides itself, in the order of their names."""
    found = [other for other in records.sharers_of(sandbox.id) if other.exit is None]
    return sorted(found, key=lambda other: other.name)


def check_own(sandbox: Sandbox, records: Records) -> None:
    """Raises Conflict for a container whose networks are not its own to change."""
    if sandbox.origin is Origin.HOST:
        raise Conflict(f"container {sandbox.name!r} is on the host's own network: run it without --network host")
    if sandbox.origin is Origin.SHARED:
        owner = owner_of(sandbox, records).name
        raise Conflict(f"container {sandbox.name!r} uses the network of {owner!r}: connect or disconnect {owner!r}")


def network_mode(sandbox: Sandbox, records: Records) -> str:
    """What stands in the place of its networks: none, host, or container:NAME; empty if it is, or was, on networks."""
    if sandbox.origin is Origin.HOST:
        return HOST_NETWORK
    if sandbox.origin is Origin.SHARED:
        owner = records.sandboxes.get(sandbox.source)
        return f"{_CONTAINER}{owner.name if owner else short(sandbox.source)}"
    return "" if sandbox.exit is not None or records.endpoints_of(sandbox.id) else NO_NETWORK


def is_reserved(name: str) -> bool:
    """Whether no network can be called so."""
    return name in MEANING


def _asked(spec: ContainerSpec) -> str | None:
    """What stands in the place of a network, if something does. Raises Invalid if it does not stand alone."""
    special = [wish for wish in spec.networks if is_reserved(wish.network) or wish.network.startswith(_CONTAINER)]
    if not special:
        return None
    wish = special[0]
    if len(spec.networks) > 1:
        others = ", ".join(repr(other.network) for other in spec.networks if other is not wish)
        raise Invalid(f"network {wish.network!r} leaves no room for others: {others} cannot be had as well")
    if wish != EndpointSpec(network=wish.network):
        raise Invalid(f"network {wish.network!r} has no addresses, names or interfaces to choose")
    return wish.network


def _refuse_own(spec: ContainerSpec, whose: str, instead: str) -> None:
    """Raises Invalid for what belongs to a network of one's own."""
    if spec.ports:
        port = f"{spec.ports[0].container_port}/{spec.ports[0].proto}"
        raise Invalid(f"cannot publish {port}: the container uses the network of {whose}; {instead}")
    if spec.pid is not None or spec.netns is not None:
        raise Invalid(f"an attached container has a network already; it cannot use that of {whose}")
    own: Sequence[tuple[str, object]] = (
        ("dns", spec.dns),
        ("dns-search", spec.dns_search),
        ("dns-option", spec.dns_options),
        ("add-host", spec.extra_hosts),
    )
    for what, value in own:
        if value:
            raise Invalid(f"{what}: the container uses the network of {whose}, and so its names")
