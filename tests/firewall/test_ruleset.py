"""The table as text: read whole beside this file, and understood by the real nft.

After a change of the rules, `WEFT_GOLDEN=write make test TESTS=tests/firewall` writes the files anew; read the
difference before it is committed.
"""

from __future__ import annotations

import os
import subprocess
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from tests.hosts import in_private_host
from weft.firewall.elements import Family, network_elements, port_elements, routed_port_elements
from weft.firewall.guard import sender_elements, unguarded_elements
from weft.firewall.layout import BRIDGE_SETS, SETS
from weft.firewall.policy import endpoint_policy_elements, network_policy_elements
from weft.firewall.ruleset import ruleset
from weft.model import Endpoint, Network, Policy, PolicyRule, Pool, PortBinding, Proto

POLICY = Policy(
    rules=tuple(
        PolicyRule(verdict="deny", destination=ip_network(text), ports=(7, 9), proto=proto)
        for text in ("10.9.0.0/16", "fd09::1")
        for proto in (None, *Proto)
    )
)
POLICED = Network(
    id="1" * 64,
    name="front",
    driver="bridge",
    pools=tuple(Pool(subnet=ip_network(text)) for text in ("10.0.0.0/24", "fd00::/64")),
    policy=POLICY,
)
POLICED_ENDPOINT = Endpoint(
    id="2" * 64, network=POLICED.id, sandbox="3" * 64, ifname="eth0", mac="02:42:0a:00:00:02", policy=POLICY
)
GOLDEN = Path(__file__).parent / "golden"

VARIANTS = {
    "plain": ruleset(),
    "ipv6": ruleset(ipv6=True),
    "guard": ruleset(guard=True),
    "closed": ruleset(closed=(4, 6)),
    "marked": ruleset(accept_mark=(0x2, 0xFF)),
    "user": ruleset(user_rules=('iifname "wg0" accept', "ip saddr 10.0.0.0/8 drop")),
}
variants = pytest.mark.parametrize("name", VARIANTS)


@variants
def test_the_text_is_the_one_that_was_read_and_approved(name: str):
    golden = GOLDEN / f"{name}.nft"
    if os.environ.get("WEFT_GOLDEN") == "write":
        golden.write_text(VARIANTS[name])
    assert VARIANTS[name] == golden.read_text()


def nft(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(["nft", *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout


@variants
@in_private_host
def test_nft_understands_it(name: str):
    nft("-c", "-f", "-", stdin=VARIANTS[name])
    assert nft("list", "ruleset") == "", "checking alone puts nothing in place"


@in_private_host
def test_loading_it_twice_leaves_no_second_bridge_table():
    anew = "add table inet weft\ndelete table inet weft\n"
    for name in ("ipv6", "ipv6"):
        nft("-f", "-", stdin=anew + VARIANTS[name])
    assert nft("list", "table", "bridge", "weft").count("mld-listener-query") == 1
    nft("-f", "-", stdin=anew + VARIANTS["plain"])
    assert "chain" not in nft("list", "table", "bridge", "weft"), "what nobody needs costs frames nothing"


@in_private_host
def test_every_kind_of_element_is_taken_and_listed():
    four, six = ip_network("10.0.0.0/24"), ip_network("fd00::/64")
    mixed = (
        Family(4, (four,), source=ip_address("192.0.2.9"), direct="everything"),
        Family(6, (six,), source=ip_address("2001:db8::9"), direct="published"),
    )
    elements = [
        *network_elements("wb-1", [Family(4, (four,)), Family(6, (six,))], internal=True, icc=True),
        *network_elements("wb-2", [Family(4, ()), Family(6, ())], internal=False, icc=True),
        *network_elements("wb-3", mixed, internal=False, icc=True, trusted=("eth0",)),
        *routed_port_elements([PortBinding(proto=Proto.TCP, container_port=80, host_port=0)], ip_address("10.0.0.2")),
        *routed_port_elements([PortBinding(proto=Proto.UDP, container_port=53, host_port=0)], ip_address("fd00::2")),
        *port_elements(
            [
                PortBinding(proto=proto, container_port=80, host_port=8080, host_ip=host_ip)
                for proto in Proto
                for host_ip in (None, ip_address("192.0.2.1"), ip_address("2001:db8::1"))
            ],
            ip_address("10.0.0.2"),
            ip_address("fd00::2"),
        ),
        *network_policy_elements(POLICED, "wb-1"),
        *endpoint_policy_elements(POLICED, POLICED_ENDPOINT, "wb-1"),
    ]
    on_bridges = [
        *sender_elements("wv-1", "02:42:0a:00:00:02", [ip_interface("10.0.0.2/24"), ip_interface("fd00::2/64")]),
        *unguarded_elements("wv-2"),
    ]
    assert {element.name for element in elements} == set(SETS)
    assert {element.name for element in on_bridges} == set(BRIDGE_SETS)
    elements += on_bridges

    nft("-f", "-", stdin=ruleset())
    nft("-f", "-", stdin="".join(f"add element {e.family} weft {e.name} {{ {e.text()} }}\n" for e in elements))
    listed = " ".join(nft("list", "ruleset").split())
    for element in elements:
        assert element.text() in listed


@in_private_host
def test_what_people_read_names_its_reasons():
    nft("-f", "-", stdin=ruleset())
    listed = nft("list", "ruleset")
    assert all(layout.comment in listed for layout in (*SETS.values(), *BRIDGE_SETS.values()))
