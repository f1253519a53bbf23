"""The doctor on a real host: what he finds, what he leaves alone, what he mends."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.engine.house import House, house, shell
from tests.hosts import in_private_host
from weft.engine.specs import PortSpec
from weft.explain.health.finding import Finding
from weft.model import Proto

WEB_PORT = PortSpec(proto=Proto.TCP, container_port=80, host_port=8080)


def world() -> House:
    """The container web on front, with a name server to ask the world and a process that passes for weft's own."""
    made = house()
    made.network("front", ipv6=True)
    made.container("web", "front", ports=(WEB_PORT,))
    with open(f"{made.config.run_dir}/resolver.pid", "w") as file:
        file.write(f"{os.getpid()}\n")
    return made


def found(made: House, check: str = "") -> list[Finding]:
    """What is wrong, apart from what this machine itself is short of."""
    findings = made.examine().findings
    return [f for f in findings if f.level in ("warning", "error") and check in f.check and f.check != "nameservers"]


@in_private_host
def test_nothing_is_wrong_after_a_join():
    assert found(world()) == []


DAMAGE = {
    "a flushed ruleset": ("nft flush ruleset", {"firewall", "records"}),
    "a lost address": ("nsenter --net={netns} ip address flush dev eth0", {"records"}),
    "forwarding turned off": ("sysctl -w net.ipv4.ip_forward=0", {"forwarding", "records"}),
    "a lost bridge": ("ip link del {bridge}", {"records"}),
    "a foreign element": ('nft add element inet weft same \'{{ "a" . "b" }}\'', {"firewall"}),
    "a left-over link": ("ip link add wb-ffffffffffff group 2003134068 type bridge", {"leftovers"}),
    "a left-over namespace": (
        "touch {run}/netns/ffffffffffff; mount --bind {netns} {run}/netns/ffffffffffff",
        {"leftovers"},
    ),
}


@pytest.mark.parametrize(("damage", "checks"), DAMAGE.values(), ids=DAMAGE)
@in_private_host
def test_damage_to_wefts_own_is_found_and_mended(damage: str, checks: set[str]):
    made = world()
    web, front = made.parts.records.sandbox("web"), made.parts.records.network("front")
    shell(damage.format(netns=web.key, bridge=f"wb-{front.id[:12]}", run=made.config.run_dir))
    wrong = found(made)
    assert {finding.check for finding in wrong} == checks
    assert all(finding.fixable for finding in wrong)
    made.repair()
    assert found(made) == []
    made.repair()
    assert found(made) == []


@in_private_host
def test_what_others_made_is_left_alone():
    made = world()
    shell("ip link add wb-ffffffffffff type bridge; ip link add theirs group 2003134068 type bridge")
    shell("nft add table inet theirs; nft 'add chain inet theirs f { type filter hook forward priority 0; }'")
    before = shell("nft list table inet theirs; ip -o link show wb-ffffffffffff; ip -o link show theirs")
    assert found(made) == []
    made.repair()
    assert shell("nft list table inet theirs; ip -o link show wb-ffffffffffff; ip -o link show theirs") == before


@in_private_host
def test_a_firewall_in_the_way_is_named_until_it_admits_weft():
    made = world()
    shell("iptables -P FORWARD DROP; iptables -N DOCKER-USER; iptables -I FORWARD -j DOCKER-USER")
    [finding] = found(made)
    assert finding.what.startswith("Docker drops forwarded packets")
    assert not finding.fixable
    made.repair()
    assert found(made) == [finding]  # it is not weft's to mend
    for command in finding.mend:
        shell(command)
    assert found(made) == []


@in_private_host
def test_a_firewall_of_ones_own_is_named_until_it_admits_weft():
    made = world()
    shell(
        "nft add table inet mine; nft 'add chain inet mine gate { type filter hook forward priority 5; policy drop; }'"
    )
    [finding] = found(made)
    assert "chain gate of table inet mine" in finding.what
    for command in finding.mend:
        shell(command)
    assert found(made) == []


@in_private_host
def test_a_narrow_way_out_is_found():
    made = world()
    shell("ip link add up0 mtu 1400 type veth peer name up1; ip link set up0 up; ip link set up1 up")
    shell("ip address add 192.0.2.2/24 dev up0; ip route add default via 192.0.2.1")
    [finding] = found(made)
    assert finding.what == "network front has MTU 1500, but up0, the way out, takes 1400"


@in_private_host
def test_a_vpn_on_a_networks_addresses_is_found():
    made = world()
    front = made.parts.records.network("front")
    (pool,) = front.pools_of(4)
    shell("ip link add tun9 type bridge; ip link set tun9 up")
    shell(f"ip route add {next(pool.subnet.subnets(new_prefix=24))} dev tun9")
    [finding] = found(made)
    assert finding.check == "overlap"
    assert "through tun9" in finding.what


@in_private_host
def test_a_container_whose_namespace_is_gone_is_found():
    made = world()
    shell(f"umount {made.parts.records.sandbox('web').key}")
    [finding] = found(made)
    assert finding.what == "the network namespace of container web is gone"
    assert finding.mend == ("weft rm -f web",)


@in_private_host
def test_a_dead_name_server_is_found():
    made = world()
    with open(f"{made.config.run_dir}/resolver.pid", "w") as file:
        process = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True)
        file.write(process.stdout)
    [finding] = found(made)
    assert finding.what == "weft's name server does not run"


@in_private_host
def test_a_silent_name_server_is_found():
    made = world()
    examination = made.doctor.examination()
    for piece in examination.pieces():
        piece()
    examination.ask()  # the container is there, and nobody listens in it
    [finding] = [f for f in examination.report().findings if f.check == "resolver"]
    assert finding.what == "weft's name server does not answer in container web"
