"""What a driver is: three pure methods from records to plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from weft.model import Endpoint, IPNetwork, Network, Sandbox
from weft.plan import Plan


class Driver(Protocol):
    @property
    def name(self) -> str: ...

    def accept(self, options: Mapping[str, str]) -> None:
        """Refuse the unknown or malformed option by name: Invalid. What is accepted once is trusted afterwards."""

    def option(self, name: str) -> str:
        """What the driver itself calls an option, of which there may be several spellings; an unknown one as it is."""

    def network(self, network: Network) -> Plan:
        """What the host holds for the network, whoever is on it."""

    def endpoint(self, network: Network, endpoint: Endpoint, sandbox: Sandbox) -> Plan:
        """The interface of a sandbox with its addresses. Routes and rules are the sandbox's, not the endpoint's."""

    def link(self, network: Network) -> str | None:
        """The name of the network's own link on the host, if it has one."""


def subnets_of(network: Network) -> Sequence[IPNetwork]:
    return [pool.subnet for pool in network.pools]
