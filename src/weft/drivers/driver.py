"""What a driver is: pure methods from records to plans, and a few questions that the engine has about its networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from weft.model import Endpoint, IPAddress, IPNetwork, Network, Sandbox
from weft.plan import Plan


@dataclass(frozen=True, slots=True)
class WayOut:
    """By which way a container leaves a network for everywhere else."""

    via: IPAddress | None
    """The router's address; None: the link itself leads everywhere."""


Publishing = Literal["nat", "routed"]
"""How published ports lead to a container: by rewriting the host's address, or by opening the container's own."""


@dataclass(frozen=True, slots=True)
class Advertise:
    """How often, and every how many milliseconds, the neighbours of a new endpoint are told of its addresses."""

    count: int
    interval: int


@dataclass(frozen=True, slots=True)
class Manners:
    """What a network wants for its containers besides packets."""

    prefix: str = "eth"
    """What their interfaces are called, before a number."""
    host_binding: IPAddress | None = None
    """Where ports are published that name no host address; an unspecified one: everywhere. None: as the daemon says."""
    advertise: Advertise | None = None
    """None: once, and only where a neighbour's memory could be wrong."""


@runtime_checkable
class Mannered(Protocol):
    """A driver whose options say something of manners."""

    def manners(self, network: Network) -> Manners: ...


@runtime_checkable
class Passing(Protocol):
    """A driver whose containers may have to send through this host to reach anybody beyond their network."""

    def passes_host(self, network: Network) -> bool:
        """Whether there is no other way, so that an egress policy holds."""


@runtime_checkable
class Borrowing(Protocol):
    """A driver whose networks may use a link that is there already."""

    def asked_link(self, options: Mapping[str, str]) -> str:
        """The link that these options name; empty: none."""


@runtime_checkable
class Leaning(Protocol):
    """A driver whose networks may depend on links of the host that weft does not make."""

    def leans_on(self, network: Network) -> Sequence[str]:
        """Their names."""

    def answers_on(self, options: Mapping[str, str], version: int) -> str:
        """The link on which the host answers for containers' addresses of a family; empty: none.

        Then their subnet may be a part of the one that is there.
        """


class Driver(Protocol):
    @property
    def name(self) -> str: ...

    def accept(self, options: Mapping[str, str]) -> None:
        """Refuse the unknown or malformed option by name: Invalid. What is accepted once is trusted afterwards."""

    def accept_endpoint(self, network: Network, options: Mapping[str, str]) -> None:
        """The same for the options of a container's place on the network."""

    def option(self, name: str) -> str:
        """What the driver itself calls an option, of which there may be several spellings; an unknown one as it is."""

    def has_gateway(self, options: Mapping[str, str], version: int) -> bool:
        """Whether a network with these options is given a gateway in a family even if none was asked for."""

    def check(self, network: Network) -> None:
        """Refuse what does not go together, once the network is worked out and before anything is touched: Invalid."""

    def check_change(self, before: Network, after: Network) -> None:
        """Refuse what cannot become of a network while containers may be on it: Conflict, naming the option and why."""

    def network(self, network: Network) -> Plan:
        """What the host holds for the network, whoever is on it."""

    def endpoint(self, network: Network, endpoint: Endpoint, sandbox: Sandbox) -> Plan:
        """The interface of a sandbox with its addresses, and what the firewall knows of it.

        Routes, and the rules of published ports, are the sandbox's, not the endpoint's.
        """

    def link(self, network: Network) -> str | None:
        """The name of the network's own link on the host, if it has one."""

    def links(self, network: Network) -> Sequence[str]:
        """The names of all links on the host that weft makes for the network, whoever is on it."""

    def way_out(self, network: Network, endpoint: Endpoint, version: int) -> WayOut | None:
        """How a container leaves the network in a family, by its endpoint there; None: not at all."""

    def guards(self, network: Network) -> bool:
        """Whether its containers are kept to their own addresses (firewall/guard.py)."""

    def publishes(self, network: Network, version: int) -> Publishing | None:
        """How ports of a container on the network are published in a family; None: they cannot be."""


def subnets_of(network: Network) -> Sequence[IPNetwork]:
    return [pool.subnet for pool in network.pools]
