"""The records of one host in SQLite.

WAL with synchronous=NORMAL: a transaction survives the death of the process at any instruction. A power cut may lose
the last ones, but takes with it every namespace that they describe; networks, which outlive a reboot, are written
with synchronous=FULL.

Unique indexes make it impossible to hold a name, or an address of a network, twice, whatever the code above believes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address, ip_network

from weft.engine.needs import Loaded
from weft.errors import Conflict, Unavailable
from weft.model import Endpoint, Network, Sandbox
from weft.store import records
from weft.store.migrations import migrate

_SCHEMA_VERSION = 2

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS networks (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS sandboxes (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS endpoints (
    id TEXT PRIMARY KEY, network TEXT NOT NULL, ipv4 TEXT, ipv6 TEXT, body BLOB NOT NULL,
    UNIQUE (network, ipv4), UNIQUE (network, ipv6)
);
CREATE TABLE IF NOT EXISTS last_addresses (
    network TEXT, subnet TEXT, address TEXT NOT NULL, PRIMARY KEY (network, subnet)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pending (ids TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class SqliteStore:
    """Implements `engine.needs.Store`. Used by one thread at a time."""

    def __init__(self, path: str) -> None:
        """Opens or makes the database; Unavailable if it cannot be, or was written by a later version."""
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise Unavailable(f"cannot open the state at {path}: {error}") from error
        written = int(self.get_meta("schema") or _SCHEMA_VERSION)
        if written > _SCHEMA_VERSION:
            raise Unavailable(
                f"{path} was written by a later weft (schema {written}); this one knows {_SCHEMA_VERSION}"
            )
        with self._transaction(durable=True) as run:
            if written < _SCHEMA_VERSION:
                migrate(self._db, written)
            run("INSERT OR REPLACE INTO meta VALUES ('schema', ?)", (str(_SCHEMA_VERSION),))

    def close(self) -> None:
        self._db.close()

    def load(self) -> Loaded:
        rows = self._db.execute
        return Loaded(
            networks=[records.read_network(body) for (body,) in rows("SELECT body FROM networks")],
            sandboxes=[records.read_sandbox(body) for (body,) in rows("SELECT body FROM sandboxes")],
            endpoints=[records.read_endpoint(body) for (body,) in rows("SELECT body FROM endpoints")],
            last={
                (network, ip_network(subnet)): ip_address(text)
                for network, subnet, text in rows("SELECT network, subnet, address FROM last_addresses")
            },
            pending=frozenset(ident for (ids,) in rows("SELECT ids FROM pending") for ident in ids.split()),
        )

    def get_meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def set_meta(self, key: str, value: str) -> None:
        self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def drop_meta(self, key: str) -> None:
        self._write("DELETE FROM meta WHERE key = ?", (key,))

    def metas(self, beginning: str) -> dict[str, str]:
        rows = self._db.execute("SELECT key, value FROM meta WHERE substr(key, 1, ?) = ?", (len(beginning), beginning))
        return dict(rows.fetchall())

    def put(
        self,
        *,
        network: Network | None = None,
        sandbox: Sandbox | None = None,
        endpoints: Sequence[Endpoint] = (),
        pending: Sequence[str] = (),
    ) -> None:
        with self._transaction(durable=network is not None) as run:
            if pending:
                run("INSERT OR IGNORE INTO pending VALUES (?)", (" ".join(pending),))
            if network is not None:
                self._put_named("networks", network.id, network.name, records.write_network(network))
            if sandbox is not None:
                self._put_named("sandboxes", sandbox.id, sandbox.name, records.write_sandbox(sandbox))
            for endpoint in endpoints:
                self._put_endpoint(endpoint)

    def _put_named(self, table: str, ident: str, name: str, body: bytes) -> None:
        # Not INSERT OR REPLACE: that would silently delete another record of the same name.
        self._db.execute(
            f"INSERT INTO {table} VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, "
            "body = excluded.body",
            (ident, name, body),
        )

    def _put_endpoint(self, endpoint: Endpoint) -> None:
        run = self._db.execute
        ipv4 = str(endpoint.ipv4.ip) if endpoint.ipv4 else None
        ipv6 = str(endpoint.ipv6.ip) if endpoint.ipv6 else None
        body = records.write_endpoint(endpoint)
        run(
            "INSERT INTO endpoints VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET ipv4 = excluded.ipv4, "
            "ipv6 = excluded.ipv6, body = excluded.body",
            (endpoint.id, endpoint.network, ipv4, ipv6, body),
        )
        for interface in endpoint.addresses:
            given = (endpoint.network, str(interface.network), str(interface.ip))
            run("INSERT OR REPLACE INTO last_addresses VALUES (?, ?, ?)", given)

    def confirm(self, ids: Sequence[str]) -> None:
        self._write("DELETE FROM pending WHERE ids = ?", (" ".join(ids),))

    def clear_pending(self) -> None:
        self._write("DELETE FROM pending")

    def drop(self, *, network: str | None = None, sandbox: str | None = None, endpoints: Collection[str] = ()) -> None:
        with self._transaction(durable=network is not None) as run:
            for ident in endpoints:
                run("DELETE FROM endpoints WHERE id = ?", (ident,))
            if sandbox is not None:
                run("DELETE FROM sandboxes WHERE id = ?", (sandbox,))
            if network is not None:
                run("DELETE FROM networks WHERE id = ?", (network,))
                run("DELETE FROM last_addresses WHERE network = ?", (network,))

    def _write(self, statement: str, values: Sequence[str] = ()) -> None:
        """One statement, a transaction by itself."""
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise Unavailable(f"cannot write the state: {error}") from error

    @contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[Callable[..., sqlite3.Cursor]]:
        run = self._db.execute
        try:
            if durable:
                run("PRAGMA synchronous=FULL")
            run("BEGIN IMMEDIATE")
            yield run
            run("COMMIT")
        except sqlite3.IntegrityError as error:
            raise Conflict(f"the store refuses to hold a name or an address twice ({error})") from error
        except sqlite3.Error as error:
            raise Unavailable(f"cannot write the state: {error}") from error
        finally:
            if self._db.in_transaction:  # not so after a full disk: SQLite has rolled back by itself
                run("ROLLBACK")
            if durable:
                run("PRAGMA synchronous=NORMAL")
