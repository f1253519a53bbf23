"""From what is to be different about a network to the record that it would have, or a refusal by name.

The new record is judged as that of a new network would be (`wanted`), and then by what is already on it. Touches
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from weft.config import Config
from weft.drivers import driver_named
from weft.engine import leased
from weft.engine.borrowing import settled
from weft.engine.policies import check_beyond
from weft.engine.specs import NetworkChange, NetworkSpec, PoolSpec
from weft.engine.state import Records
from weft.engine.wanted import check_network_name, checked_network, default_options, wanted_pools
from weft.errors import Conflict, Invalid, NotFound
from weft.model import IPNetwork, Network, Pool, StaticRoute

HostNetworks = Callable[[], Sequence[IPNetwork]]


def updated_network(
    network: Network, change: NetworkChange, records: Records, config: Config, host: HostNetworks, ula_seed: str
) -> Network:
    """`host` and `ula_seed` as in `wanted_network`.

    Raises Invalid, Conflict (in use, cannot change, overlap), NotFound (of what is to be taken away), Exhausted.
    """
    _check_own_configuration(network, change)
    if change.name not in (None, network.name):
        check_network_name(change.name or "", records)
    driver = driver_named(network.driver)
    options = _options(network, change, config)
    driver.accept(options)
    leased.check(NetworkSpec(name=network.name, driver=network.driver, ipam=network.ipam), options)
    pools = _pools(network, change, options, records, config, host, ula_seed)
    wanted = replace(
        network,
        name=change.name or network.name,
        labels=_merged(f"label of network {network.name!r}", network.labels, change.labels),
        options=options,
        internal=network.internal if change.internal is None else change.internal,
        pools=pools,
        routes=_routes(network, change),
        # They say which families were asked for when it was made.
        shown_options=network.shown_options if _families(pools) == _families(network.pools) else {},
    )
    after = checked_network(wanted, records)
    if after.internal != wanted.internal:
        raise Conflict(f"whether network {network.name!r} ({network.driver}) is internal follows from its parent")
    driver.check_change(network, after)
    _check_members(after, records)
    _check_policies(network, after, records)
    return after


def _check_members(after: Network, records: Records) -> None:
    """Raises Invalid if what was said of somebody's place on the network does not go with it any more."""
    for endpoint in records.endpoints_on(after.id):
        try:
            driver_named(after.driver).accept_endpoint(after, endpoint.options)
        except Invalid as refused:
            name = records.sandboxes[endpoint.sandbox].name
            raise Invalid(f"container {name!r} on network {after.name!r}: {refused.message}") from None


def _check_own_configuration(network: Network, change: NetworkChange) -> None:
    if network.preset and (change.options or change.ipv4 or change.ipv6 or change.add_pools or change.remove_pools):
        raise Conflict(
            f"network {network.name!r} has the options and subnets of the configuration network {network.preset!r}; "
            "make another network without it"
        )


