"""A plan is made so, seen by the ordinary tools, mended after drift, and taken away, each as often as one likes."""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from tests.hosts import Namespace, in_private_host
from tests.kernel.world import (
    BRIDGE,
    NETWORK,
    RULES,
    World,
    elements,
    has_gone,
    ip,
    link_names,
    one,
    sh,
    snapshot,
)
from weft import names
from weft.errors import Conflict, Invalid, NotFound, Unavailable
from weft.plan import HOST, Address, Bridge, Netns, NftElement, Route, SandboxTable, Sysctl, Veth


@in_private_host
def test_a_network_is_seen_by_the_tools():
    world = World()
    link = ip(f"address show {BRIDGE.name}")[0]
    assert (link["address"], link["mtu"], link["group"]) == (BRIDGE.mac, BRIDGE.mtu, str(names.LINK_GROUP))
    assert link["linkinfo"]["info_kind"] == "bridge"
    assert link["linkinfo"]["info_data"]["mcast_snooping"] == 0
    assert "UP" in link["flags"]
    assert [a["local"] for a in link["addr_info"]] == ["10.1.0.1", "fd00:1::1"], "no address but those asked for"
    assert elements("bridges") == [BRIDGE.name]
    assert elements("subnets4") == [{"prefix": {"addr": "10.1.0.0", "len": 24}}]
    assert elements("subnets6") == [{"prefix": {"addr": "fd00:1::", "len": 64}}]
    assert elements("same") == [{"concat": [BRIDGE.name, BRIDGE.name]}]
    assert world.kernel.missing(NETWORK) == ()


@in_private_host
def test_a_container_is_seen_by_the_tools():
    world = World()
    plan = world.container(1)
    world.kernel.ensure(plan)
    netns = world.pin(1)
    outer = ip(f"link show {one(plan, Veth).name}")[0]
    assert (outer["mtu"], outer["master"], outer["group"]) == (1400, BRIDGE.name, str(names.LINK_GROUP))
    inner = ip("address show eth0", netns)[0]
    assert (inner["address"], inner["mtu"]) == ("02:42:0a:01:00:02", 1400)
    assert [f"{a['local']}/{a['prefixlen']}" for a in inner["addr_info"]] == ["10.1.0.2/24", "fd00:1::2/64"]
    assert "tentative" not in str(inner), "nobody waits for duplicate address detection"
    assert "UP" in ip("link show lo", netns)[0]["flags"]
    routes = {(r["dst"], r.get("gateway")) for r in [*ip("route", netns), *ip("-6 route", netns)]}
    assert {("default", "10.1.0.1"), ("default", "fd00:1::1"), ("10.77.0.0/16", None)} <= routes
    assert elements("ports4") == [[{"concat": ["tcp", 8001]}, {"concat": ["10.1.0.2", 80]}]]
    assert elements("ports6") == [[{"concat": ["udp", 8001]}, {"concat": ["fd00:1::2", 80]}]]
    assert elements("addr_ports4") == [[{"concat": ["127.0.0.1", "tcp", 9001]}, {"concat": ["10.1.0.2", 80]}]]
    assert elements("addr_ports6") == [[{"concat": ["fd00::9", "sctp", 9001]}, {"concat": ["fd00:1::2", 80]}]]
    assert "1 received" in sh("ping -c1 -W2 10.1.0.1", netns)
    assert "1 received" in sh("ping -c1 -W2 fd00:1::1", netns)


@in_private_host
def test_two_containers_reach_each_other_unless_isolated():
    world = World()
    world.kernel.ensure(world.container(1))
    world.kernel.ensure(world.container(2))
    assert "1 received" in sh("ping -c1 -W2 10.1.0.3", world.pin(1))
    for number in (1, 2):
        (pair, *_) = world.endpoint(number, isolated=True)
        assert world.kernel.missing((pair,)) == (pair,)
        world.kernel.ensure((pair,))
        assert world.kernel.missing((pair,)) == ()
    assert "0 received" in sh("ping -c1 -W1 10.1.0.3 || true", world.pin(1))
    assert "1 received" in sh("ping -c1 -W2 10.1.0.1", world.pin(1))


