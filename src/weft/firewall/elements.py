"""From networks and published ports to elements of the table's sets and maps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from weft.model import IPAddress, IPNetwork, PortBinding
from weft.plan import Atom, NftElement

Direct = Literal["nobody", "published", "everything"]
"""What of a container others reach at its own address: nothing, the ports that it publishes, or all of them."""

_PROTOCOL = {4: "ipv4", 6: "ipv6"}


@dataclass(frozen=True, slots=True)
class Family:
    """One IP version of a network: how its packets leave the host, and what is reached of its containers."""

    version: int
    subnets: tuple[IPNetwork, ...]
    masquerade: bool = True
    """Whether packets leave under an address of the host's."""
    source: IPAddress | None = None
    """Which one; None: that of the interface by which they leave."""
    direct: Direct = "nobody"


def network_elements(
    bridge: str, families: Iterable[Family], *, internal: bool, icc: bool, trusted: Iterable[str] = ()
) -> tuple[NftElement, ...]:
    """What the firewall must know of a network before its first container joins: closed first, then opened.

    `trusted` are the host's interfaces from which its containers are reached at their own addresses, in any case.
    """
    families = tuple(families)
    closing = [element for family in families if internal or _is_closed(family) for element in _closing(family)]
    if internal:
        closing.append(NftElement("internal", (bridge,)))
    opening = [NftElement("same", (bridge, bridge))] if icc else []
    if not internal:
        opening += [element for family in families for element in _opening(bridge, family, tuple(trusted))]
    return (*closing, NftElement("bridges", (bridge,)), *opening)


def _is_closed(family: Family) -> bool:
    # Where packets leave under a container's own address, so come the answers: the forward chain tells them apart.
    return family.masquerade and family.direct == "nobody"


def _closing(family: Family) -> Iterable[NftElement]:
    return (NftElement(f"subnets{family.version}", (subnet,)) for subnet in family.subnets)


def _opening(bridge: str, family: Family, trusted: tuple[str, ...]) -> Iterable[NftElement]:
    both: tuple[Atom, ...] = (_PROTOCOL[family.version], bridge)
    if family.masquerade and family.source is not None:
        yield NftElement(f"snat{family.version}", (bridge,), (family.source,))
    elif family.masquerade:
        yield NftElement("outbound", both)
    if family.direct != "nobody":
        yield NftElement("routed" if family.direct == "published" else "open", both)
    for interface in trusted:
        yield from (NftElement(f"trusted{family.version}", (interface, subnet)) for subnet in family.subnets)


def routed_port_elements(bindings: Iterable[PortBinding], address: IPAddress) -> tuple[NftElement, ...]:
    """What opens the published ports of a container at this address of its own.

    Addresses of the host mean nothing there, but that one of the other family leaves this one alone, and a loopback
    address says that nobody outside is meant: the host itself reaches the container without being let in.
    """
    meant = (b for b in bindings if b.host_ip is None or (b.host_ip.version == address.version and not _is_local(b)))
    ports = dict.fromkeys((str(binding.proto), binding.container_port) for binding in meant)
    return tuple(NftElement(f"routed_ports{address.version}", (address, *port)) for port in ports)


def _is_local(binding: PortBinding) -> bool:
    return binding.host_ip is not None and binding.host_ip.is_loopback


def port_elements(
    bindings: Iterable[PortBinding], ipv4: IPAddress | None, ipv6: IPAddress | None
) -> tuple[NftElement, ...]:
    """The map elements that lead published ports to a container with these addresses.

    A binding to an address of the host needs a container address of the same family; one to every address takes
    what there is. What is left over (::1, or a v6 address of the host to a v4-only container) the relay serves.
    """
    return tuple(element for binding in bindings for element in _binding_elements(binding, ipv4, ipv6))


def _binding_elements(binding: PortBinding, ipv4: IPAddress | None, ipv6: IPAddress | None) -> Iterable[NftElement]:
    service = (str(binding.proto), binding.host_port)
    host = binding.host_ip
    for version, address in ((4, ipv4), (6, ipv6)):
        if address is None:
            continue
        target = (address, binding.container_port)
        if host is None:
            yield NftElement(f"ports{version}", service, target)
        elif host.version == version and not (host.version == 6 and host.is_loopback):
            yield NftElement(f"addr_ports{version}", (host, *service), target)
