"""Packets: what published ports and weft's rules cost them.

Three hosts stand side by side, each with a client behind a cable of its own: weft with thousands of ports published,
weft with one, Docker with as many thousands. A fourth has a bare bridge and two containers without any rule.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.docker import NETWORK, Docker
from bench.figures import Bar, Figure, Part, amount, median, paired, rounded
from bench.namespaces import new_namespace
from bench.traffic import Netns, Traffic, one_cpu
from bench.weftd import Weftd
from bench.world import Absent, Host, World

FIRST_PORT = 20000
UPLINK, CLIENT = "10.210.0.1", "10.210.0.2"

Series = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Site:
    """A host's published ports as its client sees them."""

    client: int
    ports: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Two containers that talk directly."""

    sender: Netns
    receiver: Netns
    address: str
    """The receiver's."""


def measure(world: World) -> list[Part]:
    ports, rounds, seconds = (200, 2, 0.3) if world.quick else (5000, 12, 1.0)
    notes: list[str] = []
    closing: list[Callable[[], None]] = []
    try:
        sites, pairs, traffic = _build(world, ports, notes, closing)
        world.tell(f"traffic, {rounds} rounds")
        time.sleep(2)  # the kernel is still freeing what the rulesets replaced
        rates, streams = published(sites, traffic, rounds=rounds, seconds=seconds)
        turns, floods = direct(pairs, traffic, rounds=5 * rounds, seconds=seconds / 6)
    finally:
        for close in reversed(closing):
            close()
    return [_part(rates, streams, turns, floods, notes, ports=ports, rounds=rounds)]


def _build(
    world: World, ports: int, notes: list[str], closing: list[Callable[[], None]]
) -> tuple[Mapping[str, Site], Mapping[str, Pair], Traffic]:
    traffic = Traffic(world)
    sites: dict[str, Site] = {}
    world.tell(f"setting up weft with {ports} published ports, and with one")
    many, one = Weftd(world, "weft-many"), Weftd(world, "weft-one")
    closing += [many.close, one.close]
    sites["many"] = weft_site(many, traffic, ports)
    sites["one"] = weft_site(one, traffic, 1)
    pairs = {
        "weft": weft_pair(one),
        "bare": _bare_pair(closing),
        "plain": _bare_pair(closing, netfilter=False),
    }
    world.tell(f"setting up docker with {ports} published ports")
    docker = Docker(world, pool=0)
    closing.append(docker.close)
    try:
        docker.setup()
        sites["docker"] = _docker_site(docker, traffic, ports, notes)
    except Absent as absent:
        notes.append(f"docker: not measured, {absent}")
    closing.append(traffic.close)
    for pair in pairs.values():
        traffic.serve(pair.receiver, "echo", "81", cpu=one_cpu())
    return sites, pairs, traffic


def weft_site(daemon: Weftd, traffic: Traffic, ports: int, **options: str) -> Site:
    """A container with so many published ports, on a network with these options."""
    daemon.create_network("published", options=options)
    last = FIRST_PORT + ports - 1
    ports_asked = {
        "proto": "tcp",
        "container_port": FIRST_PORT,
        "container_port_end": last,
        "host_port": FIRST_PORT,
        "host_port_end": last,
    }
    daemon.create({"name": "server", "networks": [{"network": "published"}], "ports": [ports_asked]})
    traffic.serve(daemon.netns("server"), "serve", str(FIRST_PORT), str(ports))
    return Site(_client(daemon.host), ports)


def _docker_site(docker: Docker, traffic: Traffic, ports: int, notes: list[str]) -> Site:
    if docker.host is None:
        raise RuntimeError("docker is not set up")
    docker.run("server", NETWORK, ports=[(FIRST_PORT + i, FIRST_PORT + i) for i in range(2)])
    _publish_as_docker(docker.host, range(FIRST_PORT + 2, FIRST_PORT + ports))
    notes.append(
        f"docker: dockerd itself published 2 of its {ports:,} ports, which it does one by one with iptables; its own "
        "lines for them were repeated for the others with iptables-restore"
    )
    traffic.serve(docker.netns("server"), "serve", str(FIRST_PORT), str(ports))
    return Site(_client(docker.host), ports)


def _publish_as_docker(host: Host, ports: range) -> None:
    """Add for each port the lines that dockerd itself wrote for the first one."""
    saved = host.run("iptables-save").splitlines()
    restored = []
    for line in saved:
        if line.startswith("*"):
            restored.append(line)
            ours = [rule for rule in saved[saved.index(line) :][: _length(saved, line)] if f" {FIRST_PORT}" in rule]
            for rule in ours:
                if rule.replace(str(FIRST_PORT), str(FIRST_PORT + 1)) not in saved:
                    raise RuntimeError(f"docker writes ports in another form than expected: {rule}")
                restored += [rule.replace(str(FIRST_PORT), str(port)) for port in ports]
            restored.append("COMMIT")
    host.run("iptables-restore", "--noflush", feed="\n".join(restored) + "\n")


def _length(saved: list[str], table: str) -> int:
    start = saved.index(table)
    return saved.index("COMMIT", start) - start


def _client(host: Host) -> int:
    """A namespace outside, on a cable to the host."""
    client = new_namespace()
    _cable(host, "up0", client, f"{CLIENT}/24")
    host.run("ip", "address", "add", f"{UPLINK}/24", "dev", "up0")
    host.run("ip", "link", "set", "up0", "up")
    return client


def _cable(host: Host, name: str, netns: int, address: str) -> None:
    path = f"/proc/{os.getpid()}/fd/{netns}"
    host.run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", path)
    inside = ("nsenter", f"--net={path}", "ip")
    host.run(*inside, "link", "set", "lo", "up")
    host.run(*inside, "address", "add", address, "dev", "eth0")
    host.run(*inside, "link", "set", "eth0", "up")


