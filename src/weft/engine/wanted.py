"""From what was asked for to the records it would make, or a refusal by name. Touches nothing.

Every function here reads the records and answers; the controller alone writes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface

from weft import names
from weft.config import Config
from weft.drivers import claim_on_parent, driver_named, manners_of
from weft.drivers.driver import Leaning
from weft.drivers.parents import OnParent, Uplink, refuse_shared_parent
from weft.engine import leased, nicknames, plans, stacks
from weft.engine.borrowing import found_link, settled
from weft.engine.routes import check_routes
from weft.engine.specs import ContainerSpec, EndpointSpec, NetworkSpec, PoolSpec
from weft.engine.state import Records
from weft.errors import Conflict, Exhausted, Invalid, NotFound
from weft.ipam.accept import Taken, accept_pool
from weft.ipam.leases import Leases
from weft.ipam.pools import ula_base
from weft.model import Borrowed, Endpoint, IPAddress, IPInterface, IPNetwork, Network, Pool, Sandbox

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")
_IFNAME = re.compile(r"[^\s/:]{1,15}")
_INTERFACE_SYSCTL = re.compile(r"net\.(ipv4|ipv6|mpls)(\.[a-z_]+)?\.IFNAME\.[a-z0-9_]+")
_SYSCTL_VALUE = re.compile(r"[ -~]{1,64}")
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")


def check_name(what: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"{what} name {name!r} is not valid: 1 to 63 of the characters a-z A-Z 0-9 _ . -, a letter or digit first"
        )


# Networks


def wanted_network(
    spec: NetworkSpec,
    records: Records,
    config: Config,
    host: Sequence[IPNetwork],
    ula_seed: str,
    now: float,
    borrow: Callable[[str], Borrowed | None],
) -> Network:
    """`host` lists the subnets that the host itself routes; `ula_seed` what its IPv6 /48 is made from; `borrow` says
    what the host has of a link that the network is to use."""
    check_network_name(spec.name, records)
    options = options_of(spec, config)
    driver_named(spec.driver).accept(options)
    leased.check(spec, options)
    leased.check_known(spec)
    borrowed = found_link(spec, options, records, borrow)
    if not spec.ipv4 and not spec.ipv6:
        raise Invalid(f"network {spec.name!r} would have neither IPv4 nor IPv6: leave out --ipv4=false or add --ipv6")
    own = {address.network for address in borrowed.addresses} if borrowed else set()
    elsewhere = [network for network in host if network not in own]
    network = Network(
        id=spec.id or names.new_id(),
        name=spec.name,
        driver=spec.driver,
        pools=tuple(wanted_pools(settled(spec, options, borrowed), options, records, config, elsewhere, ula_seed)),
        internal=spec.internal,
        options=options,
        labels=dict(spec.labels),
        created=now,
        attachable=spec.attachable,
        preset=spec.preset,
        borrowed=borrowed,
        routes=spec.routes,
        shown_options=dict(spec.shown_options),
        ipam="dhcp" if spec.ipam == leased.DHCP else "default",
    )
    return checked_network(network, records)


def check_network_name(name: str, records: Records) -> None:
    """Raises Invalid or Conflict for a name that no further network can have."""
    check_name("network", name)
    if stacks.is_reserved(name):
        raise Conflict(f"network {name!r} cannot be made: the name stands for {stacks.MEANING[name]}")
    if records.has_network(name) or name in records.preset_names:
        raise Conflict(f"network {name!r} already exists")


def checked_network(network: Network, records: Records) -> Network:
    """One that is worked out, with what its driver decides for it. Raises Invalid or Conflict if it cannot be."""
    check_routes(network.routes, network.pools, network.name)
    driver = driver_named(network.driver)
    driver.check(network)
    claim = claim_on_parent(network)
    if claim is not None:
        others = [n for n in records.networks.values() if n.id != network.id]
        claims = [(other, theirs) for other in others if (theirs := claim_on_parent(other)) is not None]
        refuse_shared_parent(network, claim, claims)
    return driver.settled(network) if isinstance(driver, OnParent) else network


def uplink_of(spec: NetworkSpec, config: Config) -> Uplink:
    """The link of the host that the network is to branch off from, if from any. Raises Invalid, NotFound (driver)."""
    driver = driver_named(spec.driver)
    return driver.uplink(options_of(spec, config)) if isinstance(driver, OnParent) else Uplink()


def options_of(spec: NetworkSpec, config: Config) -> dict[str, str]:
    """The driver's, with those of the settings."""
    return {**default_options(spec, config), **spec.options}


