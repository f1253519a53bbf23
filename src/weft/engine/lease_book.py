"""What DHCP servers have given, written down before it is asked for in earnest, until it has been given back.

So whatever a dead weftd had, or was about to have, the next one finds: it keeps what an endpoint uses, and gives back
the rest. Changed on the engine's worker thread; `Records.dhcp_leases` may be read anywhere.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from ipaddress import IPv4Address, IPv4Interface

from weft.engine.parts import Parts
from weft.model import DhcpClient, DhcpLease, Endpoint

_KEY = "dhcp-lease:"


class LeaseBook:
    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._records = parts.records
        for text in parts.store.metas(_KEY).values():
            lease = _read(text)
            self._records.dhcp_leases[lease.client.endpoint] = lease

    def put(self, lease: DhcpLease) -> None:
        self._store.set_meta(_KEY + lease.client.endpoint, _write(lease))
        self._records.dhcp_leases[lease.client.endpoint] = lease

    def drop(self, endpoint_id: str) -> None:
        self._store.drop_meta(_KEY + endpoint_id)
        self._records.dhcp_leases.pop(endpoint_id, None)

    def of(self, endpoint_id: str) -> DhcpLease | None:
        return self._records.dhcp_leases.get(endpoint_id)

    def ids(self) -> list[str]:
        return list(self._records.dhcp_leases)

    def owner(self, endpoint_id: str) -> Endpoint | None:
        """The endpoint, if it is there."""
        return self._records.endpoints.get(endpoint_id)

    def interface(self, lease: DhcpLease) -> IPv4Interface:
        """The address in its network's subnet."""
        pool = self._records.networks[lease.client.network].pools_of(4)[0]
        return IPv4Interface((int(lease.address), pool.subnet.prefixlen))


def _write(lease: DhcpLease) -> str:
    times = {name: getattr(lease, name) for name in ("obtained", "renew", "rebind", "expires")}
    texts = {"address": str(lease.address), "server": str(lease.server), "server_mac": lease.server_mac}
    return json.dumps({"client": asdict(lease.client), **texts, **times})


def _read(text: str) -> DhcpLease:
    raw = json.loads(text)
    raw["client"] = DhcpClient(**raw["client"])
    raw["address"], raw["server"] = IPv4Address(raw["address"]), IPv4Address(raw["server"])
    return DhcpLease(**raw)