@in_private_host
def test_ensuring_again_changes_nothing():
    world = World()
    plan = world.container(1)
    world.kernel.ensure(plan)
    assert "forwarding" in sh("bridge link")  # The port is learning for a moment.
    before = snapshot(world.pin(1))
    world.kernel.ensure(NETWORK)
    world.kernel.ensure(plan)
    assert snapshot(world.pin(1)) == before
    assert world.kernel.missing(NETWORK + plan) == ()


DRIFTS = {
    "lo down": ("ip link set lo down", "in"),
    "interface down": ("ip link set eth0 down", "in"),
    "interface deleted": ("ip link delete eth0", "in"),
    "interface renamed": ("ip link set eth0 down; ip link set eth0 name lan0", "in"),
    "mac": ("ip link set eth0 address 02:00:00:00:00:99", "in"),
    "inner mtu": ("ip link set eth0 mtu 1300", "in"),
    "addresses": ("ip address flush dev eth0", "in"),
    "prefix length": ("ip address del 10.1.0.2/24 dev eth0; ip address add 10.1.0.2/16 dev eth0", "in"),
    "default route": ("ip route del default", "in"),
    "route elsewhere": ("ip route replace default via 10.1.0.77", "in"),
    "v6 route": ("ip -6 route del default", "in"),
    "container's rules": ("nft flush ruleset", "in"),
    "one rule of the container's": ("nft flush chain ip6 weft ipv6", "in"),
    "one rule more in the container": ("nft add rule ip weft dns counter", "in"),
    "switch in the container": ("sysctl -qw net.ipv4.ip_unprivileged_port_start=80", "in"),
    "port down": ("ip link set $port down", "out"),
    "port deleted": ("ip link delete $port", "out"),
    "port freed": ("ip link set $port nomaster", "out"),
    "port on another bridge": ("ip link add other type bridge; ip link set $port master other", "out"),
    "port shut": ("bridge link set dev $port state 0", "out"),
    "port isolated": ("bridge link set dev $port isolated on", "out"),
    "port's mtu": ("ip link set $port mtu 1300", "out"),
    "port's group": ("ip link set $port group 7", "out"),
    "namespace unbound": ("umount -l $pin", "out"),
    "pin deleted": ("umount -l $pin; rm $pin", "out"),
    "element deleted": ("nft delete element inet weft ports4 '{ tcp . 8001 }'", "out"),
    "element leads elsewhere": (
        "nft 'delete element inet weft ports4 { tcp . 8001 };"
        " add element inet weft ports4 { tcp . 8001 : 10.1.0.9 . 81 }'",
        "out",
    ),
    "bridge down": (f"ip link set {BRIDGE.name} down", "out"),
    "bridge deleted": (f"ip link delete {BRIDGE.name}", "out"),
    "bridge's mac": (f"ip link set {BRIDGE.name} address 02:00:00:00:00:98", "out"),
    "bridge's mtu": (f"ip link set {BRIDGE.name} mtu 1300", "out"),
    "bridge's group": (f"ip link set {BRIDGE.name} group 7", "out"),
    "bridge's addresses": (f"ip address flush dev {BRIDGE.name}", "out"),
    "switch on the host": (f"sysctl -qw net.ipv4.conf.{BRIDGE.name}.route_localnet=0", "out"),
    "subnet forgotten": ("nft flush set inet weft subnets4", "out"),
    "pair forgotten": ("nft flush set inet weft same", "out"),
}


@pytest.mark.parametrize("drift", DRIFTS)
@in_private_host
def test_drift_is_told_and_healed(drift: str):
    world = World()
    plan = NETWORK + world.container(1)
    world.kernel.ensure(plan)
    command, where = DRIFTS[drift]
    values = {"$port": one(plan, Veth).name, "$pin": world.pin(1)}
    for name, value in values.items():
        command = command.replace(name, value)
    sh(command, world.pin(1) if where == "in" else HOST)
    assert world.kernel.missing(plan) != ()
    world.kernel.ensure(plan)
    assert world.kernel.missing(plan) == ()
    assert "1 received" in sh("ping -c1 -W2 10.1.0.1", world.pin(1))


