"""Checks of weft's own state. All that is wrong here, `weft doctor --fix` puts right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from weft.explain.health.facts import HostFacts, OwnFacts
from weft.explain.health.finding import Finding, fine

_FIX = ("weft doctor --fix",)
_WALLS = {"seccomp": "a filter of system calls (seccomp)", "landlock": "a limit to its files (Landlock)"}
_SHOWN = 3
_ENOUGH = 10
"""Questions, before it is worth a word that few of them were answered."""


def check_records(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    for loss in own.losses:
        yield Finding(
            check="records",
            subject="weft",
            level="error",
            what=f"{loss.owner} lacks {_shown(loss.items)}",
            why="The records ask for it and the kernel does not have it: something else took it away or changed it.",
            mend=_FIX,
            fixable=True,
        )
    for name in own.lost_namespaces:
        yield Finding(
            check="records",
            subject="weft",
            level="warning",
            what=f"the network namespace of container {name} is gone",
            why="Its interfaces went with it. What remains is a record.",
            mend=(f"weft rm -f {name}",),
        )
    if not own.losses and not own.lost_namespaces:
        networks, containers = len(own.networks), own.containers
        yield fine(
            "records",
            "weft",
            f"the kernel holds what the records ask for: {networks} networks, {containers} containers",
        )


def check_table(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    if own.firewall:
        yield fine("firewall", "weft", "table inet weft is as weft wrote it")
        return
    yield Finding(
        check="firewall",
        subject="weft",
        level="error",
        what="table inet weft is gone, or is not as weft wrote it",
        why="It decides what reaches the containers. weft looks at it at every change and puts it back; if it stays "
        "so, nft refuses it: see weftd's log, and the rules in forward.nft if you have any.",
        mend=_FIX,
        fixable=True,
    )


def check_guard(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    if not own.guard:
        return
    yield fine("guard", "weft", f"containers are kept to their own addresses by {own.guard}")
    if own.hands_over and host.bridge_tables and not _bridged_frames_are_shown(host):
        tables = ", ".join(f"table bridge {name}" for name in host.bridge_tables)
        yield Finding(
            check="guard",
            subject="weft",
            level="note",
            what=f"{tables}: its rules do not see what containers of one network send each other",
            why="The programs on their ports hand it over past the bridge. If those rules are to see it, weft.toml "
            "can have rules guard in place of programs.",
            mend=("echo 'guard = \"rules\"' >> /etc/weft/weft.toml  # and restart weftd",),
        )


def _bridged_frames_are_shown(host: HostFacts) -> bool:
    """To the host's firewall: then programs hand nothing over."""
    return any(host.sysctls.get(f"net.bridge.bridge-nf-call-{rules}") == "1" for rules in ("iptables", "ip6tables"))


def check_rules(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    if own.refused_rules:
        yield Finding(
            check="rules",
            subject="weft",
            level="warning",
            what=f"rules of your own are not in force: {own.refused_rules}",
            why="Until nft understands the file, the rules that it held before stay in force.",
        )


def check_leftovers(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    if not own.leftovers:
        yield fine("leftovers", "weft", "nothing bears weft's mark that no record asks for")
        return
    yield Finding(
        check="leftovers",
        subject="weft",
        level="warning",
        what=f"{len(own.leftovers)} things bear weft's mark, but no record asks for them: {_shown(own.leftovers)}",
        why="They do nothing but take up names and memory.",
        mend=_FIX,
        fixable=True,
    )


def check_resolver(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    if own.resolver_pid is None or own.silent:
        where = f"does not answer in container {own.silent}" if own.silent else "does not run"
        yield Finding(
            check="resolver",
            subject="weft",
            level="error",
            what=f"weft's name server {where}",
            why="Containers resolve no names.",
            mend=_FIX,
            fixable=True,
        )
        return
    yield fine("resolver", "weft", f"the name server answers (process {own.resolver_pid}){_counted(own.counters)}")


def _counted(counters: Mapping[str, int]) -> str:
    shown = ("queries", "local", "cached", "forwarded", "failed", "refused")
    return f"; so far {', '.join(f'{counters[name]} {name}' for name in shown if name in counters)}" if counters else ""


def check_upstream(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    forwarded, failed = own.counters.get("forwarded", 0), own.counters.get("failed", 0)
    if forwarded >= _ENOUGH and failed * 2 > forwarded:
        servers = ", ".join(host.nameservers) or "other servers"
        yield Finding(
            check="upstream",
            subject="host",
            level="warning",
            what=f"of {forwarded} names asked of {servers}, {failed} had no answer",
            why="Containers resolve each other's names, and few others. Either the servers are out of reach from this "
            "host, or they were (weft counts from the start of its name server).",
            mend=("dig @SERVER example.com", "echo 'dns = [\"ADDRESS\"]' >> /etc/weft/weft.toml  # and restart weftd"),
        )


def check_resolver_errors(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    errors = own.counters.get("errors", 0)
    if errors:
        yield Finding(
            check="resolver-errors",
            subject="weft",
            level="warning",
            what=f"weft's name server has met {errors} errors that it did not expect",
            why="It goes on, but somebody may not have had an answer. Each is in its log (resolver.log).",
            mend=("tail /run/weft/resolver.log",),
        )


def check_resolver_sandbox(host: HostFacts, own: OwnFacts) -> Iterator[Finding]:
    lacking = [what for name, what in _WALLS.items() if own.counters.get(name) == 0]
    if lacking:
        yield Finding(
            check="resolver-sandbox",
            subject="host",
            level="warning",
            what=f"weft's name server runs without {' and without '.join(lacking)}",
            why="It reads what containers send, without privileges and as nobody; a container that finds a flaw in it "
            "would meet one wall less. Its log (resolver.log) says what this kernel lacks.",
            mend=("grep 'not shut' /run/weft/resolver.log",),
        )


def _shown(items: Sequence[str]) -> str:
    shown = ", ".join(items[:_SHOWN])
    return f"{shown} and {len(items) - _SHOWN} more" if len(items) > _SHOWN else shown
