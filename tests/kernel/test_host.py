"""What is read of a host and inside a container, compared with what was put there."""

from __future__ import annotations

import shlex
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address, ip_network
from unittest import mock

import pytest

from tests.hosts import in_private_host, needs_root
from tests.kernel.world import BRIDGE, World
from tests.kinds import needs_link_kind
from tests.waiting import PACE
from weft.config import Config
from weft.dns import message
from weft.explain.health.facts import DefaultRoute, HostRoute, Link
from weft.explain.reach.facts import Listener
from weft.kernel import host as host_room
from weft.kernel.host import HostLook
from weft.model import Proto
from weft.names import LINK_GROUP
from weft.plan import Netns


def shell(command: str) -> None:
    subprocess.run(["bash", "-ec", command], check=True, timeout=20 * PACE)


def world() -> tuple[World, HostLook]:
    made = World()
    return made, HostLook(made.kernel, Config(run_dir=made.run_dir, resolv_conf=f"{made.run_dir}/resolv.conf"))


@in_private_host
def test_links_routes_and_addresses_are_the_hosts_own():
    shell(
        "ip link add up0 mtu 1400 type veth peer name up1; ip link set up0 up; ip link set up1 up;"
        "ip address add 192.0.2.2/24 dev up0; ip -6 address add 2001:db8::2/64 dev up0 nodad;"
        "ip route add default via 192.0.2.1; ip -6 route add default via 2001:db8::1;"
        "ip route add 198.51.100.0/24 via 192.0.2.9"
    )
    _, look = world()
    found = look.host()
    assert Link(name="up0", group=0, mtu=1400) in found.links
    assert Link(name=BRIDGE.name, group=LINK_GROUP, mtu=1400) in found.links
    assert found.default_routes == (DefaultRoute(version=4, link="up0"), DefaultRoute(version=6, link="up0"))
    assert set(found.routes) == {
        HostRoute(destination=ip_network("192.0.2.0/24"), link="up0"),
        HostRoute(destination=ip_network("198.51.100.0/24"), link="up0", on_link=False),
        HostRoute(destination=ip_network("2001:db8::/64"), link="up0"),
    }
    assert {ip_address("192.0.2.2"), ip_address("10.1.0.1"), ip_address("2001:db8::2")} <= set(found.addresses)
    assert found.sysctls["net.ipv4.conf.up0.forwarding"] == "0"
    assert found.sysctls["net.ipv6.conf.up0.accept_ra"] == "1"


@pytest.mark.full_kernel
@in_private_host
def test_routes_of_a_routing_domain_concern_nobody_else():
    needs_link_kind("vrf")
    shell(
        "ip link add red type vrf table 77; ip link set red up; ip link add in0 type veth peer name in1;"
        "ip link set in0 master red; ip link set in0 up; ip link set in1 up; ip address add 192.0.2.2/24 dev in0;"
        "ip -6 address add 2001:db8::2/64 dev in0 nodad; ip route add default via 192.0.2.1 table 77;"
        "ip route add 198.51.100.0/24 dev red; ip link add up0 type veth peer name up1; ip link set up0 up;"
        "ip link set up1 up; ip route add 203.0.113.0/24 dev up0 table 88"
    )
    made, look = world()
    found = look.host(probing=False)
    assert found.default_routes == ()
    assert set(found.routes) == {
        HostRoute(destination=ip_network("198.51.100.0/24"), link="red"),
        HostRoute(destination=ip_network("203.0.113.0/24"), link="up0"),
    }
    assert set(made.kernel.host_networks()) == {ip_network("198.51.100.0/24"), ip_network("203.0.113.0/24")}


@in_private_host
def test_a_route_from_an_advertisement_is_known_as_one():
    shell("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up")
    shell("ip -6 route add default via fe80::1 dev up0 proto ra")
    _, look = world()
    assert look.host(probing=False).default_routes == (DefaultRoute(version=6, link="up0"),)
    # iproute2 cannot set the flags that the kernel gives a route that it learned; the file is read, so a file will do.
    row = "0" * 32 + " 00 " + "0" * 32 + " 00 fe80" + "0" * 27 + "1 00000400 00000001 00000000 00450003     up0\n"
    with mock.patch.object(host_room, "open", mock.mock_open(read_data=row), create=True):
        assert host_room._advertised_defaults() == {"up0"}


@in_private_host
def test_this_kernel_can_do_what_weft_needs():
    _, look = world()
    features = look.host().features
    assert len(features) >= 5
    assert [feature.refused for feature in features if feature.needed] == [""] * sum(f.needed for f in features)
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert "probe" not in links  # it was tried out elsewhere


@in_private_host
def test_name_servers_are_those_of_resolv_conf_unless_others_are_set():
    made, look = world()
    assert look.host(probing=False).nameservers == ()
    with open(f"{made.run_dir}/resolv.conf", "w") as file:
        file.write("search example.org\nnameserver 192.0.2.53\n# nameserver 1.1.1.1\nnameserver 2001:db8::53\n")
    assert look.host(probing=False).nameservers == ("192.0.2.53", "2001:db8::53")
    other = HostLook(made.kernel, Config(run_dir=made.run_dir, dns=(ip_address("198.51.100.53"),)))
    assert other.host(probing=False).nameservers == ("198.51.100.53",)


