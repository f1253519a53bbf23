"""Drivers: how a network of some kind looks in the kernel. Adding one changes the list below and nothing else."""

from __future__ import annotations

from weft.drivers.bridge import BridgeDriver
from weft.drivers.driver import Driver
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


def claim_on_parent(network: Network) -> Claim | None:
    """What a network makes of a link of the host's; None if it does not branch off from one."""
    driver = driver_named(network.driver)
    return driver.claim(network) if isinstance(driver, OnParent) else None