def default_options(spec: NetworkSpec, config: Config) -> dict[str, str]:
    """What the settings say for networks of the driver, as far as this one says nothing else. A preset says all."""
    if spec.preset:
        return {}
    driver = driver_named(spec.driver)
    said = {driver.option(name) for name in spec.options}
    mtu = {"mtu": str(config.mtu)} if config.mtu != 1500 else {}
    defaults = {**mtu, **{name: value for of, name, value in config.network_options if of == spec.driver}}
    return {name: value for name, value in defaults.items() if driver.option(name) not in said}


def check_settings(config: Config) -> None:
    """Raises NotFound or Invalid for default options that no network could have."""
    for driver in {of for of, _, _ in config.network_options}:
        options = {name: value for of, name, value in config.network_options if of == driver}
        driver_named(driver).accept(options)


def wanted_pools(
    spec: NetworkSpec,
    options: Mapping[str, str],
    records: Records,
    config: Config,
    host: Sequence[IPNetwork],
    ula_seed: str,
) -> list[Pool]:
    asked = {version: [pool for pool in spec.pools if _version(pool) == version] for version in (4, 6)}
    for version, wanted in ((4, spec.ipv4), (6, spec.ipv6)):
        if asked[version] and not wanted:
            flag = "--ipv6" if version == 6 else "no --ipv4=false"
            raise Invalid(f"an IPv{version} subnet needs {flag}")
    others = [
        (pool.subnet, f"network {network.name!r}") for network in records.networks.values() for pool in network.pools
    ]
    bases: dict[int, list[tuple[IPNetwork, int]]] = {4: list(config.address_pools), 6: [(ula_base(ula_seed), 64)]}
    has_gateway = driver_named(spec.driver).has_gateway
    pools: list[Pool] = []
    for version in (version for version, wanted in ((4, spec.ipv4), (6, spec.ipv6)) if wanted):
        for one in asked[version] or [PoolSpec()]:
            taken: Taken = [
                *((pool.subnet, "another subnet of the network") for pool in pools),
                *others,
                *((route, "a route of this host") for route in host if not _may_be_part(one, route, spec, options)),
            ]
            pools.append(_pool(one, bases[version], taken, with_gateway=has_gateway(options, version)))
    return pools


def _may_be_part(asked: PoolSpec, route: IPNetwork, spec: NetworkSpec, options: Mapping[str, str]) -> bool:
    """Whether a pool may lie within what the host routes: the host answers there for the containers."""
    driver, subnet = driver_named(spec.driver), asked.subnet
    if subnet is None or subnet == route or subnet.version != route.version or not isinstance(driver, Leaning):
        return False
    return bool(driver.answers_on(options, subnet.version)) and subnet.subnet_of(route)  # type: ignore[arg-type]


def _version(pool: PoolSpec) -> int:
    given = [part for part in (pool.subnet, pool.ip_range, pool.gateway, *pool.aux.values()) if part is not None]
    if len({part.version for part in given}) > 1:
        raise Invalid(f"one pool mixes IPv4 and IPv6: {', '.join(map(str, given))}")
    return given[0].version if given else 4


def _pool(spec: PoolSpec, bases: Sequence[tuple[IPNetwork, int]], taken: Taken, *, with_gateway: bool) -> Pool:
    pool = accept_pool(
        subnet=spec.subnet,
        ip_range=spec.ip_range,
        gateway=spec.gateway,
        aux=dict(spec.aux),
        bases=bases,
        taken=taken,
        with_gateway=with_gateway,
    )
    return replace(pool, gateway_chosen=spec.subnet is not None and spec.gateway is None)