@in_private_host
def test_removing_leaves_nothing_and_can_be_repeated():
    world = World()
    plan = world.container(1)
    world.kernel.ensure(plan)
    for _ in range(2):
        world.kernel.remove(plan)
        assert [elements(name) for name in ("ports4", "ports6", "addr_ports4", "addr_ports6")] == [[]] * 4
        assert not os.path.exists(world.pin(1))
    assert has_gone(lambda: one(plan, Veth).name in link_names())
    for _ in range(2):
        world.kernel.remove(NETWORK)
        assert link_names() == {"lo"}
        assert [elements(name) for name in ("bridges", "subnets4", "subnets6", "same")] == [[]] * 4
    wanted = tuple(item for item in NETWORK + plan)
    assert world.kernel.missing(wanted) == wanted


@in_private_host
def test_no_packet_passes_once_remove_has_returned():
    world = World()
    plan = world.container(1)
    world.kernel.ensure(plan)
    with open(world.pin(1)) as held:  # Somebody still uses the namespace.
        netns = f"/proc/{os.getpid()}/fd/{held.fileno()}"
        world.kernel.remove(plan)
        sh("ip link set eth0 down; ip link set eth0 up; ip route add default via 10.1.0.1", netns)
        assert "0 received" in sh("ping -c1 -W1 10.1.0.1 || true", netns)


@in_private_host
def test_what_was_removed_can_be_made_again_at_once():
    world = World()
    plan = world.container(1)
    for _ in range(3):
        world.kernel.ensure(plan)
        assert world.kernel.missing(plan) == ()
        world.kernel.remove(plan)
    with Namespace() as container:
        plan = world.container(1, source=container.path)
        for _ in range(3):
            world.kernel.ensure(plan)
            assert world.kernel.missing(plan) == ()
            world.kernel.remove(plan)
        world.kernel.flush()
        assert link_names(container.path) == {"lo"}


@in_private_host
def test_leaving_one_network_keeps_the_other():
    world = World()
    plan, second = world.container(1), world.endpoint(1, ifname="eth1")
    moved = tuple(
        Address(item.netns, item.link, ip_interface("10.1.0.99/24")) if isinstance(item, Address) else item
        for item in second
        if not isinstance(item, Route)
    )
    world.kernel.ensure(plan + moved)
    for _ in range(2):
        world.kernel.remove(moved)
        world.kernel.flush()
        assert link_names(world.pin(1)) == {"lo", "eth0"}
    assert world.kernel.missing(plan) == ()


@in_private_host
def test_leaving_somebody_elses_namespace_takes_everything_of_weft_out_of_it():
    world = World()
    with Namespace() as container:
        plan = world.container(1, source=container.path)
        world.kernel.ensure(plan)
        assert os.path.samefile(world.pin(1), container.path)
        for _ in range(2):
            world.kernel.remove(plan)
            world.kernel.flush()
            assert link_names(container.path) == {"lo"}
            assert sh("nft list ruleset", container.path) == ""
        assert os.path.exists(container.path)


@in_private_host
def test_a_container_that_ended_is_left_without_complaint():
    world = World()
    with Namespace() as container:
        plan = world.container(1, source=container.path)
        world.kernel.ensure(plan)
        sh(f"umount -l {world.pin(1)}")
    assert world.kernel.missing(plan)
    world.kernel.remove(plan)
    assert has_gone(lambda: one(plan, Veth).name in link_names())


@in_private_host
def test_a_pin_follows_its_source():
    world = World()
    with Namespace() as first, Namespace() as second:
        world.kernel.ensure((Netns(world.pin(1), first.path),))
        moved = (Netns(world.pin(1), second.path),)
        assert world.kernel.missing(moved) == moved
        world.kernel.ensure(moved)
        assert os.path.samefile(world.pin(1), second.path)
        assert world.kernel.missing(moved) == ()


@in_private_host
def test_single_addresses_routes_and_tables_can_be_removed():
    world = World()
    plan = world.container(1)
    world.kernel.ensure(plan)
    gone = tuple(item for item in plan if isinstance(item, Address | Route | SandboxTable))
    for _ in range(2):
        world.kernel.remove(gone)
        assert world.kernel.missing(gone) == gone
    assert ip("route", world.pin(1)) == []
    world.kernel.ensure(plan)
    assert world.kernel.missing(plan) == ()


