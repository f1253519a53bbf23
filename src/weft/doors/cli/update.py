"""`weft network update`: a network edited in place."""

from __future__ import annotations

from weft.doors.cli.flags import Command, Flag, Options, Usage
from weft.doors.cli.options import read_pairs, read_pools, read_route
from weft.doors.cli.output import show_documents
from weft.doors.cli.progress import Progress
from weft.doors.cli.session import Session


def update(options: Options, session: Session) -> int:
    if not options.given.keys() - {"format"}:
        raise Usage("what is to change? See 'weft network update --help'")
    network = options.operands[0]
    with Progress(f"changing {network}"):
        changed = session.client.networks.update(
            network,
            name=options.text("name"),
            labels=_changes("label", options),
            options=_changes("opt", options),
            internal=options.on("internal") if options.has("internal") else None,
            ipv4=options.on("ipv4"),
            ipv6=options.on("ipv6"),
            add_pools=read_pools(
                subnets=options.many("add-subnet"),
                ranges=options.many("ip-range"),
                gateways=options.many("gateway"),
                aux=options.many("aux-address"),
            ),
            remove_pools=options.many("rm-subnet"),
            add_routes=[read_route(text) for text in options.many("route")],
            remove_routes=options.many("route-rm"),
        )
    template = options.text("format")
    if template is None:
        session.print(changed.name)
    else:
        show_documents([changed], template, session)
    return 0


def _changes(flag: str, options: Options) -> dict[str, str | None]:
    """What is set, and what is taken away."""
    changes: dict[str, str | None] = {**read_pairs(flag, options.many(flag))}
    for key in options.many(f"{flag}-rm"):
        if key in changes:
            raise Usage(f"--{flag}-rm {key}: it is set as well; which of the two?")
        changes[key] = None
    return changes


COMMAND = Command(
    "network update",
    "Change a network in place, with its containers on it",
    update,
    operands="NETWORK",
    least=1,
    most=1,
    completes=("network",),
    flags=(
        Flag("-l --label", "KEY=VALUE", "A label", repeat=True),
        Flag("--label-rm", "KEY", "Take a label away", repeat=True),
        Flag("-o --opt", "KEY=VALUE", "An option of the driver", repeat=True, completes="opt"),
        Flag("--opt-rm", "KEY", "Take an option away: the default holds", repeat=True),
        Flag("--add-subnet", "SUBNET", "One more subnet, such as 10.8.0.0/24; 0.0.0.0/24: any free one", repeat=True),
        Flag("--ip-range", "SUBNET", "Choose containers' addresses from this part of an added subnet", repeat=True),
        Flag("--gateway", "ADDRESS", "The router's address in an added subnet", repeat=True),
        Flag("--aux-address", "NAME=ADDRESS", "An address in an added subnet that something else has", repeat=True),
        Flag("--rm-subnet", "SUBNET", "Take a subnet away in which no container has an address", repeat=True),
        Flag("--ipv6", "", "Give it IPv6, with a subnet that weft chooses, if it has none"),
        Flag("--ipv4", "", "Likewise IPv4"),
        Flag("--route", "SUBNET,GATEWAY", "Where a router on the network leads, for all containers", repeat=True),
        Flag("--route-rm", "SUBNET", "Take the route there away", repeat=True),
        Flag("--internal", "", "Nothing leads out of the network or into it; --internal=false to open it again"),
        Flag("--name", "NAME", "Call it so from now on: web.NAME resolves, and the former name does not"),
        Flag("--format", "TEMPLATE", "Show the network as it is then: json, or a template such as '{{.Options}}'"),
    ),
    details="""\
All changes of one command happen together or not at all. Containers go on running, and so do their connections, but
for those that the network does not allow any more. What is not named stays as it is. The network's name is printed.

Containers that are on the network reach neighbours in an added subnet at once. An address there, or one of an added
family, they get when they are connected anew; new containers get one right away.

What cannot change while the network is there, such as the bridge's name or the parent, is refused by name.""",
    examples=(
        ("smaller packets", "weft network update front --opt mtu=1400"),
        ("keep containers from each other", "weft network update front --opt icc=false"),
        ("more room", "weft network update front --add-subnet 10.8.0.0/24 --gateway 10.8.0.254"),
        ("IPv6 as well, and what it looks like then", "weft network update front --ipv6 --format json"),
        ("labels", "weft network update front --label tier=web --label-rm draft"),
        ("nobody leaves any more", "weft network update back --internal"),
    ),
)