def _merged(what: str, old: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Raises NotFound for what is to go and is not there."""
    merged = dict(old)
    for key, value in changes.items():
        if value is not None:
            merged[key] = value
        elif merged.pop(key, None) is None:
            raise NotFound.named(what, key, old)
    return merged


def _options(network: Network, change: NetworkChange, config: Config) -> dict[str, str]:
    """Spelt as they were, and new ones as they are. What is taken away is as the settings, or else the driver, say."""
    own = driver_named(network.driver).option
    spelt = {own(key): key for key in network.options}
    changes: dict[str, str | None] = {}
    for key, value in change.options.items():
        place = spelt.get(own(key), key)
        if place in changes:
            raise Invalid(f"option {key!r} says again what another spelling of {own(key)!r} said")
        changes[place] = value
    merged = _merged(f"option of network {network.name!r}", network.options, changes)
    gone = {own(key) for key, value in changes.items() if value is None}
    spec = NetworkSpec(name=network.name, driver=network.driver, options=merged)
    return {**merged, **{key: value for key, value in default_options(spec, config).items() if own(key) in gone}}


def _families(pools: Sequence[Pool]) -> set[int]:
    return {pool.subnet.version for pool in pools}


# Subnets


def _pools(
    network: Network,
    change: NetworkChange,
    options: Mapping[str, str],
    records: Records,
    config: Config,
    host: HostNetworks,
    ula_seed: str,
) -> tuple[Pool, ...]:
    gone = [_unused(network, subnet, records) for subnet in change.remove_pools]
    left = [pool for pool in network.pools if pool not in gone]
    touched = [*(pool.subnet for pool in change.add_pools), *change.remove_pools]
    if network.ipam == leased.DHCP and any(subnet is not None and subnet.version == 4 for subnet in touched):
        raise Conflict(
            f"network {network.name!r} has the IPv4 subnet of its DHCP server and no other; make another network"
        )
    spec = _addition(network, change, left)
    added: list[Pool] = []
    if spec.ipv4 or spec.ipv6:
        own = {address.network for address in network.borrowed.addresses} if network.borrowed else set()
        elsewhere = [route for route in host() if route not in own]
        asked = settled(spec, options, network.borrowed)
        added = wanted_pools(asked, options, records, config, elsewhere, ula_seed)
    if not left and not added:
        raise Invalid(f"network {network.name!r} would have no subnet left; add another as well, or remove the network")
    return tuple(sorted([*left, *added], key=lambda pool: pool.subnet.version))


def _addition(network: Network, change: NetworkChange, left: Sequence[Pool]) -> NetworkSpec:
    """What is added, as if it were a network's own: a family that is wanted and named by no subnet is chosen."""
    there = _families(left)
    versions = {_version(pool) for pool in change.add_pools}
    return NetworkSpec(
        name=network.name,
        driver=network.driver,
        pools=change.add_pools,
        ipv4=4 in versions or (change.ipv4 and 4 not in there),
        ipv6=6 in versions or (change.ipv6 and 6 not in there),
    )


def _version(pool: PoolSpec) -> int:
    if pool.subnet is None:
        raise Invalid("a subnet that is added has to be named; 0.0.0.0/24 or ::/64 is any free one of that size")
    return pool.subnet.version


def _unused(network: Network, subnet: IPNetwork, records: Records) -> Pool:
    pool = next((pool for pool in network.pools if pool.subnet == subnet), None)
    if pool is None:
        shown = ", ".join(str(pool.subnet) for pool in network.pools)
        raise NotFound(f"network {network.name!r} has no subnet {subnet}; it has {shown}")
    users = [
        records.sandboxes[endpoint.sandbox].name
        for endpoint in records.endpoints_on(network.id)
        if any(interface.ip in subnet for interface in endpoint.addresses)
    ]
    if users:
        shown = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
        raise Conflict(
            f"subnet {subnet} of network {network.name!r} is in use by {shown}; `weft network disconnect` them first, "
            "and connect them again"
        )
    return pool


# Routes and policies


def _routes(network: Network, change: NetworkChange) -> tuple[StaticRoute, ...]:
    routes = {route.destination: route for route in network.routes}
    for destination in change.remove_routes:
        if routes.pop(destination, None) is None:
            shown = ", ".join(map(str, routes)) or "none"
            raise NotFound(f"network {network.name!r} has no route to {destination}; it has {shown}")
    seen: set[IPNetwork] = set()
    for route in change.add_routes:
        if route.destination in seen:
            raise Conflict(f"route {route.destination} is given twice: leave one out")
        seen.add(route.destination)
        routes[route.destination] = route
    return tuple(routes.values())


def _check_policies(before: Network, after: Network, records: Records) -> None:
    """No rule is about what is to become the network itself."""
    if after.pools == before.pools:
        return
    for policy in (after.policy, *(endpoint.policy for endpoint in records.endpoints_on(after.id))):
        for rule in policy.rules if policy is not None else ():
            check_beyond(rule, after)
