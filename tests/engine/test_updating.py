"""Networks edited in place: what is refused, and that the kernel holds just what a network made so would have."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network

import pytest

from tests.engine.house import House, house, shell, wrong
from tests.engine.test_routes import static
from tests.engine.test_subnets import join, net, pools, routes
from tests.hosts import in_private_host
from weft import names
from weft.engine import plans
from weft.engine.farewells import Farewells
from weft.engine.policies import Policies, PolicyChange
from weft.engine.specs import EndpointSpec, NetworkChange, PoolSpec
from weft.engine.updating import Updating
from weft.errors import Conflict, Exhausted, Invalid, NotFound, WeftError
from weft.model import Endpoint, Network, PolicyRule
from weft.plan import superseded


def update(made: House, ref: str = "net", **change: object) -> Network:
    updating = Updating(made.parts, made.gate, Farewells(made.kernel, lambda deed: deed()))
    return updating.update(ref, NetworkChange(**change))


def assert_agreed(made: House) -> None:
    """The kernel with the records, and a store that is read anew with both."""
    records = made.parts.records
    assert {n.id: n for n in made.parts.store.load().networks} == records.networks
    for network in records.networks.values():
        assert made.kernel.missing(plans.network_plan(network)) == ()
        assert wrong(made.explain_network(network.name)) == []
    for sandbox in records.sandboxes.values():
        assert made.kernel.missing(made.converge.plan_of(sandbox)) == ()
        assert wrong(made.explain(sandbox.name)) == []
    assert made.gate.intact()


def bridge_addresses(network: Network) -> set[str]:
    (link,) = json.loads(shell(f"ip -j address show {names.bridge(network.id)}"))
    return {f"{address['local']}/{address['prefixlen']}" for address in link["addr_info"]}


def port(endpoint: Endpoint) -> dict[str, object]:
    (link,) = json.loads(shell(f"ip -d -j link show {names.veth(endpoint.id)}"))
    return {"mtu": link["mtu"], "isolated": link["linkinfo"]["info_slave_data"]["isolated"]}


# What it becomes


@in_private_host
def test_labels_come_change_and_go_and_nothing_else_does():
    made = house()
    before = net(made, "10.7.0.0/24", labels={"a": "1", "b": "2"})
    after = update(made, labels={"a": "3", "b": None, "c": ""})
    assert after.labels == {"a": "3", "c": ""}
    assert (after.id, after.pools, after.options, after.created) == (
        before.id,
        before.pools,
        before.options,
        before.created,
    )
    assert_agreed(made)
    with pytest.raises(NotFound, match="no such label of network 'net': 'cc'; did you mean"):
        update(made, labels={"cc": None})
    assert made.parts.records.network("net") == after


@in_private_host
def test_the_mtu_is_that_of_the_bridge_and_both_ends():
    made = house()
    network = net(made, "10.7.0.0/24")
    endpoint = join(made, "web")
    for changed, mtu in (({"mtu": "1300"}, 1300), ({"mtu": "9000"}, 9000), ({"mtu": None}, 1500)):
        update(made, options=changed)
        assert f" mtu {mtu} " in shell(f"ip link show {names.bridge(network.id)}")
        assert port(endpoint)["mtu"] == mtu
        assert f" mtu {mtu} " in shell(f"nsenter --net={made.parts.records.sandbox('web').key} ip link show eth0")
        assert_agreed(made)


@in_private_host
def test_an_option_keeps_the_spelling_that_it_had():
    made = house()
    net(made, "10.7.0.0/24", options={"com.docker.network.driver.mtu": "1400"})
    assert update(made, options={"mtu": "1300"}).options == {"com.docker.network.driver.mtu": "1300"}
    assert update(made, options={"mtu": None}).options == {}
    with pytest.raises(Invalid, match="says again what another spelling of 'mtu' said"):
        update(made, options={"mtu": "1300", "com.docker.network.driver.mtu": "1200"})


@in_private_host
def test_what_is_taken_away_is_as_the_settings_say():
    made = house()
    object.__setattr__(made.parts.config, "mtu", 1420)
    net(made, "10.7.0.0/24", options={"mtu": "1300"})
    assert update(made, options={"mtu": None}).options == {"mtu": "1420"}


@in_private_host
def test_icc_isolates_the_ports_that_are_there():
    made = house()
    net(made, "10.7.0.0/24")
    endpoint = join(made, "web")
    for icc, isolated in (("false", True), ("true", False)):
        update(made, options={"icc": icc})
        assert port(endpoint)["isolated"] is isolated
        assert_agreed(made)


@in_private_host
def test_every_live_option_of_a_bridge_leaves_what_a_network_made_so_has():
    made = house()
    net(made, "10.7.0.0/24", "fd07::/64")
    join(made, "web")
    for options in (
        {"masquerade": "false"},
        {"masquerade-ipv6": "true", "snat-ipv4": "192.0.2.1"},
        {"masquerade": None, "masquerade-ipv6": None},
        {"gateway-mode": "routed"},
        {"gateway-mode": "nat-unprotected", "trusted-interfaces": "lan0,lan1"},
        {"gateway-mode-ipv6": "routed", "anti-spoof": "false"},
        {"inhibit-ipv4": "true"},
        {"inhibit-ipv4": None, "anti-spoof": None, "bandwidth-in": "10mbit", "bandwidth-out": "5mbit"},
        {"bandwidth-in": None, "bandwidth-out": "20mbit", "host-binding": "127.0.0.1", "advertise-count": "0"},
    ):
        before = made.parts.records.network("net")
        after = update(made, options=options)
        assert_agreed(made)
        _assert_nothing_left(made, before, after)


def _assert_nothing_left(made: House, before: Network, after: Network) -> None:
    sandbox = made.parts.records.sandbox("web")
    endpoints = made.parts.records.endpoints_of(sandbox.id)
    old, new = ((*plans.network_plan(n), *plans.sandbox_plan(sandbox, endpoints, {n.id: n})) for n in (before, after))
    gone = superseded(old, new)
    still = set(gone) - set(made.kernel.missing(gone))
    assert {item for item in still if type(item).__name__ != "Sysctl"} == set()


@in_private_host
def test_it_becomes_internal_and_opens_again():
    made = house()
    net(made, "10.7.0.0/24")
    join(made, "web")
    update(made, internal=True)
    assert routes(made, "web") == []
    assert "default" not in shell(f"nsenter --net={made.parts.records.sandbox('web').key} ip route")
    assert_agreed(made)
    update(made, internal=False)
    assert routes(made, "web") == ["0.0.0.0/0 10.7.0.1"]
    assert_agreed(made)


@in_private_host
def test_another_network_leads_out_once_one_is_internal():
    made = house()
    made.network("a", pools=pools("10.1.0.0/24"))
    made.network("b", pools=pools("10.2.0.0/24"))
    made.container("web", "a", "b")
    assert routes(made, "web") == ["0.0.0.0/0 10.1.0.1"]
    update(made, "a", internal=True)
    assert routes(made, "web") == ["0.0.0.0/0 10.2.0.1"]
    assert_agreed(made)


@in_private_host
def test_it_has_another_name_and_the_old_one_is_free():
    made = house()
    network = net(made, "10.7.0.0/24")
    join(made, "web")
    assert update(made, name="shop").name == "shop"
    assert made.parts.records.network("shop").id == network.id
    with pytest.raises(NotFound):
        made.parts.records.network("net")
    net(made, "10.8.0.0/24")
    with pytest.raises(Conflict, match="network 'net' already exists"):
        update(made, "shop", name="net")
    for name, said in (("host", "stands for"), ("bridge", "where containers go"), ("a/b", "is not valid")):
        with pytest.raises(WeftError, match=said):
            update(made, "shop", name=name)
    assert_agreed(made)


# Subnets


@in_private_host
def test_an_added_subnet_is_used_when_the_first_is_full_and_reached_from_it():
    made = house()
    network = net(made, "10.7.0.0/30")
    join(made, "one")
    with pytest.raises(Exhausted):
        join(made, "two")
    after = update(made, add_pools=pools("10.8.0.0/24"))
    assert [str(pool.subnet) for pool in after.pools] == ["10.7.0.0/30", "10.8.0.0/24"]
    assert bridge_addresses(network) == {"10.7.0.1/30", "10.8.0.1/24"}
    assert routes(made, "one") == ["10.8.0.0/24 eth0", "0.0.0.0/0 10.7.0.1"]
    assert [str(a) for a in join(made, "two").addresses] == ["10.8.0.2/24"]
    assert_agreed(made)


@in_private_host
def test_what_was_freed_is_still_not_given_out_again():
    made = house()
    net(made, "10.7.0.0/24")
    assert str(join(made, "one").ipv4) == "10.7.0.2/24"
    made.controller.remove_container("one")
    update(made, add_pools=pools("10.8.0.0/24"), labels={"a": "b"})
    assert str(join(made, "two").ipv4) == "10.7.0.3/24"


@in_private_host
def test_a_missing_family_is_added_and_those_that_are_there_stay_as_they_are():
    made = house()
    network = net(made, "10.7.0.0/24")
    join(made, "one")
    after = update(made, ipv6=True)
    (pool,) = after.pools_of(6)
    assert pool.subnet.prefixlen == 64
    assert f"{pool.gateway}/64" in bridge_addresses(network)
    assert shell("sysctl -n net.ipv6.conf.all.forwarding") == "1\n"
    (old,) = made.parts.records.endpoints_of(made.parts.records.sandbox("one").id)
    assert old.ipv6 is None
    assert join(made, "two").ipv6 is not None
    made.controller.disconnect("net", "one")
    assert made.controller.connect("net", "one", EndpointSpec(network="net")).ipv6 is not None
    assert update(made, ipv6=True) == after
    assert_agreed(made)


@in_private_host
def test_a_subnet_goes_if_nobody_is_in_it():
    made = house()
    network = net(made, "10.7.0.0/24", "10.8.0.0/24", "fd07::/64")
    join(made, "one", "10.8.0.9")
    with pytest.raises(Conflict, match=r"subnet 10\.8\.0\.0/24 of network 'net' is in use by one"):
        update(made, remove_pools=(ip_network("10.8.0.0/24"),))
    with pytest.raises(NotFound, match=r"network 'net' has no subnet 10\.9\.0\.0/24; it has 10\.7\.0\.0/24, 10\.8"):
        update(made, remove_pools=(ip_network("10.9.0.0/24"),))
    update(made, remove_pools=(ip_network("10.7.0.0/24"),))
    assert bridge_addresses(network) == {"10.8.0.1/24", "fd07::1/64", "fe80::1/64"}
    assert routes(made, "one") == ["0.0.0.0/0 10.8.0.1", "::/0 fd07::1"]
    assert str(join(made, "two").ipv4) == "10.8.0.10/24", "who is there still counts"
    assert_agreed(made)
    for name in ("one", "two"):
        made.controller.remove_container(name)
    update(made, remove_pools=(ip_network("fd07::/64"),))
    assert bridge_addresses(network) == {"10.8.0.1/24"}
    with pytest.raises(Invalid, match="'net' would have no subnet left"):
        update(made, remove_pools=(ip_network("10.8.0.0/24"),))
    assert_agreed(made)


@in_private_host
def test_an_added_subnet_is_judged_as_a_new_network_s_would_be():
    made = house()
    made.network("other", pools=pools("10.9.0.0/24"))
    before = net(made, "10.7.0.0/24", routes=(static("10.10.0.0/24 10.7.0.5"),))
    shell("ip link add lan0 type veth peer name far; ip address add 172.30.0.1/24 dev lan0; ip link set lan0 up")
    rule = PolicyRule(verdict="deny", destination=ip_network("10.11.0.0/24"))
    Policies(made.parts, made.gate).change("net", None, PolicyChange(add=(rule,)))
    for spec, said in (
        (PoolSpec(subnet=ip_network("10.9.0.0/16")), r"10\.9\.0\.0/16 overlaps network 'other'"),
        (PoolSpec(subnet=ip_network("10.7.0.128/25")), r"10\.7\.0\.128/25 overlaps network 'net'"),
        (PoolSpec(subnet=ip_network("172.30.0.0/24")), "overlaps a route of this host"),
        (PoolSpec(subnet=ip_network("10.8.0.0/24"), gateway=ip_address("10.9.0.1")), "is not inside the subnet"),
        (PoolSpec(subnet=ip_network("127.0.0.0/24")), "cannot be used for containers"),
        (PoolSpec(subnet=ip_network("10.10.0.0/16")), "within the network's own subnet"),
        (PoolSpec(subnet=ip_network("10.11.0.0/16")), "is on network 'net' itself"),
        (PoolSpec(), "has to be named"),
    ):
        with pytest.raises(WeftError, match=said):
            update(made, add_pools=(spec,))
    assert made.parts.records.network("net").pools == before.pools
    chosen = update(made, add_pools=(PoolSpec(subnet=ip_network("0.0.0.0/26")),)).pools[1]
    assert (chosen.subnet.prefixlen, chosen.gateway) == (26, chosen.subnet.network_address + 1)
    assert_agreed(made)


@in_private_host
def test_routes_come_and_go_in_containers_that_are_there():
    made = house()
    net(made, "10.7.0.0/24", routes=(static("10.9.0.0/16 10.7.0.5"),))
    join(made, "web")
    key = made.parts.records.sandbox("web").key
    update(made, add_routes=(static("10.9.0.0/16 10.7.0.6"), static("10.10.0.0/16 10.7.0.5")))
    shown = shell(f"nsenter --net={key} ip route")
    assert "10.9.0.0/16 via 10.7.0.6" in shown
    assert "10.10.0.0/16 via 10.7.0.5" in shown
    update(made, remove_routes=(ip_network("10.9.0.0/16"),))
    assert "10.9.0.0/16" not in shell(f"nsenter --net={key} ip route")
    with pytest.raises(NotFound, match=r"has no route to 10\.9\.0\.0/16; it has 10\.10\.0\.0/16"):
        update(made, remove_routes=(ip_network("10.9.0.0/16"),))
    with pytest.raises(Invalid, match=r"gateway 10\.1\.0\.1 is in no subnet"):
        update(made, add_routes=(static("10.12.0.0/16 10.1.0.1"),))
    assert_agreed(made)