def weft_pair(daemon: Weftd) -> Pair:
    """Two more containers on the network of `weft_site`."""
    for name in ("sender", "receiver"):
        daemon.create({"name": name, "networks": [{"network": "published"}]})
    return Pair(daemon.netns("sender"), daemon.netns("receiver"), daemon.address("receiver"))


def _bare_pair(closing: list[Callable[[], None]], *, netfilter: bool = True) -> Pair:
    """A bridge as `ip` makes it, without any rule.

    Where the kernel has br_netfilter, bridged packets pass netfilter's (empty) hooks unless it is told not to.
    """
    host = Host()
    closing.append(host.close)
    if not netfilter:
        host.run("sh", "-c", "sysctl -qw net.bridge.bridge-nf-call-iptables=0 || true")
    host.run("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
    host.run("ip", "link", "set", "br0", "up")
    ends = new_namespace(), new_namespace()
    for i, netns in enumerate(ends):
        _cable(host, f"port{i}", netns, f"10.211.0.{i + 1}/24")
        host.run("ip", "link", "set", f"port{i}", "master", "br0", "up")
    return Pair(*ends, "10.211.0.2")


def published(sites: Mapping[str, Site], traffic: Traffic, *, rounds: int, seconds: float) -> tuple[Series, Series]:
    """New connections per second and Gbit/s through published ports, hosts in turn."""
    rates: Series = {name: [] for name in sites}
    streams: Series = {name: [] for name in sites}
    for r in range(rounds):
        order = list(sites.items()) if r % 2 == 0 else list(sites.items())[::-1]
        for name, site in order:
            connect = ("connect", str(seconds), UPLINK, str(FIRST_PORT), str(site.ports))
            rates[name].append(traffic.send(site.client, *connect))
        for name, site in order:
            last = str(FIRST_PORT + site.ports - 1)
            streams[name].append(traffic.send(site.client, "pump", str(seconds), UPLINK, last))
    return rates, streams


def direct(pairs: Mapping[str, Pair], traffic: Traffic, *, rounds: int, seconds: float) -> tuple[Series, Series]:
    """Packets per second between two containers: taking turns on one CPU, and one way as fast as it goes."""
    turns: Series = {name: [] for name in pairs}
    floods: Series = {name: [] for name in pairs}
    for r in range(rounds):
        order = list(pairs.items()) if r % 2 == 0 else list(pairs.items())[::-1]
        for name, pair in order:
            trips = traffic.send(pair.sender, "pong", str(seconds), pair.address, "81", cpu=one_cpu())
            turns[name].append(2 * trips)
        for name, pair in order:
            flood = ("flood", str(seconds + 0.2), pair.address, "82")
            floods[name].append(traffic.received(pair.receiver, ("drain", str(seconds), "82"), pair.sender, flood))
    return turns, floods


def _part(
    rates: Series, streams: Series, turns: Series, floods: Series, notes: list[str], *, ports: int, rounds: int
) -> Part:
    rate, stream, turn, flood = (
        {n: median(v) for n, v in series.items()} for series in (rates, streams, turns, floods)
    )
    through_ports = {
        "many": f"weft, {ports:,} ports published",
        "one": "weft, 1 port published",
        "docker": f"docker, {ports:,} ports published",
    }
    between = {
        "weft": "two containers of weft",
        "bare": "the same on a bare bridge",
        "plain": "the same, bridge-nf off",
    }
    rows = [
        *(
            (label, amount(rate.get(n), "/s"), amount(stream.get(n), "Gbit/s"), "", "")
            for n, label in through_ports.items()
        ),
        *((label, "", "", amount(turn.get(n), "/s"), amount(flood.get(n), "/s")) for n, label in between.items()),
    ]
    bars = (
        at_least(f"new connections, {ports:,} ports / 1", rates, "many", "one", 0.9),
        at_least("new connections, weft / docker", rates, "many", "docker", 1.5),
        at_least(f"throughput, {ports:,} ports / 1", streams, "many", "one", 0.95),
        at_least("packets in turn, weft / bare bridge", turns, "weft", "bare", 0.98),
        at_least("packets one way, weft / bare bridge", floods, "weft", "bare", 0.98),
    )
    figures: dict[str, Figure] = {
        "ports": ports,
        "weft_connections_per_second": rounded(rate.get("many"), 0),
        "weft_one_port_connections_per_second": rounded(rate.get("one"), 0),
        "docker_connections_per_second": rounded(rate.get("docker"), 0),
        "connections_ratio": rounded(bars[0].measured),
        "connections_over_docker": rounded(bars[1].measured),
        "weft_gbits": rounded(stream.get("many"), 2),
        "weft_one_port_gbits": rounded(stream.get("one"), 2),
        "docker_gbits": rounded(stream.get("docker"), 2),
        "throughput_ratio": rounded(bars[2].measured),
        "weft_packets_per_second": rounded(turn.get("weft"), 0),
        "bare_packets_per_second": rounded(turn.get("bare"), 0),
        "bare_without_bridge_nf_packets_per_second": rounded(turn.get("plain"), 0),
        "packets_ratio": rounded(bars[3].measured),
        "one_way_packets_ratio": rounded(bars[4].measured),
    }
    return Part(
        title=f"datapath: a client outside, {rounds} rounds, interleaved; medians (of each round's ratio in the bars)",
        columns=("", "connections", "one stream", "packets in turn", "one way"),
        rows=tuple(rows),
        bars=bars,
        notes=tuple(notes),
        figures={"datapath": figures},
    )


def at_least(what: str, series: Series, above: str, below: str, limit: float) -> Bar:
    return Bar(what=what, measured=paired(series.get(above, ()), series.get(below, ())), at_least=limit)
