"""Records to explain: two containers on one network, one of them on a second, internal one as well."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from weft.engine import plans
from weft.explain.container import Attachment, ContainerFacts, Neighbour
from weft.explain.network import Member, NetworkFacts
from weft.model import Endpoint, Network, Pool, PortBinding, Proto, Sandbox
from weft.plan import Item, Veth

FRONT = Network(
    id="f0" * 32,
    name="front",
    driver="bridge",
    pools=(
        Pool(subnet=ip_network("10.7.0.0/24"), gateway=ip_address("10.7.0.1")),
        Pool(subnet=ip_network("fd00:7::/64"), gateway=ip_address("fd00:7::1")),
    ),
)
BACK = Network(
    id="ba" * 32,
    name="back",
    driver="bridge",
    pools=(Pool(subnet=ip_network("10.8.0.0/24"), gateway=ip_address("10.8.0.1")),),
    internal=True,
)
NETWORKS = {FRONT.id: FRONT, BACK.id: BACK}

WEB = Sandbox(
    id="e0" * 32,
    name="web",
    key="/run/weft/netns/e0e0e0e0e0e0",
    ports=(
        PortBinding(proto=Proto.TCP, container_port=80, host_port=8080),
        PortBinding(proto=Proto.UDP, container_port=53, host_port=5353, host_ip=ip_address("127.0.0.1")),
    ),
)
DB = Sandbox(id="d0" * 32, name="db", key="/run/weft/netns/d0d0d0d0d0d0")

WEB_FRONT = Endpoint(
    id="1e" * 32,
    network=FRONT.id,
    sandbox=WEB.id,
    ifname="eth0",
    mac="02:42:0a:07:00:02",
    ipv4=ip_interface("10.7.0.2/24"),
    ipv6=ip_interface("fd00:7::2/64"),
    aliases=("www",),
)
WEB_BACK = Endpoint(
    id="2e" * 32,
    network=BACK.id,
    sandbox=WEB.id,
    ifname="eth1",
    mac="02:42:0a:08:00:02",
    ipv4=ip_interface("10.8.0.2/24"),
)
DB_BACK = Endpoint(
    id="3e" * 32,
    network=BACK.id,
    sandbox=DB.id,
    ifname="eth0",
    mac="02:42:0a:08:00:03",
    ipv4=ip_interface("10.8.0.3/24"),
    aliases=("postgres",),
)


def neighbour(sandbox: Sandbox, endpoint: Endpoint) -> Neighbour:
    return Neighbour(
        name=sandbox.name,
        addresses=tuple(interface.ip for interface in endpoint.addresses),
        mac=endpoint.mac,
        names=plans.holder(sandbox, endpoint).names,
    )


def attachment(endpoint: Endpoint, sandbox: Sandbox, *neighbours: Neighbour) -> Attachment:
    network = NETWORKS[endpoint.network]
    return Attachment(
        endpoint=endpoint,
        network=network,
        names=plans.holder(sandbox, endpoint).names,
        neighbours=neighbours,
        plan=plans.network_plan(network),
    )


def web(**changes: object) -> ContainerFacts:
    """The container web on front and back, all in order; `changes` replace facts."""
    facts = ContainerFacts(
        sandbox=WEB,
        condition="running",
        attachments=(attachment(WEB_FRONT, WEB), attachment(WEB_BACK, WEB, neighbour(DB, DB_BACK))),
        plan=plans.sandbox_plan(WEB, [WEB_FRONT, WEB_BACK], NETWORKS),
        drift={},
        firewall=True,
        answers=None,
    )
    return replace(facts, **changes)


def back(**changes: object) -> NetworkFacts:
    """The network back with web and db on it, all in order."""
    facts = NetworkFacts(
        network=BACK,
        members=(
            Member(neighbour=neighbour(WEB, WEB_BACK), plug=plug(WEB, WEB_BACK)),
            Member(neighbour=neighbour(DB, DB_BACK), plug=plug(DB, DB_BACK)),
        ),
        plan=plans.network_plan(BACK),
        drift={},
        firewall=True,
        ruleset="table inet weft {\n}\n",
    )
    return replace(facts, **changes)


def plug(sandbox: Sandbox, endpoint: Endpoint) -> Item:
    plan = plans.sandbox_plan(sandbox, [endpoint], NETWORKS)
    return next(item for item in plan if isinstance(item, Veth))