@in_private_host
def test_one_call_carries_out_many_containers():
    world = World()
    plan = tuple(item for number in range(1, 40) for item in world.container(number))
    world.kernel.ensure(plan)
    assert world.kernel.missing(plan) == ()
    world.kernel.remove(plan)
    world.kernel.remove(plan)
    assert world.kernel.sweep((BRIDGE.name,), ()) == ()
    assert has_gone(lambda: link_names() != {"lo", BRIDGE.name})


@in_private_host
def test_refusals_name_the_thing():
    world = World()
    kernel = world.kernel
    plan = world.container(1)
    kernel.ensure(plan)
    netns = world.pin(1)
    with pytest.raises(NotFound, match="no network namespace at /nowhere"):
        kernel.ensure((Netns(world.pin(2), "/nowhere"),))
    with pytest.raises(NotFound, match="no network namespace at /etc/passwd"):
        kernel.ensure((Netns(world.pin(2), "/etc/passwd"),))
    with pytest.raises(NotFound, match="bridge wb-none is not there"):
        kernel.ensure((Veth("wv-x", "wb-none", netns, "eth5", "02:00:00:00:00:01", 1500),))
    with pytest.raises(NotFound, match=r"10\.1\.0\.9/24 to eth7 in .*no link eth7"):
        kernel.ensure((Address(netns, "eth7", ip_interface("10.1.0.9/24")),))
    with pytest.raises(
        Invalid, match=r"route to 0\.0\.0\.0/0 via 10\.99\.0\.1 dev eth0 .*: Nexthop has invalid gateway"
    ):
        kernel.ensure((Route(netns, ip_network("0.0.0.0/0"), "eth0", ip_address("10.99.0.1")),))
    with pytest.raises(Conflict, match="in there, eth0 exists already"):
        kernel.ensure((replace(one(plan, Veth), name="wv-another"),))
    with pytest.raises(Conflict, match="exists and is no bridge"):
        kernel.ensure((Bridge(one(plan, Veth).name, BRIDGE.mac, 1500),))
    with pytest.raises(NotFound, match="the kernel has no such switch"):
        kernel.ensure((Sysctl(HOST, "net.ipv4.no_such_thing", "1", "testing"),))
    with pytest.raises(Invalid, match="no set 'doors'"):
        kernel.ensure((NftElement("doors", (1,)),))
    with pytest.raises(Conflict, match=r"cannot add 10\.1\.0\.128/25 to subnets4 of table inet weft"):
        kernel.ensure((NftElement("subnets4", (ip_network("10.1.0.128/25"),)),))
    sh("nft delete table inet weft")
    with pytest.raises(Unavailable, match=r"table inet weft .* is gone"):
        kernel.ensure((NftElement("ports4", ("tcp", 1), (ip_address("10.1.0.2"), 1)),))
    assert kernel.missing(plan) == tuple(item for item in plan if isinstance(item, NftElement))
    kernel.remove(plan)


@in_private_host
def test_a_link_of_somebody_elses_is_not_touched():
    world = World()
    sh(f"ip link add wv-0001eth0 type veth peer name foreign; ip link add {BRIDGE.name[:-1]}x type veth peer name y")
    sh("ip link add dummy0 type bridge")
    before = link_names()
    world.kernel.sweep((BRIDGE.name,), ())
    assert link_names() == before, "without weft's group a name alone says nothing"


@in_private_host
def test_a_port_that_was_freed_is_removed_all_the_same():
    world = World()
    plan = world.container(1)
    world.kernel.ensure(plan)
    sh(f"ip link set {one(plan, Veth).name} nomaster")
    world.kernel.remove(plan)
    assert has_gone(lambda: one(plan, Veth).name in link_names())
    assert not os.path.exists(world.pin(1))


@in_private_host
def test_sweep_removes_what_no_record_asks_for():
    world = World()
    kept, stray = world.container(1), world.container(2)
    world.kernel.ensure(kept + stray)
    link = one(kept, Veth).name
    gone = world.kernel.sweep((BRIDGE.name, link), (world.pin(1),))
    assert set(gone) == {one(stray, Veth).name, world.pin(2)}
    assert link_names() == {"lo", BRIDGE.name, link}
    assert world.kernel.missing(kept) == ()
    assert world.kernel.sweep((BRIDGE.name, link), (os.path.basename(world.pin(1)),)) == ()
    assert set(world.kernel.sweep((), ())) == {BRIDGE.name, link, world.pin(1)}
    assert link_names() == {"lo"}


