"""Ways between two places: the step that decides, and what it says can be done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from tests.explain import worlds
from tests.explain.health import hosts
from weft.engine import plans
from weft.explain.explanation import Drift
from weft.explain.reach.facts import Listener, Party, Reach, ReachFacts
from weft.explain.reach.target import read_target
from weft.explain.reach.text import render_reach
from weft.explain.reach.walks import walk
from weft.explain.text import Look
from weft.model import Endpoint, Exit, Proto, Sandbox
from weft.plan import Address, Item, Netns, NftElement, Plan, Route, Sysctl, Veth

DB_ADDRESS = ip_address("10.8.0.3")
WEB_ADDRESS = ip_address("10.7.0.2")
ANY = ip_address("0.0.0.0")
LOOPBACK = ip_address("127.0.0.1")


def party(sandbox: Sandbox, *endpoints: Endpoint) -> Party:
    plan = plans.sandbox_plan(sandbox, endpoints, worlds.NETWORKS)
    return Party(kind="container", name=sandbox.name, sandbox=sandbox, endpoints=endpoints, plan=plan)


WEB = party(worlds.WEB, worlds.WEB_FRONT, worlds.WEB_BACK)
DB = party(worlds.DB, worlds.DB_BACK)
HERMIT = party(replace(worlds.DB, name="hermit"), replace(worlds.WEB_FRONT, sandbox=worlds.DB.id))
THE_HOST = Party(kind="host", name="the host")
OUTSIDE = Party(kind="outside", name="outside")


def facts(source: Party, target: Party, to: str, **changes: Any) -> ReachFacts:
    networks = {endpoint.network for end in (source, target) for endpoint in end.endpoints}
    made = ReachFacts(
        source=source,
        target=target,
        asked=read_target(to),
        networks=worlds.NETWORKS,
        network_plans={ident: plans.network_plan(worlds.NETWORKS[ident]) for ident in networks},
        drift={},
        firewall=True,
        host=hosts.HOST,
    )
    return replace(made, **changes)


def to_db(**changes: Any) -> ReachFacts:
    """From web to port 5432 of db, all in order."""
    heard = (Listener(proto=Proto.TCP, address=ANY, port=5432),)
    return replace(facts(WEB, DB, "db:5432", listeners=heard, answers=(DB_ADDRESS,)), **changes)


def why(found: Reach) -> list[str]:
    return [step.text for step in found.steps if step.holds != "yes"]


def test_a_packet_between_neighbours_arrives():
    found = walk(to_db())
    assert found.arrives == "yes"
    assert [step.text for step in found.steps] == [
        "web resolves db to 10.8.0.3",
        "both are on network back, next door to each other (10.8.0.0/24)",
        "web has eth1 with 10.8.0.2 on network back, and it is up",
        "db has eth0 with 10.8.0.3 on network back, and it is up",
        "frames within a bridge are not shown to the host's firewall",
        "a program in db listens on 0.0.0.0:5432/tcp",
    ]


def listening(*sockets: tuple[str, int]) -> tuple[Listener, ...]:
    return tuple(Listener(proto=Proto.TCP, address=ip_address(host), port=port) for host, port in sockets)


BRIDGE_NETFILTER = {"net.bridge.bridge-nf-call-iptables": "1"}

IN_THE_WAY: list[tuple[str, dict[str, Any], str]] = [
    ("no answer", {"answers": None, "name_server": False}, "nobody answers web's questions for names"),
    ("no such name", {"answers": ()}, "web cannot resolve db"),
    (
        "another's address",
        {"answers": (ip_address("10.7.0.9"),)},
        "web resolves db to 10.7.0.9, which is not db",
    ),
    ("silence", {"listeners": ()}, "nothing in db listens on port 5432/tcp"),
    ("another port", {"listeners": listening(("0.0.0.0", 80))}, "nothing in db listens on port 5432/tcp"),
    (
        "loopback only",
        {"listeners": listening(("127.0.0.1", 5432))},
        "in db a program listens on 127.0.0.1:5432/tcp, but not on an address that others reach",
    ),
    (
        "another's firewall, which sees frames",
        {"host": hosts.host(sysctls=BRIDGE_NETFILTER, chains=(hosts.chain(),))},
        "iptables drops forwarded packets (chain FORWARD of table ip filter)",
    ),
]


@pytest.mark.parametrize(("changes", "text"), [c[1:] for c in IN_THE_WAY], ids=[c[0] for c in IN_THE_WAY])
def test_what_is_in_the_way_is_named(changes: dict[str, Any], text: str):
    found = walk(to_db(**changes))
    assert found.arrives == "no"
    assert why(found) == [text]
    assert found.verdict == f"It does not arrive: {text}."


def test_frames_are_none_of_a_forwarding_chains_business_unless_the_kernel_shows_them():
    assert walk(to_db(host=hosts.host(chains=(hosts.chain(),)))).arrives == "yes"


def of_interface(plan: Plan, ifname: str) -> Iterable[Item]:
    port = next(i.name for i in plan if isinstance(i, Veth) and i.peer == ifname)
    return (
        i
        for i in plan
        if ifname in (getattr(i, "peer", ""), getattr(i, "link", ""))
        or isinstance(i, Netns)
        or (isinstance(i, NftElement) and i.key[0] == port)
    )


OF_THE_WAY = [
    *(item for item in of_interface(WEB.plan, "eth1")),
    *(item for item in of_interface(DB.plan, "eth0") if not isinstance(item, Route)),
]


@pytest.mark.parametrize("item", OF_THE_WAY, ids=lambda item: item.describe()[-1][-50:])
def test_whatever_of_the_way_the_kernel_lacks_is_found(item: Item):
    drift: Drift = {item: ""}
    found = walk(to_db(drift=drift))
    assert found.arrives == "no"
    [step] = [step for step in found.steps if step.holds == "no"]
    assert "is not connected to network back as it should be" in step.text
    assert step.mend == ("weft doctor --fix",)


def drifting(kind: type[Item]) -> str:
    """What is said when something of this kind is not as it should be at the source."""
    item = next(i for i in of_interface(WEB.plan, "eth1") if isinstance(i, kind))
    [step] = [step for step in walk(to_db(drift={item: "something else"})).steps if step.holds == "no"]
    return step.why


@pytest.mark.parametrize("kind", [Veth, Address])
def test_whoever_changed_what_it_is_called_inside_is_told_of_the_guard(kind: type[Item]):
    """Its MAC, that is, or its address."""
    assert "changed inside: the bridge drops what web sends from any other" in drifting(kind)


def test_who_may_send_nothing_is_told_so():
    assert "Without that the bridge drops what web sends." in drifting(NftElement)


def test_the_guard_is_not_blamed_where_there_is_none():
    open_plan = tuple(i for i in WEB.plan if not (isinstance(i, NftElement) and i.family == "bridge"))
    pair = next(i for i in open_plan if isinstance(i, Veth) and i.peer == "eth1")
    [step] = [
        s for s in walk(to_db(source=replace(WEB, plan=open_plan), drift={pair: "MAC x"})).steps if s.holds == "no"
    ]
    assert "drops" not in step.why


def test_what_is_not_of_the_way_does_not_matter():
    elsewhere = [i for i in (*of_interface(WEB.plan, "eth0"), *WEB.plan) if i not in OF_THE_WAY]
    assert elsewhere
    assert walk(to_db(drift=dict.fromkeys(elsewhere, ""))).arrives == "yes"


def test_isolated_containers_are_told_to_be():
    apart = tuple(replace(item, isolated=True) if isinstance(item, Veth) else item for item in DB.plan)
    found = walk(to_db(target=replace(DB, plan=apart)))
    assert why(found) == ["network back keeps its containers apart (icc=false)"]


def test_strangers_are_told_what_would_bring_them_together():
    found = walk(facts(HERMIT, DB, "db:5432"))
    assert why(found) == ["hermit and db share no network"]
    assert found.steps[0].mend == ("weft network connect back hermit",)


def test_strangers_are_told_of_published_ports():
    found = walk(facts(DB, replace(WEB, endpoints=(worlds.WEB_FRONT,)), "web:80"))
    assert "db reaches it at any address of the host, port 8080" in found.steps[0].why


def test_nobody_reaches_what_has_ended():
    gone = replace(DB, sandbox=replace(worlds.DB, exit=Exit(code=1, at=0.0)), endpoints=(), plan=())
    assert why(walk(facts(WEB, gone, "db"))) == ["db has exited (code 1), and has no network any more"]
    assert walk(facts(gone, WEB, "web")).arrives == "no"


def test_a_container_reaches_itself():
    heard = listening(("127.0.0.1", 80))
    assert walk(facts(WEB, WEB, "127.0.0.1:80", listeners=heard)).arrives == "yes"
    assert walk(facts(WEB, WEB, "127.0.0.1:81", listeners=heard)).arrives == "no"


def test_a_firewall_inside_the_container_leaves_it_open():
    found = walk(to_db(inner_chains=(hosts.chain(hook="input", name="INPUT"),)))
    assert found.arrives == "perhaps"
    assert "db has a firewall of its own, which drops what it does not expect" in found.verdict
    admitting = walk(to_db(inner_chains=(hosts.chain(hook="input", name="INPUT", closed=""),)))
    assert "which may drop it (chain INPUT of table ip filter)" in admitting.verdict


def test_a_socket_for_ipv6_takes_ipv4_too():
    assert walk(to_db(listeners=listening(("::", 5432)))).arrives == "yes"


# The world


def test_a_packet_to_the_world_arrives():
    found = walk(facts(WEB, Party(kind="outside", name="192.0.2.9"), "198.51.100.1:443"))
    assert found.arrives == "yes"
    assert "it leaves under the host's address" in [s.text for s in found.steps][3]
    assert found.steps[-1].text == "the host passes it on through uplink"


TO_THE_WORLD: list[tuple[str, dict[str, Any], str]] = [
    ("internal", {"source": DB}, "db has no way out: every network of it is internal"),
    (
        "not forwarding",
        {"host": hosts.host(sysctls={"net.ipv4.ip_forward": "0"})},
        "the host does not forward IPv4 (net.ipv4.ip_forward is not 1)",
    ),
    ("no uplink", {"host": hosts.host(default_routes=())}, "the host itself has no IPv4 route there"),
    (
        "another firewall",
        {"host": hosts.host(chains=(hosts.chain(),))},
        "iptables drops forwarded packets (chain FORWARD of table ip filter)",
    ),
    (
        "lost route",
        {"drift": {item: "" for item in WEB.plan if isinstance(item, Route)}},
        "web has lost its way out",
    ),
]


@pytest.mark.parametrize(("changes", "text"), [c[1:] for c in TO_THE_WORLD], ids=[c[0] for c in TO_THE_WORLD])
def test_what_keeps_a_packet_from_the_world_is_named(changes: dict[str, Any], text: str):
    found = walk(replace(facts(WEB, Party(kind="outside", name="198.51.100.1"), "198.51.100.1"), **changes))
    assert found.arrives == "no"
    assert why(found) == [text]


def test_a_chain_of_the_other_family_is_not_in_the_way():
    there = Party(kind="outside", name="198.51.100.1")
    six = hosts.host(chains=(hosts.chain(family="ip6"),))
    assert walk(facts(WEB, there, "198.51.100.1", host=six)).arrives == "yes"
    assert walk(facts(WEB, there, "2001:db8::1", host=six)).arrives == "no"


def test_names_of_the_world_are_asked_of_others():
    there = Party(kind="outside", name="example.com")
    found = walk(facts(WEB, there, "example.com"))
    assert found.arrives == "perhaps"
    assert "192.0.2.53 is asked for it" in found.steps[0].text
    assert "only the names of its neighbours" in walk(facts(DB, there, "example.com")).verdict


# From outside, and the host


def from_outside(**changes: Any) -> ReachFacts:
    heard = (Listener(proto=Proto.TCP, address=ANY, port=80),)
    return replace(facts(OUTSIDE, WEB, "web:80", listeners=heard), **changes)


def test_a_published_port_is_reached_from_outside():
    found = walk(from_outside())
    assert found.arrives == "yes"
    assert found.steps[0].text == "web publishes it: port 8080/tcp of every address of the host"


def test_an_unpublished_port_is_not():
    found = walk(from_outside(asked=read_target("web:81")))
    assert why(found) == ["web does not publish port 81/tcp"]
    assert found.steps[0].mend == ("weft run -p 81:81 …",)


def test_a_port_published_on_loopback_is_not_either():
    heard = (Listener(proto=Proto.UDP, address=ANY, port=53),)
    found = walk(from_outside(asked=read_target("web:53/udp"), listeners=heard))
    assert why(found) == ["web publishes it on 127.0.0.1 only (port 5353/udp)"]


def test_a_lost_element_closes_the_port():
    lost = {i: "10.7.0.9 . 80" for i in WEB.plan if isinstance(i, NftElement) and i.name == "ports4"}
    [step] = [step for step in walk(from_outside(drift=lost)).steps if step.holds == "no"]
    assert "10.7.0.9 . 80" in step.why


def test_the_host_reaches_containers_by_address():
    heard = (Listener(proto=Proto.TCP, address=ANY, port=5432),)
    found = walk(facts(THE_HOST, DB, "db:5432", listeners=heard))
    assert found.arrives == "yes"
    assert found.steps[0].text == "db is at 10.8.0.3"
    gateway = [i for i in found_plan(worlds.BACK.id) if isinstance(i, Address)]
    lost = walk(facts(THE_HOST, DB, "db", drift=dict.fromkeys(gateway, "")))
    assert why(lost) == ["the host has no address on network back"]


def found_plan(network: str) -> Plan:
    return plans.network_plan(worlds.NETWORKS[network])


def test_containers_reach_programs_on_the_host():
    heard = (Listener(proto=Proto.TCP, address=ANY, port=22),)
    found = walk(facts(DB, THE_HOST, "10.8.0.1:22", listeners=heard))
    assert found.arrives == "yes"
    silent = walk(facts(DB, THE_HOST, "10.8.0.1:23", listeners=heard))
    assert why(silent) == ["nothing on the host listens on port 23/tcp"]


def test_published_ports_are_reached_through_the_host():
    found = walk(facts(HERMIT, THE_HOST, "192.0.2.1:8080", publishers=(WEB,)))
    assert found.arrives == "yes"
    assert "it leads to port 80 of web" in found.steps[1].text


def test_rules_of_the_users_own_are_mentioned():
    found = walk(from_outside(user_rules=True))
    assert any("Rules of your own" in step.why for step in found.steps)


def test_weft_has_no_part_in_what_is_not_its_own():
    assert walk(facts(THE_HOST, OUTSIDE, "192.0.2.1")).arrives == "perhaps"


# As text


def test_the_way_is_shown_with_marks_and_a_verdict():
    document = msgspec.json.decode(msgspec.json.encode(walk(to_db(listeners=()))))
    text = render_reach(document, Look(width=100))
    assert text.startswith("web → db:5432\n\n  ✓ web resolves db to 10.8.0.3\n")
    assert text.endswith("\n\n✗ It does not arrive: nothing in db listens on port 5432/tcp.\n")
    assert render_reach(document, Look(unicode=False)).isascii()


def test_switches_of_the_host_are_no_items_of_the_way():
    """They are judged by what they are now, not by who wants them."""
    lost = {i: "0" for i in found_plan(worlds.FRONT.id) if isinstance(i, Sysctl)}
    assert walk(facts(WEB, Party(kind="outside", name="x"), "198.51.100.1", drift=lost)).arrives == "yes"