# Endpoints


def wanted_endpoint(
    spec: EndpointSpec,
    network: Network,
    sandbox: Sandbox,
    present: Sequence[Endpoint],
    records: Records,
    *,
    beginning: str = "",
) -> Endpoint:
    """The endpoint with its addresses chosen; they are held once the record is added. `beginning`: of its id."""
    if any(endpoint.network == network.id for endpoint in present):
        raise Conflict(f"container {sandbox.name!r} is already on network {network.name!r}")
    own_mac = may_have_mac(spec, network, records)
    for alias in (*spec.aliases, *(alias for _, alias in spec.links)):
        check_name("alias", alias)
    driver_named(network.driver).accept_endpoint(network, spec.options)
    if network.ipam == leased.DHCP:
        spec = leased.settled(spec, network)
    chosen = [_choose(spec, network, records, version) for version in (4, 6)]
    ipv4, ipv6 = chosen
    first = ipv4 or ipv6
    assert first is not None, "a network has at least one family"
    ifname = _ifname(spec.ifname, present, manners_of(network).prefix)
    return Endpoint(
        id=spec.lease.client.endpoint if spec.lease else names.new_id(beginning),
        network=network.id,
        sandbox=sandbox.id,
        ifname=ifname,
        mac=(checked_mac(spec.mac) if spec.mac else names.mac_of(first[0])) if own_mac else "",
        ipv4=IPv4Interface((int(ipv4[0]), ipv4[1])) if ipv4 else None,
        ipv6=IPv6Interface((int(ipv6[0]), ipv6[1])) if ipv6 else None,
        aliases=spec.aliases,
        link_local=tuple(_link_local(address) for address in spec.link_local),
        sysctls=tuple(_sysctl(key, value, ifname) for key, value in spec.sysctls),
        links=tuple((alias, records.sandbox(container).id) for container, alias in spec.links),
        gw_priority=spec.gw_priority,
        options=dict(spec.options),
    )


def may_have_mac(spec: EndpointSpec, network: Network, records: Records) -> bool:
    """Whether the interface has a MAC of its own. Raises Exhausted where the parent has a container already."""
    claim = claim_on_parent(network)
    if claim is None:
        return True
    if claim.alone and (there := records.endpoints_on(network.id)):
        holder = records.sandboxes[there[0].sandbox].name
        raise Exhausted(f"network {network.name!r} is passthru: container {holder!r} has {claim.parent} to itself")
    if spec.mac and not claim.own_macs:
        raise Invalid(
            f"MAC address {spec.mac}: on network {network.name!r} ({network.driver}) containers have that of "
            f"{claim.parent}"
        )
    return claim.own_macs


def _choose(spec: EndpointSpec, network: Network, records: Records, version: int) -> tuple[IPAddress, int] | None:
    wanted = spec.ipv4 if version == 4 else spec.ipv6
    pools = [leases for leases in records.leases(network.id) if leases.pool.subnet.version == version]
    if not pools:
        if wanted is not None:
            raise Invalid(f"address {wanted}: network {network.name!r} has no IPv{version}")
        return None
    try:
        return _choose_from(pools, wanted)
    except Conflict as clash:
        holder = next(
            (e for e in records.endpoints_on(network.id) if wanted in [a.ip for a in e.addresses]),
            None,
        )
        if holder is None:
            raise
        owner = records.sandboxes[holder.sandbox].name
        raise Conflict(f"{clash.message} by container {owner!r} on network {network.name!r}") from None


def _choose_from(pools: Sequence[Leases], wanted: IPAddress | None) -> tuple[IPAddress, int]:
    """The address and its prefix's length, of the pool that it is to lie in, or of the first that has room."""
    if wanted is not None and len(pools) > 1 and all(wanted not in leases.pool.subnet for leases in pools):
        shown = ", ".join(str(leases.pool.subnet) for leases in pools)
        raise Invalid(f"address {wanted} is in none of the network's subnets: {shown}")
    full: list[str] = []
    for leases in pools:
        if wanted is not None and len(pools) > 1 and wanted not in leases.pool.subnet:
            continue
        try:
            return leases.choose(wanted), leases.pool.subnet.prefixlen
        except Exhausted as error:
            full.append(error.message)
    raise Exhausted("; ".join(full))


