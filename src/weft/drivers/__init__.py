"""Drivers: how a network of some kind looks in the kernel. Adding one changes the list below and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from weft.drivers.bridge import BridgeDriver
from weft.drivers.driver import Driver, Leaning, Mannered, Manners
from weft.drivers.ipvlan import IpvlanDriver
from weft.drivers.macvlan import MacvlanDriver
from weft.drivers.parents import Claim, OnParent
from weft.errors import NotFound
from weft.model import Network

DRIVERS: tuple[Driver, ...] = (BridgeDriver(), MacvlanDriver(), IpvlanDriver())


def driver_named(name: str) -> Driver:
    """Raises NotFound, naming the nearest."""
    for driver in DRIVERS:
        if driver.name == name:
            return driver
    raise NotFound.named("network driver", name, [d.name for d in DRIVERS])


_ORDINARY = Manners()
# Worked out once: to ask an object for a protocol takes some microseconds, and every join asks.
_MANNERED: dict[str, Mannered] = {driver.name: driver for driver in DRIVERS if isinstance(driver, Mannered)}
_LEANING: dict[str, Leaning] = {driver.name: driver for driver in DRIVERS if isinstance(driver, Leaning)}
_ON_PARENT: dict[str, OnParent] = {driver.name: driver for driver in DRIVERS if isinstance(driver, OnParent)}


def manners_of(network: Network) -> Manners:
    """Raises NotFound if there is no such driver."""
    driver = _MANNERED.get(network.driver)
    if driver is None:
        driver_named(network.driver)
        return _ORDINARY
    return driver.manners(network)


def claim_on_parent(network: Network) -> Claim | None:
    """What a network makes of a link of the host's; None if it does not branch off from one."""
    driver = _ON_PARENT.get(network.driver)
    return None if driver is None else driver.claim(network)


def leans_on(network: Network) -> Sequence[str]:
    """The links of the host that a network cannot do without, and that are no work of weft's."""
    claim, driver = claim_on_parent(network), _LEANING.get(network.driver)
    if claim is not None:
        return (claim.parent,)
    return () if driver is None else driver.leans_on(network)
