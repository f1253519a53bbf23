"""What ties a network to a wire of the host's: from options to plans."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Interface, ip_address

import pytest

from tests.drivers.test_bridge import BOTH, BRIDGE, ENDPOINT, NETWORK, SANDBOX, switches, with_options
from weft.drivers.bridge import BridgeDriver, read_options
from weft.drivers.wires import Wire
from weft.errors import Invalid
from weft.plan import Plan, ProxyNeighbour, Uplink, Vlan, describe, identity, superseded

DRIVER = BridgeDriver()
BOTH_ADDRESSES = replace(ENDPOINT, ipv6=IPv6Interface("fd07::2/64"))


def wires(plan: Plan) -> list[object]:
    return [item for item in plan if isinstance(item, Uplink | Vlan | ProxyNeighbour)]


def test_without_options_there_is_no_wire():
    assert read_options({}).wire == Wire()
    assert wires(DRIVER.network(BOTH)) == []
    assert wires(DRIVER.endpoint(BOTH, BOTH_ADDRESSES, SANDBOX)) == []
    assert DRIVER.links(NETWORK) == (BRIDGE,)
    assert DRIVER.leans_on(NETWORK) == ()


def test_an_uplink_is_a_port_once_the_bridge_is_there():
    network = with_options(uplink="eth1")
    plan = DRIVER.network(network)
    assert wires(plan) == [Uplink("eth1", BRIDGE)]
    lines = describe(plan)
    assert lines.index(f"ip link set eth1 master {BRIDGE} up") > lines.index(f"ip link set {BRIDGE} up")
    assert DRIVER.links(network) == (BRIDGE,)
    assert DRIVER.leans_on(network) == ("eth1",)


def test_of_a_vlan_the_sub_interface_is_the_port():
    network = with_options(uplink="eth1", vlan="10")
    assert wires(DRIVER.network(network)) == [
        Vlan("wl-0123456789ab", "eth1", 10),
        Uplink("wl-0123456789ab", BRIDGE),
    ]
    assert DRIVER.links(network) == (BRIDGE, "wl-0123456789ab")
    assert DRIVER.leans_on(network) == ("eth1",)


def test_the_host_answers_for_every_address_of_the_family():
    network = replace(BOTH, options={"ndp-proxy": "eth0.7"})
    assert wires(DRIVER.endpoint(network, BOTH_ADDRESSES, SANDBOX)) == [ProxyNeighbour("eth0.7", ip_address("fd07::2"))]
    assert "net.ipv6.conf.eth0/7.proxy_ndp=1" in switches(DRIVER.network(network))
    assert "net.ipv6.neigh.eth0/7.proxy_delay=0" in switches(DRIVER.network(network))
    network = replace(BOTH, options={"arp-proxy": "eth0", "ndp-proxy": "eth1"})
    assert wires(DRIVER.endpoint(network, BOTH_ADDRESSES, SANDBOX)) == [
        ProxyNeighbour("eth0", ip_address("10.7.0.2")),
        ProxyNeighbour("eth1", ip_address("fd07::2")),
    ]
    assert DRIVER.leans_on(network) == ("eth1", "eth0")
    assert [DRIVER.answers_on(network.options, version) for version in (4, 6)] == ["eth0", "eth1"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"vlan": "10"}, "option vlan=10 needs the link whose frames bear that tag: uplink=LINK"),
        ({"uplink": "eth1", "vlan": "0"}, "option vlan: 0 is not between 1 and 4094"),
        ({"uplink": "eth1", "vlan": "4095"}, "option vlan: 4095 is not between 1 and 4094"),
        ({"uplink": ""}, "option uplink: '' is no link of the host's"),
        ({"uplink": "lo"}, "option uplink: 'lo' is no link of the host's"),
        ({"uplink": "../eth1"}, "option uplink: '../eth1' is no link of the host's"),
        ({"uplink": "wb-0123456789ab"}, "option uplink: 'wb-0123456789ab' is no link of the host's"),
        ({"ndp-proxy": "a b"}, "option ndp-proxy: 'a b' is no link of the host's"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, str], said: str):
    with pytest.raises(Invalid) as refused:
        read_options(options)
    assert said in str(refused.value)


def test_an_item_in_another_state_is_still_the_same_thing():
    assert identity(Uplink("eth1", "a")) == identity(Uplink("eth1", "b"))
    assert superseded((Vlan("wl-1", "eth1", 10),), (Vlan("wl-1", "eth1", 11),)) == ()
    answer = ProxyNeighbour("eth0", ip_address("10.7.0.2"))
    assert superseded((answer,), ()) == (answer,)
