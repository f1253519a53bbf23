"""The moment a join returns, the first packet to the newcomer arrives: nobody waits for a second try."""

from __future__ import annotations

import socket
import time

import pytest

from tests.daemons import Weftd
from tests.enter import inside, network

pytestmark = pytest.mark.root

JOINS = 100
"""Without care about one in fourteen first packets is lost, and found again a second later."""


def test_the_first_packet_to_a_newcomer_arrives_at_once(weftd: Weftd) -> None:
    weftd.client.networks.create("front", ipv6=True, pools=["10.5.0.0/24", "fd05::/64"])

    def knock() -> list[float]:
        waited = []
        for number in range(JOINS):
            made = weftd.client.containers.create(networks=["front"])
            address = (made.endpoints[0].ipv6 if number % 2 else made.endpoints[0].ipv4) or ""
            with network(made.netns):
                server = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
            with server:
                begun = time.monotonic()
                socket.create_connection((address.partition("/")[0], 80), timeout=5).close()
                waited.append(time.monotonic() - begun)
            weftd.client.containers.remove(made)
            if number % 3 == 0:
                time.sleep(0.02)  # with and without what is made ahead
        return waited

    waited = inside(weftd.host, knock)
    assert max(waited) < 0.5, sorted(waited)[-5:]
