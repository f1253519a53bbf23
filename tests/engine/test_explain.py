"""Explanations of what is really in the kernel: right when all is there, and to the point when something is not."""

from __future__ import annotations

import msgspec
import pytest

from tests.engine.house import House, house, shell, wrong
from tests.hosts import in_private_host
from weft.engine.specs import PortSpec
from weft.explain.text import Look, render_commands
from weft.model import Proto
from weft.plan import Bridge, Guard, Item, Plan, Route, Veth

PORTS = (
    PortSpec(proto=Proto.TCP, container_port=80, host_port=8080),
    PortSpec(proto=Proto.UDP, container_port=53, host_port=5353),
)


def world() -> House:
    """The container web on front, with IPv6 and ports, and back, which is internal; db on back."""
    made = house()
    made.network("front", ipv6=True)
    made.network("back", internal=True)
    made.container("web", "front", "back", ports=PORTS)
    made.container("db", "back")
    return made


def plan_of(made: House, container: str) -> Plan:
    return made.converge.plan_of(made.parts.records.sandbox(container))


def find(plan: Plan, kind: type[Item], **fields: object) -> Item:
    return next(i for i in plan if isinstance(i, kind) and all(getattr(i, k) == v for k, v in fields.items()))


@in_private_host
def test_all_is_there_after_a_join():
    made = world()
    for name in ("web", "db"):
        explanation = made.explain(name)
        assert wrong(explanation) == []
        assert explanation.checked > 10
    for name in ("front", "back"):
        assert wrong(made.explain_network(name)) == []


DRIFT: dict[str, tuple[str, str, str, str]] = {
    "an address is deleted": (
        "nsenter --net={netns} ip address del {ipv4} dev eth0",
        "address {ipv4} on eth0",
        "missing",
        "",
    ),
    "an address has another length": (
        "nsenter --net={netns} bash -c 'ip address del {ipv4} dev eth0; ip address add {ip}/24 dev eth0; "
        "ip route add default via {gateway} dev eth0 onlink'",
        "address {ipv4} on eth0",
        "different",
        "with prefix length 24",
    ),
    "the default route is deleted": (
        "nsenter --net={netns} ip route del default",
        "default via {gateway} dev eth0",
        "missing",
        "",
    ),
    "the default route leads elsewhere": (
        "nsenter --net={netns} ip route replace default dev eth1",
        "default via {gateway} dev eth0",
        "different",
        "dev eth1",
    ),
    "lo is down": ("nsenter --net={netns} ip link set lo down", "lo is up", "different", "lo is down"),
    "the cable is down": (
        "ip link set {veth} down",
        "eth0 ↔ {veth}, a port of {bridge}",
        "different",
        "{veth} is down",
    ),
    "the cable is pulled": (
        "ip link set {veth} nomaster",
        "eth0 ↔ {veth}",
        "different",
        "{veth} is no port of {bridge}",
    ),
    "the cable has another MTU": ("ip link set {veth} mtu 1400", "eth0 ↔ {veth}", "different", "MTU 1400 of {veth}"),
    "the bridge has another MTU": ("ip link set {bridge} mtu 1300", "bridge {bridge}", "different", "MTU 1300"),
    "the bridge is down": ("ip link set {bridge} down", "bridge {bridge}", "different", "down"),
    "the gateway's address is deleted": (
        "ip address del {gateway}/16 dev {bridge}",
        "address {gateway}/16 on {bridge}",
        "missing",
        "",
    ),
    "a switch is turned off": ("sysctl -w net.ipv4.ip_forward=0", "net.ipv4.ip_forward = 1", "different", "0"),
    "DNS is no longer redirected": (
        "nsenter --net={netns} nft flush ruleset",
        "tables ip weft and ip6 weft inside",
        "missing",
        "",
    ),
    "DNS is redirected elsewhere": (
        "nsenter --net={netns} nft flush chain ip weft dns",
        "tables ip weft and ip6 weft inside",
        "different",
        "other rules",
    ),
}