@in_private_host
def test_the_name_servers_sockets_are_inside():
    world = World()
    world.kernel.ensure(world.container(1))
    udp, tcp = (socket.socket(fileno=fd) for fd in world.kernel.open_nameserver(world.pin(1)))
    assert udp.getsockname() == tcp.getsockname() == ("127.0.0.11", names.NAMESERVER_PORT)
    asking = "printf question | nc -u -w1 127.0.0.11 53"
    sh(asking, world.pin(1))
    udp.setblocking(True)
    question, client = udp.recvfrom(100)
    assert (question, client[0]) == (b"question", "127.0.0.1")
    sh("nc -z -w2 127.0.0.11 53", world.pin(1))
    with pytest.raises(Conflict, match="Address already in use"):
        world.kernel.open_nameserver(world.pin(1))
    with pytest.raises(NotFound):
        world.kernel.open_nameserver(world.pin(2))


@in_private_host
def test_what_a_host_reaches_already():
    world = World()
    sh("ip link add up0 type bridge; ip link set up0 up; ip address add 192.0.2.1/24 dev up0")
    sh("ip route add 198.51.100.0/24 via 192.0.2.9; ip route add default via 192.0.2.9")
    sh("ip route add 203.0.113.0/24 dev up0 table 77; ip address add fd00:99::1/64 dev up0 nodad")
    found = {str(network) for network in world.kernel.host_networks()}
    assert found == {"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "fd00:99::/64"}


@in_private_host
def test_counters_of_a_container():
    world = World()
    world.kernel.ensure(world.container(1))
    before = world.kernel.stats(world.pin(1))["eth0"]
    sh("ping -c3 -i0.01 10.1.0.1", world.pin(1))
    after = world.kernel.stats(world.pin(1))
    assert set(after) == {"lo", "eth0"}
    assert after["eth0"].tx_packets - before.tx_packets >= 3
    assert after["eth0"].rx_bytes - before.rx_bytes >= 3 * 98


@in_private_host
def test_switches_are_said_aloud_once():
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("weft.kernel").addHandler(handler)
    logging.getLogger("weft.kernel").setLevel(logging.INFO)
    world = World()
    switch = Sysctl(HOST, "net.ipv4.ip_forward", "1", "containers reach beyond the host")
    said.clear()
    world.kernel.ensure((switch,))
    world.kernel.ensure((switch,))
    assert said == ["net.ipv4.ip_forward set from 0 to 1: containers reach beyond the host"]
    world.kernel.remove((switch,))
    assert sh("sysctl -n net.ipv4.ip_forward") == "1\n"


@in_private_host
def test_a_namespace_is_told_from_other_files():
    world = World()
    world.kernel.ensure((Netns(world.pin(1)),))
    assert world.kernel.is_namespace(world.pin(1))
    assert world.kernel.is_namespace("/proc/self/ns/net")
    for other in ("/etc/passwd", "/proc/self/ns/mnt", "/", "/nowhere"):
        assert not world.kernel.is_namespace(other)


@in_private_host
def test_the_thread_is_back_home_after_errors():
    world = World()
    home = os.stat("/proc/thread-self/ns/net").st_ino
    sh(f"mkdir {world.pin(1)}")
    with pytest.raises(Exception, match=world.pin(1)):
        world.kernel.ensure((Netns(world.pin(1)),))
    assert os.stat("/proc/thread-self/ns/net").st_ino == home


@in_private_host
def test_a_kernel_made_anew_goes_on_where_the_last_one_ended():
    world = World()
    plan = world.container(1)
    world.kernel.ensure(plan)
    world.kernel.close()
    again = type(world.kernel)(world.run_dir)
    assert again.missing(NETWORK + plan) == ()
    wanted = [item for item in NETWORK + plan if isinstance(item, NftElement)]
    assert again.firewall_intact(RULES, wanted)
    again.remove(plan)
    assert not os.path.exists(world.pin(1))
