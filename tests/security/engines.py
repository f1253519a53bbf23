"""The engines under attack: weft, and Debian's dockerd as `tests.docker` starts it."""

from __future__ import annotations

from collections.abc import Sequence

from tests.daemons import Weftd
from tests.hosts import PrivateHost
from weft.client import Publish


class Weft:
    """weftd, as the engine of a scene."""

    name = "weft"

    def __init__(self, weftd: Weftd) -> None:
        self.weftd = weftd
        self.host: PrivateHost = weftd.host

    @property
    def environment(self) -> dict[str, str]:
        return self.weftd.environment

    def network(self, name: str, pools: Sequence[str], *, internal: bool) -> None:
        ipv6 = any(":" in pool for pool in pools)
        self.weftd.client.networks.create(name, ipv6=ipv6, pools=list(pools), internal=internal)

    def container(
        self, name: str, network: str, addresses: Sequence[str], ports: Sequence[tuple[str, int, int]]
    ) -> str:
        wish = {"network": network, **dict(zip(("ip", "ip6"), addresses, strict=False))}
        publish = [
            Publish(own, port, proto=proto, host_ip=address or None)
            for address, port, own in ports
            for proto in ("tcp", "udp")
        ]
        made: str = self.weftd.client.containers.create(name=name, networks=[wish], ports=publish).netns
        return made