@in_private_host
def test_marked_things_are_found_and_others_are_not():
    made, look = world()
    made.kernel.ensure((Netns(made.pin(1)),))
    shell("ip link add wb-notmarked type bridge; ip link add marked group 2003134068 type bridge")
    assert look.marked() == ([BRIDGE.name], [made.pin(1)])


@in_private_host
def test_a_resolver_is_there_if_its_process_is():
    made, look = world()
    assert look.resolver_pid() is None
    with subprocess.Popen(["sleep", "60"]) as process:
        with open(f"{made.run_dir}/resolver.pid", "w") as file:
            file.write(f"{process.pid}\n")
        assert look.resolver_pid() == process.pid
        process.kill()
    assert look.resolver_pid() is None


@in_private_host
def test_sockets_that_wait_are_listed_and_those_that_do_not_are_not():
    made, look = world()
    made.kernel.ensure(made.container(1))
    with ExitStack() as stack:
        made.kernel.within(made.pin(1), lambda: _open_sockets(stack))
        found = set(look.listeners(made.pin(1)))
    assert found == {
        Listener(proto=Proto.TCP, address=ip_address("0.0.0.0"), port=81),
        Listener(proto=Proto.TCP, address=ip_address("127.0.0.1"), port=82),
        Listener(proto=Proto.TCP, address=ip_address("::1"), port=83),
        Listener(proto=Proto.UDP, address=ip_address("10.1.0.2"), port=84),
    }


def _open_sockets(stack: ExitStack) -> None:
    for family, host, port in ((2, "0.0.0.0", 81), (2, "127.0.0.1", 82), (10, "::1", 83), (2, "127.0.0.11", 40053)):
        tcp = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        tcp.bind((host, port))
        tcp.listen()
    stack.enter_context(socket.socket()).bind(("0.0.0.0", 85))  # bound, but it does not listen
    stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind(("10.1.0.2", 84))


INNER = {
    "nothing": ("true", []),
    "a forwarding chain": ("nft add table ip t; nft 'add chain ip t f { type filter hook forward priority 0; }'", []),
    "an open chain": ("nft add table ip t; nft 'add chain ip t i { type filter hook input priority 0; }'", [("i", "")]),
    "a closed one": (
        "nft add table inet t; nft 'add chain inet t i { type filter hook input priority 0; policy drop; }'",
        [("i", "drop")],
    ),
    "iptables": ("iptables-nft -P INPUT DROP", [("INPUT", "drop")]),
    "iptables of old": ("iptables-legacy -P INPUT DROP", [("INPUT", "")]),
}


@pytest.mark.parametrize(("command", "chains"), INNER.values(), ids=INNER)
@in_private_host
def test_firewalls_inside_a_container_are_seen(command: str, chains: list[tuple[str, str]]):
    if "legacy" in command:
        needs_root("in a user namespace nobody is told which of the old tables are in use")
    made, look = world()
    made.kernel.ensure(made.container(1))
    shell(f"nsenter --net={made.pin(1)} bash -ec {shlex.quote(command)}")
    assert [(chain.name, chain.closed) for chain in look.inner_chains(made.pin(1))] == chains
    assert look.inner_chains(made.pin(7)) == ()


# The name server


@contextmanager
def name_server(udp: socket.socket, known: dict[str, str]) -> Iterator[None]:
    """Answers A queries for the known names, NXDOMAIN for others, until the block ends."""

    def serve() -> None:
        while True:
            try:
                data, client = udp.recvfrom(512)
            except OSError:
                return
            query = message.parse_query(data)
            address = known.get(_text(query.name))
            rdata = (ip_address(address).packed,) if address and query.qtype == message.A else ()
            rcode = message.NOERROR if address else message.NXDOMAIN
            udp.sendto(message.render_answer(query, rcode=rcode, rdata=rdata, ttl=5), client)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        udp.close()


def _text(wire: bytes) -> str:
    return b".".join(message.labels(wire)).decode()


@in_private_host
def test_names_are_asked_inside_the_container():
    made, look = world()
    made.kernel.ensure(made.container(1))
    udp, tcp = made.kernel.open_nameserver(made.pin(1))
    server = socket.socket(fileno=udp)
    server.setblocking(True)
    with socket.socket(fileno=tcp), name_server(server, {"web.front": "10.1.0.2"}):
        answers = look.asker(made.pin(1), ["web.front", "nobody.front"])()
    assert answers == {"web.front": (ip_address("10.1.0.2"),), "nobody.front": ()}


@in_private_host
def test_a_silent_name_server_is_told_from_one_that_knows_nothing():
    made, look = world()
    made.kernel.ensure(made.container(1))
    assert look.asker(made.pin(1), ["web.front"])() is None  # nobody listens
    udp, tcp = made.kernel.open_nameserver(made.pin(1))
    with socket.socket(fileno=udp), socket.socket(fileno=tcp), mock.patch.object(host_room, "PATIENCE", 0.1):
        assert look.asker(made.pin(1), ["web.front"])() is None  # somebody listens, and does not answer
    assert look.asker(made.pin(7), ["web.front"])() is None  # there is no such container
