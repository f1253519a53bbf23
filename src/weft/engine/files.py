"""The files in a container's /etc that name its network: hosts, hostname, resolv.conf."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from weft.model import Endpoint, Sandbox
from weft.names import NAMESERVER

_LOCAL = "127.0.0.1\tlocalhost\n"
_LOCAL6 = "::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"


def etc_files(sandbox: Sandbox, endpoints: Sequence[Endpoint], host_resolv_conf: str) -> dict[str, str]:
    """Name in /etc to content."""
    return {
        "hosts": _hosts(sandbox, endpoints),
        "hostname": f"{sandbox.hostname}\n",
        "resolv.conf": _resolv_conf(sandbox, host_resolv_conf),
    }


def host_files(sandbox: Sandbox, host_resolv_conf: str) -> dict[str, str]:
    """For a container on the host's own network: the host's files as they are, or their like in a root of its own."""
    if sandbox.process is None or sandbox.process.rootfs is None:
        return {}
    return {"hosts": _LOCAL + _LOCAL6, "resolv.conf": host_resolv_conf}


def _hosts(sandbox: Sandbox, endpoints: Sequence[Endpoint]) -> str:
    own = sandbox.hostname
    names = f"{own} {own.partition('.')[0]}" if "." in own else own
    lines = [_LOCAL, _LOCAL6 if any(endpoint.ipv6 for endpoint in endpoints) else ""]
    lines += [f"{interface.ip}\t{names}\n" for endpoint in endpoints for interface in endpoint.addresses]
    lines += [f"{address}\t{name}\n" for name, address in sandbox.extra_hosts]
    return "".join(lines)


def _resolv_conf(sandbox: Sandbox, host_resolv_conf: str) -> str:
    search = sandbox.dns_search or tuple(_words(host_resolv_conf, ("search", "domain")))
    options = sandbox.dns_options or tuple(_words(host_resolv_conf, ("options",)))
    if not any(option.startswith("ndots:") for option in options):
        options = (*options, "ndots:0")
    lines = [f"nameserver {NAMESERVER}\n"]
    if search and search != (".",):
        lines.append(f"search {' '.join(search)}\n")
    return "".join([*lines, f"options {' '.join(options)}\n"])


def _words(text: str, keywords: Iterable[str]) -> list[str]:
    # As resolv.conf(5) has it: the last line with the keyword counts.
    found: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if words and words[0] in keywords:
            found = words[1:]
    return found
