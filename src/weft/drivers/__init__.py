"""Drivers: how a network of some kind looks in the kernel. Adding one changes the list below and nothing else."""

from __future__ import annotations

from weft.drivers.bridge import BridgeDriver
from weft.drivers.driver import Driver
from weft.errors import NotFound

DRIVERS: tuple[Driver, ...] = (BridgeDriver(),)


def driver_named(name: str) -> Driver:
    """Raises NotFound, naming the nearest."""
    for driver in DRIVERS:
        if driver.name == name:
            return driver
    raise NotFound.named("network driver", name, [d.name for d in DRIVERS])