def _ifname(wanted: str | None, present: Sequence[Endpoint], prefix: str) -> str:
    used = {endpoint.ifname for endpoint in present}
    if wanted is None:
        return next(name for number in range(len(used) + 1) if (name := f"{prefix}{number}") not in used)
    if not _IFNAME.fullmatch(wanted) or wanted in (".", "..", "lo"):
        raise Invalid(f"interface name {wanted!r} is not valid: 1 to 15 characters without space, '/' or ':', not lo")
    if wanted in used:
        raise Conflict(f"interface name {wanted!r} is already used in the container")
    return wanted


def _link_local(address: IPAddress) -> IPInterface:
    if not address.is_link_local:
        raise Invalid(f"address {address} is not link-local: those are in 169.254.0.0/16 and fe80::/10")
    return ip_interface(f"{address}/{16 if address.version == 4 else 64}")


def _sysctl(key: str, value: str, ifname: str) -> tuple[str, str]:
    """As `plan.Sysctl` spells it."""
    if not _INTERFACE_SYSCTL.fullmatch(key):
        raise Invalid(
            f"sysctl {key!r} is not an interface's: it begins with net.ipv4, net.ipv6 or net.mpls, "
            "has the word IFNAME, and ends with the switch, as net.ipv4.conf.IFNAME.log_martians does"
        )
    if not _SYSCTL_VALUE.fullmatch(value):
        raise Invalid(f"sysctl {key}: {value!r} is not a value")
    return key.replace("IFNAME", ifname.replace(".", "/")), value


def checked_mac(text: str) -> str:
    if not _MAC.fullmatch(text):
        raise Invalid(f"MAC address {text!r} is not valid: six pairs of hex digits, such as 02:42:ac:11:00:02")
    if int(text[:2], 16) & 1:
        raise Invalid(f"MAC address {text!r} is a multicast address")
    if not text.strip("0:"):
        raise Invalid("MAC address 00:00:00:00:00:00 belongs to nobody")
    return text.lower()


# Containers


def wanted_name(spec: ContainerSpec, records: Records) -> str:
    if spec.name is not None:
        check_new_name(spec.name, records)
        return spec.name
    return nicknames.choose(records.has_sandbox)


def check_new_name(name: str, records: Records) -> None:
    check_name("container", name)
    if records.has_sandbox(name):
        raise Conflict(f"container name {name!r} is already in use; choose another or `weft rm` the old one")


def extra_hosts(
    spec: ContainerSpec, endpoints: Sequence[Endpoint], networks: plans.Networks
) -> tuple[tuple[str, IPAddress], ...]:
    """The word host-gateway stands for the host's address on the network that leads outside."""
    found = plans.gateway(endpoints, networks, 4) or plans.gateway(endpoints, networks, 6)
    lines: list[tuple[str, IPAddress]] = []
    for name, address in spec.extra_hosts:
        if address == "host-gateway":
            if found is None or found[1].via is None:
                raise Invalid(f"add-host {name}: no network of the container leads to the host")
            lines.append((name, found[1].via))
        else:
            try:
                lines.append((name, ip_address(address)))
            except ValueError:
                raise Invalid(f"add-host {name}: {address!r} is neither an IP address nor host-gateway") from None
    return tuple(lines)


# Attached namespaces


def check_one_origin(spec: ContainerSpec) -> None:
    given = [n for n, v in (("pid", spec.pid), ("netns", spec.netns), ("process", spec.process)) if v is not None]
    if len(given) > 1:
        raise Invalid(f"a container has one namespace: give only one of {' and '.join(given)}")


def find_endpoint(network: Network, sandbox: Sandbox, records: Records) -> Endpoint:
    for endpoint in records.endpoints_of(sandbox.id):
        if endpoint.network == network.id:
            return endpoint
    raise NotFound(f"container {sandbox.name!r} is not on network {network.name!r}")
