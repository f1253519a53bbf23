"""Checks of the host: what weft needs of it and does not own."""

from __future__ import annotations

from collections.abc import Iterator

from weft.explain.health.facts import DefaultRoute, HostFacts, HostRoute, NetworkUse, OwnFacts
from weft.explain.health.finding import Finding, fine
from weft.model import IPNetwork

_FORWARDING = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
_BRIDGE_PORTS = 1023
"""How many ports the kernel gives a bridge."""


def check_kernel(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    lacking = [feature for feature in host.features if feature.refused]
    for feature in lacking:
        yield Finding(
            check="kernel",
            subject="host",
            level="error" if feature.needed else "note",
            what=f"this kernel cannot do {feature.name}: {feature.refused}",
            why="weft cannot work without it." if feature.needed else feature.without,
            mend=(f"modprobe {feature.module}",) if feature.module else (),
        )
    if host.features and not any(feature.needed for feature in lacking):
        able = ", ".join(f.name for f in host.features if not f.refused)
        yield fine("kernel", "host", f"the kernel can do what weft needs: {able}")


def check_forwarding(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    for version, key in _FORWARDING.items():
        value = host.sysctls.get(key)
        needed = [use.network.name for use in own.networks if _leads_out(use, version)]
        if not needed:
            continue
        if value == "1":
            yield from _check_uplinks(version, host)
            continue
        yield Finding(
            check="forwarding",
            subject="host",
            level="error",
            what=f"the host does not forward IPv{version} ({key} = {value})",
            why=f"Containers on {_some(needed)} reach nothing beyond the host. weft had turned it on; something else "
            "turned it off.",
            mend=(f"sysctl -w {key}=1",),
            fixable=True,
        )
    if not any(_leads_out(use, version) for use in own.networks for version in _FORWARDING):
        yield fine("forwarding", "host", "forwarding is turned on with the first network that leads outside")


def _leads_out(use: NetworkUse, version: int) -> bool:
    return bool(use.network.pools_of(version)) and not use.network.internal and version in use.forwarded


def _check_uplinks(version: int, host: HostFacts) -> Iterator[Finding]:
    shut = []
    for link in _uplinks(host, version):
        key = f"net.ipv{version}.conf.{link.replace('.', '/')}.forwarding"
        if host.sysctls.get(key) == "0":
            shut.append(link)
            yield Finding(
                check="forwarding",
                subject="host",
                level="error",
                what=f"the host forwards IPv{version}, but not what arrives on {link} ({key} = 0)",
                why="Answers from outside do not reach the containers, nor does anything reach published ports.",
                mend=(f"sysctl -w {key}=1",),
            )
    if not shut:
        yield fine("forwarding", "host", f"the host forwards IPv{version}")


def _uplinks(host: HostFacts, version: int) -> list[str]:
    return list(dict.fromkeys(route.link for route in host.default_routes if route.version == version))


def check_router_advertisements(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    """A kernel that forwards ignores advertisements unless accept_ra is 2: the route they brought runs out."""
    if host.sysctls.get(_FORWARDING[6]) != "1":
        return
    routes = [route for route in host.default_routes if route.version == 6]
    for link in dict.fromkeys(route.link for route in routes):
        key = f"net.ipv6.conf.{link.replace('.', '/')}.accept_ra"
        if host.sysctls.get(key) == "1":
            yield _ignored_advertisements(link, key, [route for route in routes if route.link == link])


def _ignored_advertisements(link: str, key: str, routes: list[DefaultRoute]) -> Finding:
    learned = any(route.advertised for route in routes)
    return Finding(
        check="router-advertisements",
        subject="host",
        level="warning" if learned else "note",
        what=f"router advertisements on {link} are ignored ({key} = 1, and the host forwards IPv6)",
        why="The host learned its IPv6 default route from them. When it runs out, host and containers lose IPv6."
        if learned
        else "A host that is to learn its IPv6 routes from a router needs 2. This one has a route of another kind.",
        mend=(f"sysctl -w {key}=2", f"echo '{key} = 2' > /etc/sysctl.d/60-weft-ra.conf"),
    )


def check_ipv6(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    users = [use.network.name for use in own.networks if use.network.pools_of(6)]
    if not users:
        return
    if "net.ipv6.conf.all.disable_ipv6" not in host.sysctls:
        what = "this kernel has no IPv6"
    elif host.sysctls["net.ipv6.conf.all.disable_ipv6"] == "1":
        what = "IPv6 is turned off on this host"
    else:
        return
    yield Finding(
        check="ipv6",
        subject="host",
        level="error",
        what=what,
        why=f"Containers on {_some(users)} are to have IPv6 addresses.",
        mend=("sysctl -w net.ipv6.conf.all.disable_ipv6=0",),
    )


def check_bridge_netfilter(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    on = [
        key
        for key in ("net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables")
        if host.sysctls.get(key) == "1"
    ]
    if on:
        yield Finding(
            check="bridge-netfilter",
            subject="host",
            level="note",
            what=f"frames between containers of one network go through the host's firewall ({', '.join(on)} = 1)",
            why="It costs a tenth of the throughput. weft does not need it, and turns it off where nobody else has "
            "rules for forwarded packets. Docker and Kubernetes turn it on; leave it if one of them runs here.",
            mend=tuple(f"sysctl -w {key}=0" for key in on),
        )


def check_mtu(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    mtu_of = {link.name: link.mtu for link in host.links}
    uplinks = [(mtu_of[r.link], r.link) for r in host.default_routes if mtu_of.get(r.link)]
    if not uplinks:
        return
    least, link = min(uplinks)
    large = [use for use in own.networks if use.mtu > least and not use.network.internal]
    for use in large:
        name = use.network.name
        yield Finding(
            check="mtu",
            subject="host",
            level="warning",
            what=f"network {name} has MTU {use.mtu}, but {link}, the way out, takes {least}",
            why="Larger packets are cut or sent back. Where the notice of that is filtered, connections open and then "
            "hang as soon as much is sent.",
            mend=(
                f"weft network rm {name} && weft network create --opt mtu={least} {name}",
                f"echo 'mtu = {least}' >> /etc/weft/weft.toml  # for networks made from now on",
            ),
        )
    if not large:
        yield fine("mtu", "host", f"packets of the containers fit through {link} (MTU {least})")


def check_conntrack(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    try:
        count = int(host.sysctls["net.netfilter.nf_conntrack_count"])
        most = int(host.sysctls["net.netfilter.nf_conntrack_max"])
    except (KeyError, ValueError):
        return
    share = 100 * count // most if most else 0
    if share < 80:
        yield fine("conntrack", "host", f"connection tracking has room: {count} of {most}")
        return
    yield Finding(
        check="conntrack",
        subject="host",
        level="error" if share >= 98 else "warning",
        what=f"connection tracking is nearly full: {count} of {most}",
        why="Every connection through the host's firewall has an entry. Where there is no room, new ones are dropped "
        '("nf_conntrack: table full" in the kernel\'s log).',
        mend=(
            f"sysctl -w net.netfilter.nf_conntrack_max={most * 2}",
            f"echo 'net.netfilter.nf_conntrack_max = {most * 2}' > /etc/sysctl.d/60-weft-conntrack.conf",
        ),
    )


def check_neighbour_table(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    members = sum(use.members for use in own.networks)
    for version in (4, 6):
        key = f"net.ipv{version}.neigh.default.gc_thresh3"
        most = host.sysctls.get(key, "")
        if most.isdigit() and members > int(most) * 8 // 10:
            wanted = max(4096, members * 4)
            yield Finding(
                check="neighbour-table",
                subject="host",
                level="warning",
                what=f"the host remembers at most {most} neighbours ({key}), and containers have {members} interfaces",
                why='Beyond that it cannot reach further ones ("neighbour: arp_cache: neighbor table overflow!").',
                mend=(f"sysctl -w {key}={wanted}",),
            )


def check_bridge_ports(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    for use in own.networks:
        if use.link and use.members > _BRIDGE_PORTS * 9 // 10:
            yield Finding(
                check="bridge-ports",
                subject="host",
                level="warning",
                what=f"network {use.network.name} has {use.members} containers; a bridge takes {_BRIDGE_PORTS}",
                why="The kernel refuses further ones. Put them on a second network.",
                mend=("weft network create NAME",),
            )


def check_nameservers(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    if host.nameservers:
        yield fine("nameservers", "host", f"names outside weft are asked of {', '.join(host.nameservers)}")
        return
    yield Finding(
        check="nameservers",
        subject="host",
        level="warning",
        what="the host's resolv.conf names no server",
        why="Containers resolve each other's names, but no others.",
        mend=("echo 'dns = [\"ADDRESS\"]' >> /etc/weft/weft.toml  # and restart weftd",),
    )


def check_overlap(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    """Networks are chosen free of the host's routes; a VPN that comes up later may still collide."""
    for use in own.networks:
        for pool in use.network.pools:
            for route in host.routes:
                if _is_within(pool.subnet, route) and route.link in use.leans_on:
                    continue  # the host answers there for the containers
                if route.on_link and route.link == use.parent:
                    continue  # they are to be in one subnet
                if route.destination.version == pool.subnet.version and route.destination.overlaps(pool.subnet):
                    yield Finding(
                        check="overlap",
                        subject="host",
                        level="warning",
                        what=f"network {use.network.name} ({pool.subnet}) overlaps the host's route to "
                        f"{route.destination} through {route.link}",
                        why="For addresses in both, packets go only one way: to the containers or through "
                        f"{route.link}, whichever prefix is longer.",
                        mend=(
                            f"weft network rm {use.network.name} && weft network create --subnet SUBNET "
                            f"{use.network.name}",
                        ),
                    )


def _is_within(subnet: IPNetwork, route: HostRoute) -> bool:
    wide = route.destination
    return subnet != wide and subnet.version == wide.version and subnet.subnet_of(wide)  # type: ignore[arg-type]


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more networks" if len(names) > 3 else f"network {shown}"