@pytest.mark.parametrize(("damage", "text", "state", "found"), DRIFT.values(), ids=DRIFT)
@in_private_host
def test_drift_is_told(damage: str, text: str, state: str, found: str):
    made = world()
    web, front = made.parts.records.sandbox("web"), made.parts.records.network("front")
    endpoint = next(e for e in made.parts.records.endpoints_of(web.id) if e.network == front.id)
    assert endpoint.ipv4
    (pool,) = front.pools_of(4)
    names = {
        "netns": web.key,
        "ipv4": str(endpoint.ipv4),
        "ip": str(endpoint.ipv4.ip),
        "gateway": str(pool.gateway),
        "veth": f"wv-{endpoint.id[:12]}",
        "bridge": f"wb-{front.id[:12]}",
    }
    shell(damage.format_map(names))
    told = [(line.state, line.found) for line in wrong(made.explain("web")) if text.format_map(names) in line.text]
    assert told == [(state, found.format_map(names))]
    made.repair()
    assert wrong(made.explain("web")) == []


@in_private_host
def test_an_element_that_is_lost_or_leads_elsewhere_is_told():
    made = world()
    shell("nft delete element inet weft ports4 '{ tcp . 8080 }'")
    line, table = sorted(wrong(made.explain("web")), key=lambda found: found.text.startswith("table"))
    assert (line.state, line.text.split(" →")[0]) == ("missing", "port 8080/tcp of every IPv4 address of the host")
    assert table.text.startswith("table inet weft:")
    shell("nft add element inet weft ports4 '{ tcp . 8080 : 172.18.0.77 . 81 }'")
    line, _ = sorted(wrong(made.explain("web")), key=lambda found: found.text.startswith("table"))
    assert (line.state, line.found) == ("different", "172.18.0.77 . 81")


@in_private_host
def test_a_flushed_ruleset_is_told_by_everything_that_was_in_it():
    made = world()
    shell("nft flush ruleset")
    lost = wrong(made.explain_network("front"))
    elements = [item for item in made.explainer.network("front").plan if "nft add element" in item.describe()[0]]
    assert len(lost) == len(elements) + 1
    assert len(elements) > 4


@in_private_host
def test_a_lost_namespace_is_told():
    made = world()
    netns = made.parts.records.sandbox("db").key
    shell(f"umount {netns}")
    lost = wrong(made.explain("db"))
    inside = [item for item in plan_of(made, "db") if getattr(item, "netns", "") == netns or item.describe()[-1:] == ()]
    assert {line.state for line in lost} <= {"missing", "different"}
    assert len(lost) >= len(inside)


@in_private_host
def test_the_commands_build_the_same_by_hand():
    """What --commands prints is not prose: typed into an empty host, it makes what weft would have made."""
    made = world()
    table = made.gate.text()
    scripts = {name: commands(made.explain(name)) for name in ("web", "db")}
    network = commands(made.explain_network("front"))
    plan = (*made.explainer.network("front").plan, *plan_of(made, "web"))
    bridges = [item for item in made.explainer.network("back").plan if isinstance(item, Bridge)]
    made.controller.remove_container("web", force=True)
    made.controller.remove_container("db", force=True)
    # The kernel ends a namespace, and with it its links, a little after nobody holds it any more.
    shell("for i in {1..100}; do ip -o link | grep -q 'wv-' || exit 0; sleep 0.05; done; exit 1")
    made.kernel.remove(made.explainer.network("front").plan)
    made.kernel.remove(made.explainer.network("back").plan)
    shell("nft flush ruleset")
    assert set(made.kernel.missing(plan)) >= {find(plan, Veth), find(plan, Route)}

    shell(f"nft -f - <<'END'\n{table}END\n{scripts['web']}")
    # Programs are not to be had by hand: the commands show them.
    assert made.kernel.missing(tuple(item for item in plan if not isinstance(item, Guard))) == ()
    assert made.kernel.missing(tuple(bridges)) == ()
    assert network.count("\nip link add wb-") == 1


@in_private_host
def test_a_networks_commands_bring_the_rules_with_them():
    made = house()
    front = made.network("front", ipv6=True)
    script, text, elements = commands(made.explain_network("front")), made.gate.text(), made.gate.elements()
    plan = made.explainer.network("front").plan
    made.kernel.remove(plan)
    shell("nft flush ruleset")
    assert not made.kernel.firewall_intact(text, elements)
    shell(script)
    assert made.kernel.missing(plan) == ()
    assert made.kernel.firewall_intact(text, elements)
    assert front.id[:12] in script


def commands(explanation: object) -> str:
    return render_commands(msgspec.json.decode(msgspec.json.encode(explanation)), Look(width=100))


@in_private_host
def test_neighbours_are_those_on_the_same_network():
    made = world()
    facts, _ = made.explainer.container("web")
    assert [[n.name for n in a.neighbours] for a in facts.attachments] == [[], ["db"]]
    assert [m.neighbour.name for m in made.explainer.network("back").members] == ["web", "db"]
