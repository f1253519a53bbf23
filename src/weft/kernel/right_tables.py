"""What containers' tables look like when they are right."""

from __future__ import annotations

from weft.kernel import nfnetlink, sandbox_table
from weft.kernel.inside import Visit
from weft.kernel.netlink import Netlink
from weft.plan import SandboxTable


class RightTables:
    """What a container's table lists like when it is right, learned from the kernel once per kind."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, bool], sandbox_table.Tables] = {}

    def like(self, visit: Visit, item: SandboxTable) -> sandbox_table.Tables:
        kind = (item.dns_port, item.ipv6)
        if kind not in self._known:
            self._known[kind] = visit.namespaces.scratch(lambda: _learn(item))
        return self._known[kind]


def _learn(item: SandboxTable) -> sandbox_table.Tables:
    apart = Netlink(nfnetlink.NETLINK_NETFILTER)
    try:
        sandbox_table.add(apart, item)
        return sandbox_table.listing(apart)
    finally:
        apart.close()
