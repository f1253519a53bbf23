"""Plans describe themselves as commands that a person could have typed: so these tests type them."""

from __future__ import annotations

import subprocess
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

from tests.hosts import in_private_host
from weft.drivers.bridge import BridgeDriver
from weft.engine.plans import network_plan, sandbox_plan
from weft.firewall.ruleset import ruleset
from weft.model import Endpoint, Network, Pool, PortBinding, Proto, Sandbox
from weft.plan import (
    HOST,
    Address,
    Bridge,
    Loopback,
    Mac,
    Netns,
    NftElement,
    Plan,
    Route,
    SandboxTable,
    Sysctl,
    Veth,
    describe,
    identity,
    superseded,
)


def test_items_read_as_commands():
    plan: Plan = (
        Netns("/run/weft/netns/a"),
        Netns("/run/weft/netns/b", source="/proc/7/ns/net"),
        Loopback("/run/weft/netns/a"),
        Address(HOST, "wb-1", ip_interface("10.0.0.1/24")),
        Address("/run/weft/netns/a", "eth0", ip_interface("fd00::2/64")),
        Route("/run/weft/netns/a", ip_network("0.0.0.0/0"), "eth0", ip_address("10.0.0.1")),
        Route("/run/weft/netns/a", ip_network("fd01::/64"), "eth0"),
        Sysctl(HOST, "net.ipv4.ip_forward", "1", "containers reach beyond the host"),
    )
    assert describe(plan) == (
        "touch /run/weft/netns/a",
        "unshare --net=/run/weft/netns/a true",
        "touch /run/weft/netns/b",
        "mount --bind /proc/7/ns/net /run/weft/netns/b",
        "nsenter --net=/run/weft/netns/a ip link set lo up",
        "ip address add 10.0.0.1/24 dev wb-1",
        "nsenter --net=/run/weft/netns/a ip address add fd00::2/64 dev eth0 nodad",
        "nsenter --net=/run/weft/netns/a ip route replace default via 10.0.0.1 dev eth0",
        "nsenter --net=/run/weft/netns/a ip -6 route replace fd01::/64 dev eth0",
        "sysctl -w net.ipv4.ip_forward=1  # containers reach beyond the host",
    )


def test_elements_read_as_nft_writes_them():
    published = NftElement("ports4", ("tcp", 80), (ip_address("172.18.0.2"), 8080))
    assert published.text() == "tcp . 80 : 172.18.0.2 . 8080"
    assert NftElement("same", ("wb-1", "wb-1")).text() == '"wb-1" . "wb-1"'
    guarded = NftElement("senders4", ("wv-1", Mac("02:42:0a:00:00:02"), ip_address("10.0.0.2")), family="bridge")
    assert guarded.describe() == ("nft add element bridge weft senders4 '{ \"wv-1\" . 02:42:0a:00:00:02 . 10.0.0.2 }'",)
    assert NftElement("subnets6", (ip_network("fd00::/64"),)).text() == "fd00::/64"
    assert published.describe() == ("nft add element inet weft ports4 '{ tcp . 80 : 172.18.0.2 . 8080 }'",)


def test_the_commands_of_a_pair_name_every_choice():
    pair = Veth("wv-1", "wb-1", "/n", "eth0", "02:42:0a:00:00:02", 1500, isolated=True)
    assert pair.describe() == (
        "ip link add wv-1 mtu 1500 group 2003134068 type veth "
        "peer name eth0 address 02:42:0a:00:00:02 mtu 1500 netns /n",
        "ip link set wv-1 addrgenmode none master wb-1 up",
        "bridge link set dev wv-1 isolated on",
        "nsenter --net=/n ip link set eth0 addrgenmode none up",
    )


def test_two_states_of_one_thing_are_the_same_thing():
    def bridge(mtu: int) -> Bridge:
        return Bridge("wb-1", "02:77:00:00:00:01", mtu)

    def default(via: str, link: str) -> Route:
        return Route("/n", ip_network("0.0.0.0/0"), link, ip_address(via))

    def port(target: str) -> NftElement:
        return NftElement("ports4", ("tcp", 80), (ip_address(target), 80))

    assert identity(bridge(1500)) == identity(bridge(1400))
    assert identity(default("10.0.0.1", "eth0")) == identity(default("10.1.0.1", "eth1"))
    assert identity(port("10.0.0.2")) == identity(port("10.0.0.3"))
    assert identity(SandboxTable("/n", 40053, ipv6=True)) == identity(SandboxTable("/n", 40053, ipv6=False))
    assert identity(Loopback("/n")) != identity(Loopback("/m"))


def test_what_changed_is_not_superseded_but_what_is_no_more_is():
    gone = Address("/n", "eth1", ip_interface("10.1.0.2/24"))
    old: Plan = (NftElement("ports4", ("tcp", 80), (ip_address("10.0.0.2"), 80)), gone)
    new: Plan = (NftElement("ports4", ("tcp", 80), (ip_address("10.1.0.2"), 80)),)
    assert superseded(old, new) == (gone,)
    assert superseded(new, old) == ()


@in_private_host
def test_the_commands_build_a_network_with_two_containers(tmp_path: Path):
    network = Network(
        id="a" * 64,
        name="blue",
        driver=BridgeDriver.name,
        pools=(
            Pool(subnet=ip_network("10.7.0.0/24"), gateway=ip_address("10.7.0.1")),
            Pool(subnet=ip_network("fd07::/64"), gateway=ip_address("fd07::1")),
        ),
    )
    networks = {network.id: network}
    plans = [network_plan(network), *(sandbox_plan(*one(tmp_path, n, network), networks) for n in (2, 3))]

    run(["nft", "-f", "-"], ruleset(ipv6=True))
    for plan in plans:
        for command in describe(plan):
            run(["sh", "-c", command])

    inside = ["nsenter", f"--net={tmp_path}/2"]
    for there in ("10.7.0.1", "10.7.0.3", "fd07::1", "fd07::3"):
        run([*inside, "ping", "-q", "-c1", "-W2", there])
    assert "10.7.0.3 . 8080" in run(["nft", "list", "map", "inet", "weft", "ports4"])


def one(pins: Path, number: int, network: Network) -> tuple[Sandbox, list[Endpoint]]:
    """A container with address .number on the network; container 3 publishes port 80."""
    ident = str(number) * 64
    ports = (PortBinding(proto=Proto.TCP, container_port=8080, host_port=80),) if number == 3 else ()
    endpoint = Endpoint(
        id=ident,
        network=network.id,
        sandbox=ident,
        ifname="eth0",
        mac=f"02:42:0a:07:00:0{number}",
        ipv4=ip_interface(f"10.7.0.{number}/24"),  # type: ignore[arg-type]
        ipv6=ip_interface(f"fd07::{number}/64"),  # type: ignore[arg-type]
    )
    return Sandbox(id=ident, name=f"c{number}", key=f"{pins}/{number}", ports=ports), [endpoint]


def run(command: list[str], stdin: str | None = None) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout
