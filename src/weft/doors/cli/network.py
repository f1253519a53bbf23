"""`weft network …`."""

from __future__ import annotations

from weft.doors.cli import policy
from weft.doors.cli.flags import Command, Flag, Options, each
from weft.doors.cli.limit import COMMAND as LIMIT
from weft.doors.cli.options import put_driver_option, read_attachment, read_pairs, read_pools, read_route
from weft.doors.cli.output import labels_text, matches, show_documents, show_rows
from weft.doors.cli.progress import Progress
from weft.doors.cli.session import Session
from weft.doors.cli.update import COMMAND as UPDATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from weft.client import Network

FORMAT = Flag("-f --format", "TEMPLATE", "json, or a template such as '{{.Name}}'")


def create(options: Options, session: Session) -> int:
    name, ipam = options.operands[0], options.text("ipam-driver") or "default"
    with Progress("asking the LAN's DHCP server" if ipam == "dhcp" else f"making network {name}"):
        made = session.client.networks.create(
            name,
            driver=options.text("driver") or "bridge",
            pools=read_pools(
                subnets=options.many("subnet"),
                ranges=options.many("ip-range"),
                gateways=options.many("gateway"),
                aux=options.many("aux-address"),
            ),
            ipv4=options.on("ipv4", default=True),
            ipv6=options.on("ipv6"),
            internal=options.on("internal"),
            options=read_pairs("opt", options.many("opt")),
            labels=read_pairs("label", options.many("label")),
            routes=[read_route(text) for text in options.many("route")],
            ipam=ipam,
        )
    session.print(made.id)
    return 0


def ls(options: Options, session: Session) -> int:
    networks = [network for network in session.client.networks.list() if _chosen(network, options)]
    if options.on("json"):
        show_documents(networks, None, session)
        return 0
    rows = [_row(network, whole=options.on("no-trunc")) for network in networks]
    columns = [
        ("NETWORK ID", "ID"),
        ("NAME", "Name"),
        ("DRIVER", "Driver"),
        ("SUBNETS", "Subnets"),
        ("INTERNAL", "Internal"),
    ]
    show_rows(rows, columns, options, session)
    return 0


def _chosen(network: Network, options: Options) -> bool:
    known = {"name": network.name, "id": network.id, "driver": network.driver}
    return matches(options.many("filter"), known, network.labels)


def _row(network: Network, *, whole: bool) -> dict[str, str]:
    return {
        "ID": network.id if whole else network.id[:12],
        "Name": network.name,
        "Driver": network.driver,
        "IPAM": network.ipam,
        "Scope": "local",
        "Subnets": ", ".join(pool.subnet for pool in network.pools),
        "Internal": "yes" if network.internal else "no",
        "IPv4": str(network.ipv4).lower(),
        "IPv6": str(network.ipv6).lower(),
        "Bridge": network.bridge or "",
        "Parent": network.parent or "",
        "Labels": labels_text(network.labels),
    }


def inspect(options: Options, session: Session) -> int:
    networks = [session.client.networks.get(ref) for ref in options.operands]
    show_documents(networks, options.text("format"), session)
    return 0


def rm(options: Options, session: Session) -> int:
    return each(options.operands, "removing", session.client.networks.remove, session)


def prune(options: Options, session: Session) -> int:
    with Progress("removing unused networks"):
        names = session.client.networks.prune()
    for name in names:
        session.print(name)
    return 0


def connect(options: Options, session: Session) -> int:
    asked = read_attachment(options.operands[0])
    priority = options.text("gw-priority")
    if priority is not None:
        asked |= read_attachment(f"x:gw-priority={priority}") | {"network": asked["network"]}
    for flag, field in (("ip", "ip"), ("ip6", "ip6"), ("mac-address", "mac"), ("ifname", "ifname")):
        value = options.text(flag)
        if value is not None:
            asked[field] = value
    if options.many("alias"):
        asked["aliases"] = options.many("alias")
    if options.many("driver-opt"):
        driver = dict(asked.get("options", {}))  # type: ignore[call-overload]  # a document's value
        for pair in options.many("driver-opt"):
            put_driver_option("--driver-opt", pair, driver)
        asked["options"] = driver
    network = asked.pop("network")
    session.client.networks.connect(str(network), options.operands[1], **asked)  # type: ignore[arg-type]
    return 0


def disconnect(options: Options, session: Session) -> int:
    network, container = options.operands
    session.client.networks.disconnect(network, container, force=options.on("force"))
    return 0


COMMANDS = (
    Command(
        "network create",
        "Make a network",
        create,
        operands="NAME",
        least=1,
        most=1,
        flags=(
            Flag(
                "--subnet",
                "SUBNET",
                "Such as 10.7.0.0/24; a free one is chosen if none is given. Several: more room",
                repeat=True,
            ),
            Flag("--ip-range", "SUBNET", "Choose containers' addresses from this part of the subnet", repeat=True),
            Flag(
                "--gateway",
                "ADDRESS",
                "The router's address in the subnet; on a bridge network the host's own",
                repeat=True,
            ),
            Flag("--aux-address", "NAME=ADDRESS", "An address that something else has: never given out", repeat=True),
            Flag("--route", "SUBNET,GATEWAY", "Where a router on the network leads, for all containers", repeat=True),
            Flag("--ipv6", "", "With IPv6"),
            Flag("--ipv4", "", "With IPv4, the default; --ipv4=false for a network without"),
            Flag("--internal", "", "Nothing leads out of the network or into it"),
            Flag("-d --driver", "DRIVER", "bridge, the default; macvlan, ipvlan", completes="bridge macvlan ipvlan"),
            Flag(
                "--ipam-driver",
                "DRIVER",
                "Who gives out addresses: default, weft; dhcp, a server of the LAN (macvlan, ipvlan)",
                completes="default dhcp",
            ),
            Flag(
                "-o --opt",
                "KEY=VALUE",
                "An option of the driver: mtu, icc, gateway-mode, uplink, parent, …",
                repeat=True,
                completes="opt",
            ),
            Flag("-l --label", "KEY=VALUE", "A label", repeat=True),
        ),
        details="""\
A network is a subnet of its own. Containers on it reach each other, by address and by name; nothing gets in from
outside but to published ports, and nothing crosses between networks.

Each --ip-range, --gateway and --aux-address belongs to the --subnet that it lies in. A container has one address of
each family, from the first subnet with room, and reaches neighbours in the other subnets directly. The new network's
id is printed.""",
        examples=(
            ("any free subnet", "weft network create front"),
            ("both families, IPv6 chosen by weft", "weft network create --subnet 10.7.0.0/24 --ipv6 front"),
            ("more room later on", "weft network create --subnet 10.7.0.0/24 --subnet 10.8.0.0/24 front"),
            ("a database network that nobody leaves", "weft network create --internal back"),
            (
                "containers on the LAN behind eth0, with its router",
                "weft network create -d macvlan --subnet 192.168.50.0/24 --gateway 192.168.50.1 --opt parent=eth0 lan",
            ),
            (
                "the same, but subnet, router and addresses are those of the LAN's DHCP server",
                "weft network create -d macvlan --ipam-driver dhcp --opt parent=eth0 lan",
            ),
            (
                "dynamic addresses from the upper half, one kept free",
                "weft network create --subnet 10.7.0.0/24 --ip-range 10.7.0.128/25 --aux-address nas=10.7.0.200 lan",
            ),
        ),
    ),
    Command(
        "network ls",
        "List networks",
        ls,
        flags=(
            Flag("-q --quiet", "", "Only ids"),
            Flag("-f --filter", "NAME=VALUE", "name, id, driver or label", repeat=True),
            Flag("--no-trunc", "", "Whole ids"),
            Flag("--format", "TEMPLATE", "table, json, or a template such as '{{.Name}}'"),
            Flag("--json", "", "Everything that is known, as one JSON array"),
        ),
        examples=(
            ("names alone", "weft network ls --format '{{.Name}}'"),
            ("those of one project", "weft network ls --filter label=project=shop"),
        ),
    ),
    Command(
        "network inspect",
        "Show everything about networks, as JSON",
        inspect,
        operands="NETWORK…",
        least=1,
        most=None,
        completes=("network",),
        flags=(FORMAT,),
        examples=(
            ("the subnets", "weft network inspect front --format '{{range .Pools}}{{.Subnet}} {{end}}'"),
            (
                "who is on it",
                "weft network inspect front -f '{{range .Endpoints}}{{.Name}} {{.IPv4}}{{println}}{{end}}'",
            ),
        ),
    ),
    UPDATE,
    Command(
        "network rm",
        "Remove networks that no container is on",
        rm,
        operands="NETWORK…",
        least=1,
        most=None,
        completes=("network",),
        examples=(("two at once", "weft network rm front back"),),
    ),
    Command(
        "network prune",
        "Remove every network that no container is on",
        prune,
        flags=(Flag("-f --force", "", "Accepted for Docker's sake: weft does not ask"),),
        details="The default network stays. The names of those that went are printed.",
        examples=(("clean up", "weft network prune"),),
    ),
    Command(
        "network connect",
        "Put a running container on one more network",
        connect,
        operands="NETWORK CONTAINER",
        least=2,
        most=2,
        completes=("network", "container"),
        flags=(
            Flag("--ip", "ADDRESS", "Its IPv4 address there"),
            Flag("--ip6", "ADDRESS", "Its IPv6 address there"),
            Flag("--mac-address", "MAC", "Its MAC address there"),
            Flag("--alias", "NAME", "One more name for it there", repeat=True),
            Flag("--gw-priority", "NUMBER", "The network with the highest carries the default route"),
            Flag("--ifname", "NAME", "The interface's name in the container"),
            Flag("--driver-opt", "KEY=VALUE", "An option of the driver: bandwidth-in, bandwidth-out, …", repeat=True),
        ),
        details="""\
NETWORK may say the same as the flags: front:ip=10.7.0.9,alias=db,bandwidth-in=10mbit""",
        examples=(
            ("with an address and a second name", "weft network connect --ip 10.7.0.9 --alias cache front db"),
            (
                "at 10 Mbit/s into it and 5 out of it",
                "weft network connect front:bandwidth-in=10mbit,bandwidth-out=5mbit db",
            ),
        ),
    ),
    LIMIT,
    Command(
        "network disconnect",
        "Take a container off a network",
        disconnect,
        operands="NETWORK CONTAINER",
        least=2,
        most=2,
        completes=("network", "container"),
        flags=(Flag("-f --force", "", "Succeed if there is nothing to disconnect"),),
        examples=(("leave", "weft network disconnect front db"),),
    ),
    policy.COMMAND,
)
