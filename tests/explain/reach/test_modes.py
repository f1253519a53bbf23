"""Ways to and from networks of other gateway modes: the step that decides."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from tests.explain import worlds
from tests.explain.health import hosts
from tests.explain.reach.test_walks import OUTSIDE, THE_HOST, why
from weft.engine import plans
from weft.explain.reach.facts import Listener, Party, Reach, ReachFacts
from weft.explain.reach.target import read_target
from weft.explain.reach.walks import walk
from weft.model import Network, PortBinding, Proto

WEB4, WEB6 = "10.7.0.2", "fd00:7::2"
HEARD = (Listener(proto=Proto.TCP, address=ip_address("::"), port=80),)


def way(source: Party | str, to: str, options: dict[str, str], *, internal: bool = False, **changes: Any) -> Reach:
    """To web, on a network front with these options; from db, on a network back that leads outside, or another."""
    networks = {
        worlds.FRONT.id: replace(worlds.FRONT, options=options, internal=internal),
        worlds.BACK.id: replace(worlds.BACK, internal=False),
    }
    web = party("web", networks)
    source = party(source, networks) if isinstance(source, str) else source
    target = web if source.name != "web" else Party(kind="outside", name=to)
    ends = {endpoint.network for end in (source, target) for endpoint in end.endpoints}
    made = ReachFacts(
        source=source,
        target=target,
        asked=read_target(to),
        networks=networks,
        network_plans={ident: plans.network_plan(networks[ident]) for ident in ends},
        drift={},
        firewall=True,
        host=hosts.HOST,
        listeners=HEARD,
    )
    return walk(replace(made, **changes))


def party(name: str, networks: dict[str, Network]) -> Party:
    sandbox, endpoint = (worlds.WEB, worlds.WEB_FRONT) if name == "web" else (worlds.DB, worlds.DB_BACK)
    if name == "db6":
        endpoint = replace(endpoint, ipv6=worlds.WEB_FRONT.ipv6)
    binding = PortBinding(proto=Proto.TCP, container_port=80, host_port=8080)
    sandbox = replace(sandbox, ports=(binding,) if name == "web" else ())
    plan = plans.sandbox_plan(sandbox, [endpoint], networks)
    return Party(kind="container", name=name, sandbox=sandbox, endpoints=(endpoint,), plan=plan)


ROUTED, OPEN = {"gateway-mode": "routed"}, {"gateway-mode": "nat-unprotected"}


@pytest.mark.parametrize("who", [OUTSIDE, "db"])
@pytest.mark.parametrize(
    ("to", "options", "arrives", "text"),
    [
        (f"{WEB4}:80", ROUTED, "yes", "web publishes port 80/tcp at 10.7.0.2 (network front is routed)"),
        (f"{WEB4}:81", ROUTED, "no", "web does not publish port 81/tcp"),
        (f"{WEB4}:8080", ROUTED, "no", "web does not publish port 8080/tcp"),
        (WEB4, ROUTED, "yes", "network front is routed: a ping passes"),
        (f"{WEB4}:80", OPEN, "yes", "network front lets everybody reach its containers (gateway mode nat-unprotected)"),
    ],
)
def test_a_container_s_own_address(who: Any, to: str, options: dict[str, str], arrives: str, text: str):
    found = walk_listening(who, to, options)
    assert found.arrives == arrives
    assert text in [step.text for step in found.steps]


def walk_listening(who: Any, to: str, options: dict[str, str]) -> Reach:
    return way(who, to, options)


def test_by_name_from_outside_a_routed_container_is_shown_by_its_address():
    found = way(OUTSIDE, "web:80", ROUTED)
    assert found.arrives == "yes"
    assert found.steps[0].text == "web is reached at its own address, 10.7.0.2"


def test_one_family_is_routed_and_the_other_published():
    mixed = {"gateway-mode-ipv6": "routed"}
    assert way(OUTSIDE, f"[{WEB6}]:80", mixed).arrives == "yes"
    by_name = [step.text for step in way(OUTSIDE, "web:80", mixed).steps]
    assert "web publishes it: port 8080/tcp of every address of the host" in by_name
    assert way("db", f"{WEB4}:80", mixed).arrives == "no"


def test_without_a_mode_nobody_else_reaches_it():
    assert why(way("db", f"{WEB4}:80", {})) == ["db and web share no network"]


def test_an_internal_network_lets_nobody_in_whatever_its_mode():
    for options in (ROUTED, OPEN, {"trusted-interfaces": "eth1"}):
        assert way(OUTSIDE, f"{WEB4}:80", options, internal=True).arrives == "no"
        assert way("db", f"{WEB4}:80", options, internal=True).arrives == "no"


def test_who_is_trusted_comes_in():
    found = way(OUTSIDE, f"{WEB4}:80", {"trusted-interfaces": "eth1,wg0"})
    assert found.arrives == "perhaps"
    assert why(found) == ["network front is reached directly by what arrives through eth1 or wg0"]


def test_under_which_address_it_leaves():
    assert any("leaves under the host's address" in s.text for s in way("web", "192.0.2.77", {}).steps)
    for options in (ROUTED, {"masquerade-ipv4": "false"}):
        assert why(way("web", "192.0.2.77", options))[0].startswith("network front does not masquerade IPv4")
    found = way("web", "192.0.2.77", {"snat-ipv4": "192.0.2.200"})
    assert any(step.text.endswith("it leaves under the address 192.0.2.200") for step in found.steps)
    assert why(found)[0] == "192.0.2.200 is no address of this host"


def test_another_router_s_ways_are_not_seen():
    found = way("web", "192.0.2.77", {"inhibit-ipv4": "true"})
    assert why(found) == ["on network front another router passes it on, not this host"]


@pytest.mark.parametrize(
    ("options", "internal"), [({"gateway-mode": "isolated"}, True), ({"inhibit-ipv4": "true"}, False)]
)
def test_the_host_itself_is_kept_off_some_networks(options: dict[str, str], internal: bool):
    assert why(way(THE_HOST, f"{WEB4}:80", options, internal=internal)) == [
        "the host has no IPv4 address on network front"
    ]


def test_a_loss_is_told():
    networks = {worlds.FRONT.id: replace(worlds.FRONT, options=ROUTED)}
    plan = party("web", networks).plan
    drift = {item: "" for item in plan if getattr(item, "name", "") == "routed_ports4"}
    assert drift
    assert why(way(OUTSIDE, f"{WEB4}:80", ROUTED, drift=drift)) == ["weft's rules do not open the way as they should"]


def test_another_firewall_that_lets_in_what_is_published_alone_shuts_the_direct_way():
    half = hosts.host(chains=(hosts.chain(admits_in=("wb-*",), admits_published=True),))
    found = way(OUTSIDE, f"{WEB4}:80", ROUTED, host=half)
    assert found.arrives == "no"
    assert why(found) == ["iptables drops forwarded packets (chain FORWARD of table ip filter)"]
    both = hosts.host(chains=(hosts.chain(admits_in=("wb-*",), admits_out=("wb-*",), admits_published=True),))
    assert way(OUTSIDE, f"{WEB4}:80", ROUTED, host=both).arrives == "yes"
