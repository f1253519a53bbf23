"""Links that branch off from others are made so, mended after drift, and taken away, each as often as one likes."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from unittest.mock import ANY

import pytest

from tests.hosts import Namespace, in_private_host
from tests.kernel.test_watch import noticed
from tests.kernel.world import World, has_gone, ip, link_names, sh
from tests.kinds import needs_link_kind
from weft import names
from weft.errors import Conflict, NotFound, Unsupported
from weft.kernel.linux import LinuxKernel
from weft.kernel.watch import Change, Watch
from weft.plan import HOST, Address, Child, Dummy, Loopback, Netns, Parent, Plan, Route, SandboxTable, Vlan, describe

WIRE = "ip link add eth0 mtu 1400 type veth peer name far; ip link set eth0 up; ip link set far up"
SHIM = Child(HOST, "ws-0123456789ab", "eth0", "macvlan", "bridge", mac="02:42:0a:09:00:01")
LAN: Plan = (Parent("eth0", "macvlan"), SHIM, Address(HOST, SHIM.name, ip_interface("10.9.0.1/32")))


class Wired(World):
    """A host with a wire at eth0, and containers on it."""

    def __init__(self) -> None:
        needs_link_kind("macvlan")
        super().__init__()
        sh(WIRE)
        self.kernel.ensure(LAN)

    def on_wire(self, number: int, *, source: str | None = None) -> Plan:
        netns, host, ifname = self.pin(number), number + 1, "eth0"
        return (
            Netns(netns, source),
            SandboxTable(netns, names.NAMESERVER_PORT, ipv6=True),
            Child(netns, ifname, "eth0", "macvlan", "bridge", mac=f"02:42:0a:09:00:{host:02x}", mtu=1300),
            Loopback(netns),
            Address(netns, ifname, ip_interface(f"10.9.0.{host}/24")),
            Address(netns, ifname, ip_interface(f"fd09::{host}/64")),
            Route(netns, ip_network("0.0.0.0/0"), ifname, ip_address("10.9.0.254")),
            Route(HOST, ip_network(f"10.9.0.{host}/32"), SHIM.name),
        )


@in_private_host
def test_a_child_is_seen_by_the_tools():
    world = Wired()
    plan = world.on_wire(1)
    world.kernel.ensure(plan)
    link = ip("address show eth0", world.pin(1))[0]
    assert (link["address"], link["mtu"], link["group"]) == ("02:42:0a:09:00:02", 1300, str(names.CHILD_GROUP))
    assert (link["linkinfo"]["info_kind"], link["linkinfo"]["info_data"]["mode"]) == ("macvlan", "bridge")
    assert [a["local"] for a in link["addr_info"]] == ["10.9.0.2", "fd09::2"], "no address but those asked for"
    shim = ip(f"address show {SHIM.name}")[0]
    assert (shim["address"], shim["mtu"], shim["group"]) == (SHIM.mac, 1400, str(names.LINK_GROUP))
    assert [a["local"] for a in shim["addr_info"]] == ["10.9.0.1"]
    assert sh(f"sysctl -n net.ipv6.conf.{SHIM.name}.accept_ra") == "0\n"
    assert "1 received" in sh("ping -c1 -W2 10.9.0.2")
    world.kernel.ensure(world.on_wire(2))
    assert "1 received" in sh("ping -c1 -W2 fd09::3", world.pin(1))
    assert world.kernel.missing(LAN + plan) == ()


@in_private_host
def test_ensuring_again_changes_nothing():
    world = Wired()
    plan = world.on_wire(1)
    world.kernel.ensure(plan)
    assert has_gone(lambda: is_settling(world))
    before = listed(world)
    world.kernel.ensure(LAN + plan)
    assert listed(world) == before


def is_settling(world: World) -> bool:
    """Whether the kernel has yet to say that a link which was set up is up."""
    return any(
        "state UP" not in text for text in (sh("ip -o link show eth0", world.pin(1)), sh(f"ip link show {SHIM.name}"))
    )


def listed(world: World) -> str:
    """All that the plans make, as the tools list it."""
    inside = sh("ip -o address; ip -o link; ip route; ip -6 route; nft -a list ruleset", world.pin(1))
    return inside + sh(f"ip -o address show {SHIM.name}; ip -o link show {SHIM.name}; ip route show dev {SHIM.name}")


DRIFTS = {
    "deleted": ("ip link delete eth0", "in"),
    "down": ("ip link set eth0 down", "in"),
    "mac": ("ip link set eth0 address 02:00:00:00:00:99", "in"),
    "mtu": ("ip link set eth0 mtu 1280", "in"),
    "group": ("ip link set eth0 group 5", "in"),
    "mode": ("ip link set eth0 type macvlan mode private", "in"),
    "shim deleted": (f"ip link delete {SHIM.name}", "out"),
    "shim down": (f"ip link set {SHIM.name} down", "out"),
    "shim's mac": (f"ip link set {SHIM.name} address 02:00:00:00:00:98", "out"),
    "parent made anew": (f"ip link delete eth0; {WIRE}", "out"),
    "parent's mtu": ("ip link set eth0 mtu 1290; ip link set eth0 mtu 1400", "out"),
}


@pytest.mark.parametrize("drift", DRIFTS)
@in_private_host
def test_drift_is_seen_and_mended(drift: str):
    world = Wired()
    plan = world.on_wire(1)
    world.kernel.ensure(plan)
    command, where = DRIFTS[drift]
    sh(command, world.pin(1) if where == "in" else HOST)
    assert world.kernel.missing(LAN + plan)
    if drift == "group":
        # Without the mark it counts as somebody else's.
        with pytest.raises(Conflict, match="exists already"):
            world.kernel.ensure(plan)
        return
    world.kernel.ensure(LAN + plan)
    assert world.kernel.missing(LAN + plan) == ()
    assert "1 received" in sh("ping -c1 -W2 10.9.0.2")


@in_private_host
def test_a_parent_that_is_gone_is_named_and_the_nearest_suggested():
    world = Wired()
    plan = world.on_wire(1)
    world.kernel.ensure(plan)
    sh("ip link set eth0 down; ip link set eth0 name eth7")
    assert Parent("eth0", "macvlan") in world.kernel.missing(LAN)
    for wanted in (LAN, plan):
        with pytest.raises(NotFound, match="no such link on this host: 'eth0'; did you mean 'eth7'"):
            world.kernel.ensure(wanted)
    with pytest.raises(NotFound, match="did you mean 'eth7'"):
        world.kernel.check_link("eht7.10", "eht7")
    world.kernel.check_link("eth9.7", "eth7")


@in_private_host
def test_a_kind_that_the_kernel_has_not_is_named():
    world = Wired()
    with pytest.raises(Unsupported, match="this kernel has no nonesuch links"):
        world.kernel.ensure((Parent("eth0", "nonesuch"),))
    assert "weft-probe" not in link_names()


@in_private_host
def test_it_is_taken_away_as_often_as_one_likes():
    world = Wired()
    plan = world.on_wire(1)
    world.kernel.ensure(plan)
    for _ in range(2):
        world.kernel.remove(plan)
    assert "10.9.0.2" not in sh("ip route")
    for _ in range(2):
        world.kernel.remove(LAN)
    assert {name for name in link_names() if name.startswith("ws-")} == set()
    assert "eth0" in link_names(), "the parent is the host's"


@in_private_host
def test_its_mac_is_free_as_soon_as_it_has_left():
    world = Wired()
    for number in range(1, 4):
        netns = world.pin(number)
        plan: Plan = (Netns(netns), Child(netns, "eth0", "eth0", "macvlan", "bridge", mac="02:42:0a:09:00:77"))
        world.kernel.ensure(plan)
        world.kernel.remove(plan)


@in_private_host
def test_a_namespace_that_stays_keeps_what_is_its_own():
    world = Wired()
    with Namespace() as theirs:
        sh("ip link add mine type veth peer name mine1; ip link add link mine name mv type macvlan", theirs.path)
        plan = world.on_wire(1, source=theirs.path)
        world.kernel.ensure(plan)
        assert "eth0" in link_names(theirs.path)
        for _ in range(2):
            world.kernel.remove(plan)
        assert link_names(theirs.path) == {"lo", "mine", "mine1", "mv"}


@in_private_host
def test_somebody_elses_link_of_the_name_is_left_alone():
    world = Wired()
    with Namespace() as theirs:
        sh("ip link add eth0 type veth peer name other", theirs.path)
        plan = world.on_wire(1, source=theirs.path)
        with pytest.raises(Conflict, match="a link of that name exists already"):
            world.kernel.ensure(plan)
        world.kernel.remove(plan)
        assert {"eth0", "other"} <= link_names(theirs.path)


@in_private_host
def test_two_links_with_one_mac_are_refused():
    world = Wired()
    twin = Child(HOST, "ws-twin", "eth0", "macvlan", "bridge", mac=SHIM.mac)
    with pytest.raises(Conflict, match=f"another link on eth0 has the MAC {SHIM.mac}"):
        world.kernel.ensure((twin,))


@in_private_host
def test_a_parent_that_can_have_none_is_told_of():
    world = Wired()
    sh("ip link add br9 type bridge; ip link add port9 type veth peer name far9; ip link set port9 master br9 up")
    with pytest.raises(Conflict, match="port9 may be a port of a bridge"):
        world.kernel.ensure((Child(HOST, "ws-9", "port9", "macvlan", "bridge"),))


@in_private_host
def test_what_no_record_asks_for_is_swept_inside_and_out():
    world = Wired()
    world.kernel.ensure(world.on_wire(1))
    stray = Child(world.pin(1), "eth1", "eth0", "macvlan", "bridge", mac="02:42:0a:09:00:66")
    world.kernel.ensure((stray,))
    assert world.kernel.sweep_inside(world.pin(1), ["eth0"]) == ("eth1",)
    assert world.kernel.sweep_inside(world.pin(1), ["eth0"]) == ()
    assert world.kernel.children(world.pin(1)) == ["eth0"]
    assert SHIM.name in world.kernel.sweep([], [world.pin(1)])
    assert SHIM.name not in link_names()
    assert "eth0" in link_names(world.pin(1))


@in_private_host
def test_a_stray_pin_of_a_namespace_that_stays_takes_its_links_along():
    world = Wired()
    with Namespace() as theirs:
        world.kernel.ensure(world.on_wire(1, source=theirs.path))
        assert world.pin(1) in LinuxKernel(world.run_dir).sweep([], [])
        assert link_names(theirs.path) == {"lo"}


@in_private_host
def test_a_link_that_leads_nowhere():
    world = Wired()
    dummy = Dummy("wd-0123456789ab", 1450)
    world.kernel.ensure((dummy, Parent(dummy.name, "macvlan")))
    assert world.kernel.missing((dummy,)) == ()
    for number in (1, 2):
        child = Child(world.pin(number), "eth0", dummy.name, "macvlan", "bridge", mac=f"02:00:00:00:00:0{number}")
        address = Address(world.pin(number), "eth0", ip_interface(f"10.8.0.{number}/24"))
        world.kernel.ensure((Netns(world.pin(number)), child, address))
    assert "1 received" in sh("ping -c1 -W2 10.8.0.2", world.pin(1))
    sh(f"ip link set {dummy.name} mtu 1400 down")
    assert world.kernel.missing((dummy,)) == (dummy,)
    world.kernel.ensure((dummy,))
    assert world.kernel.missing((dummy,)) == ()
    for _ in range(2):
        world.kernel.remove((dummy,))
    assert has_gone(lambda: dummy.name in link_names())
    sh(f"ip link add {dummy.name} type veth peer name else")
    with pytest.raises(Conflict, match="is not weft's"):
        world.kernel.ensure((dummy,))
    world.kernel.remove((dummy,))
    assert dummy.name in link_names(), "it does not bear the mark"


@in_private_host
def test_a_vlan_is_weft_s_only_if_weft_made_it():
    needs_link_kind("vlan")
    world = Wired()
    ten = Vlan("eth0.10", "eth0", 10)
    assert world.kernel.missing((ten,)) == (ten,)
    world.kernel.ensure((ten,))
    assert ip("link show eth0.10")[0]["linkinfo"]["info_data"]["id"] == 10
    assert world.kernel.missing((ten,)) == ()
    sh("ip link set eth0.10 down")
    assert world.kernel.missing((ten,)) == (ten,)
    world.kernel.ensure((ten,))
    assert "eth0.10" in world.kernel.sweep([SHIM.name], [])
    for _ in range(2):
        world.kernel.remove((ten,))
    sh("ip link add link eth0 name eth0.10 type vlan id 10")
    world.kernel.ensure((ten,))
    assert world.kernel.missing((ten,)) == ()
    world.kernel.remove((ten,))
    assert world.kernel.sweep([SHIM.name], []) == ()
    assert "eth0.10" in link_names()


@in_private_host
def test_on_a_link_that_branches_off_itself_the_one_below_carries_both():
    world = Wired()
    sh("ip link add link eth0 name mv0 type macvlan mode bridge; ip link set mv0 up")
    child = Child(HOST, "ws-on-mv0", "mv0", "macvlan", "bridge", mac="02:00:00:00:00:05")
    world.kernel.ensure((child,))
    assert world.kernel.missing((child,)) == ()
    world.kernel.ensure((child,))


@in_private_host
def test_ipvlan_children_are_seen_by_the_tools():
    needs_link_kind("ipvlan")
    world = Wired()
    world.kernel.remove(LAN)
    for mode, flag in (("l2", "bridge"), ("l3", "private"), ("l3s", "vepa")):
        child = Child(world.pin(1), "eth0", "eth0", "ipvlan", mode, flag)
        world.kernel.ensure((Netns(world.pin(1)), child))
        data = ip("link show eth0", world.pin(1))[0]["linkinfo"]["info_data"]
        assert data["mode"] == mode
        assert world.kernel.missing((child,)) == ()
        other = Child(world.pin(1), "eth0", "eth0", "ipvlan", "l2", "private")
        assert world.kernel.missing((other,)) == (other,)
        world.kernel.remove((child,))


@in_private_host
def test_that_it_is_gone_is_heard_on_the_host():
    world, watch = Wired(), Watch()
    world.kernel.ensure(world.on_wire(1))
    sh("ip link delete eth0", world.pin(1))
    assert Change("link", "eth0", ANY, world.kernel.nsid(world.pin(1))) in noticed(watch)


@in_private_host
def test_the_commands_build_the_same_by_hand():
    world = Wired()
    world.kernel.remove(LAN)
    plan = world.on_wire(1)
    for command in (*describe(LAN), *describe(plan)):
        sh(command)
    assert world.kernel.missing(LAN + plan) == ()
    assert "1 received" in sh("ping -c1 -W2 10.9.0.2")
