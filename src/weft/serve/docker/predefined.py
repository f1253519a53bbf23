"""The networks that Docker always has: bridge, host and none.

weft makes `bridge` when somebody first needs it, and its containers have namespaces of their own: host and none are
names here that clients count on seeing, and that refuse what makes no sense.
"""

from __future__ import annotations

from collections.abc import Iterator

from weft import names
from weft.engine.networks import DEFAULT_NETWORK
from weft.engine.parts import Parts
from weft.model import Network
from weft.serve.docker.dialect import Refused

_DRIVERS = {DEFAULT_NETWORK: "bridge", "host": "host", "none": "null"}

_REFUSALS = {
    "host": "container cannot be disconnected from host network or connected to host network",
    "none": "container cannot be connected to multiple networks with one of the networks in private (none) mode",
}


def is_name(name: str) -> bool:
    return name in _DRIVERS


def is_reserved(name: str) -> bool:
    """Nobody may make a network of that name: `default` is what clients call the first of them."""
    return name in _DRIVERS or name == "default"


def networks(parts: Parts) -> Iterator[Network]:
    """As they are, or as they will be."""
    for name, driver in _DRIVERS.items():
        yield parts.records.network(name) if parts.records.has_network(name) else _to_be(name, driver, parts)


def refuse_to_connect(network: Network) -> None:
    """Raises Refused for a network on which nobody can be."""
    if network.name in _REFUSALS:
        raise Refused(400, _REFUSALS[network.name])


def _to_be(name: str, driver: str, parts: Parts) -> Network:
    return Network(id=names.fixed_id(parts.config.state_dir, name), name=name, driver=driver, pools=())
