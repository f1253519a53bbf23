"""From networks and published ports to elements of the table's sets and maps."""

from __future__ import annotations

from collections.abc import Iterable

from weft.model import IPAddress, IPNetwork, PortBinding
from weft.plan import NftElement


def network_elements(
    bridge: str, subnets: Iterable[IPNetwork], *, internal: bool, masquerade: bool, icc: bool
) -> tuple[NftElement, ...]:
    """What the firewall must know of a network before its first container joins: closed first, then opened."""
    # Without masquerading answers from outside bear a container's address: the forward chain tells them from others.
    kept_in = list(subnets) if masquerade or internal else []
    closing = [NftElement(f"subnets{subnet.version}", (subnet,)) for subnet in kept_in]
    if internal:
        closing.append(NftElement("internal", (bridge,)))
    opening = [NftElement("same", (bridge, bridge))] if icc else []
    if masquerade and not internal:
        opening.append(NftElement("outbound", (bridge,)))
    return (*closing, NftElement("bridges", (bridge,)), *opening)


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
