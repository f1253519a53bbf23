"""From the tables of former versions to those of now, within one transaction of the caller's: whole or not at all."""

from __future__ import annotations

import sqlite3

from weft.store import records


def migrate(db: sqlite3.Connection, written: int) -> None:
    """`written`: the schema's version that the database has."""
    if written < 2:
        _one_to_two(db)


def _one_to_two(db: sqlite3.Connection) -> None:
    """The address last given out is remembered per subnet: a network had at most one of each family before."""
    subnets: dict[tuple[str, int], str] = {
        (network.id, pool.subnet.version): str(pool.subnet)
        for (body,) in db.execute("SELECT body FROM networks")
        for network in [records.read_network(body)]
        for pool in network.pools
    }
    for network, *given in db.execute("SELECT network, ipv4, ipv6 FROM last_given").fetchall():
        for version, address in zip((4, 6), given, strict=True):
            subnet = subnets.get((network, version))
            if address is not None and subnet is not None:
                db.execute("INSERT OR REPLACE INTO last_addresses VALUES (?, ?, ?)", (network, subnet, address))
    db.execute("DROP TABLE last_given")
