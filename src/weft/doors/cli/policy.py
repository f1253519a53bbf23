"""`weft network policy`: where containers may send to."""

from __future__ import annotations

from weft.doors.cli.flags import Command, Flag, Options, Usage
from weft.doors.cli.output import show_documents
from weft.doors.cli.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from weft.client import Policy


def policy(options: Options, session: Session) -> int:
    network, container = options.operands[0], options.text("container")
    default = options.text("default")
    if default not in (None, "allow", "deny"):
        raise Usage(f"--default: {default!r} is neither allow nor deny")
    rules = [(verdict, place) for verdict in ("allow", "deny") for place in options.many(verdict)]
    networks = session.client.networks
    if options.on("reset"):
        if options.many("rm"):
            raise Usage("--reset leaves nothing for --rm to take away")
        found = networks.set_policy(network, rules, default=default, container=container)
    elif rules or default or options.many("rm"):
        found = networks.change_policy(
            network, add=rules, remove=options.many("rm"), default=default, container=container
        )
    else:
        found = networks.policy(network, container=container)
        if options.on("json"):
            show_documents([found], None, session)
            return 0
    _show(found, session, own=container is not None)
    return 0


def _show(found: Policy, session: Session, *, own: bool) -> None:
    for rule in found.rules:
        session.print(f"{rule.verdict:5} {rule.to}")
    last = found.default or ("as the network has it" if own else "allow")
    session.print(f"{last:5} everything else" if last in ("allow", "deny") else f"everything else {last}")


COMMAND = Command(
    "network policy",
    "Show or change where a network's containers may send to",
    policy,
    operands="NETWORK",
    least=1,
    most=1,
    completes=("network",),
    flags=(
        Flag("--allow", "DESTINATION", "Let them send there", repeat=True),
        Flag("--deny", "DESTINATION", "Refuse it", repeat=True),
        Flag("--rm", "DESTINATION", "Take the rule for it away", repeat=True),
        Flag("--default", "allow|deny", "What holds for everything else; allow unless said", completes="allow deny"),
        Flag("--reset", "", "Begin anew, without the rules and the default that there are"),
        Flag("--container", "CONTAINER", "Its own rules, which come before the network's", completes="container"),
        Flag("--json", "", "Show it as JSON"),
    ),
    details="""\
DESTINATION is a subnet or an address, with ports if need be: 10.1.0.0/16, 10.1.0.0/16:443/tcp, 10.1.2.3:8000-8100,
[fd00::/8]:53/udp, any:443. Without a protocol, ports are those of TCP, UDP and SCTP; :*/udp is all of one protocol.

Of all rules that match, the most specific decides, in whatever order they were given: the longest prefix, then the
fewest ports. What is refused is answered at once, so that programs fail and do not hang; connections that are refused
now end. All changes of one command happen together or not at all. The policy is printed as it is then.

It holds for whatever leaves the network: the world, this host and its published ports. Containers of the network reach
each other in any case, and 127.0.0.11 resolves names for them in any case.""",
    examples=(
        ("what holds", "weft network policy front"),
        ("keep containers from a cloud's metadata service", "weft network policy front --deny 169.254.169.254"),
        (
            "nothing but HTTPS to one subnet",
            "weft network policy front --reset --default deny --allow 10.1.0.0/16:443/tcp",
        ),
        ("one container may do more", "weft network policy front --container web --allow any:443/tcp"),
        ("forget all of it", "weft network policy front --reset"),
    ),
)
