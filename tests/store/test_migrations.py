"""What a former version of weft wrote is read, and nothing of it is lost."""

from __future__ import annotations

import sqlite3
from ipaddress import ip_address, ip_network
from pathlib import Path

import msgspec
import pytest

from tests.store.test_sqlite import NETWORK, SANDBOX, endpoint, reopened
from weft.model import Pool
from weft.store import records

BOTH = records.write_network(
    type(NETWORK)(
        id="b" * 64,
        name="both",
        driver="bridge",
        pools=(Pool(subnet=ip_network("10.1.0.0/24")), Pool(subnet=ip_network("fd01::/64"))),
    )
)

VERSION_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE networks (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE sandboxes (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE endpoints (
    id TEXT PRIMARY KEY, network TEXT NOT NULL, ipv4 TEXT, ipv6 TEXT, body BLOB NOT NULL,
    UNIQUE (network, ipv4), UNIQUE (network, ipv6)
);
CREATE TABLE last_given (network TEXT PRIMARY KEY, ipv4 TEXT, ipv6 TEXT) WITHOUT ROWID;
CREATE TABLE pending (ids TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO meta VALUES ('schema', '1'), ('ula-seed', 'abc');
"""


def _version_1(path: str) -> None:
    db = sqlite3.connect(path)
    db.executescript(VERSION_1)
    one = endpoint(2)
    db.execute("INSERT INTO networks VALUES (?, ?, ?)", (NETWORK.id, NETWORK.name, records.write_network(NETWORK)))
    db.execute("INSERT INTO networks VALUES (?, ?, ?)", ("b" * 64, "both", BOTH))
    db.execute("INSERT INTO sandboxes VALUES (?, ?, ?)", (SANDBOX.id, SANDBOX.name, records.write_sandbox(SANDBOX)))
    db.execute(
        "INSERT INTO endpoints VALUES (?, ?, ?, ?, ?)",
        (one.id, one.network, "10.0.0.2", None, records.write_endpoint(one)),
    )
    db.execute("INSERT INTO last_given VALUES (?, ?, ?)", (NETWORK.id, "10.0.0.9", None))
    db.execute("INSERT INTO last_given VALUES (?, ?, ?)", ("b" * 64, "10.1.0.5", "fd01::5"))
    db.execute("INSERT INTO last_given VALUES (?, ?, ?)", ("e" * 64, "10.2.0.5", None))  # its network is gone
    db.commit()
    db.close()


def test_the_first_version_s_records_and_last_addresses_are_kept(tmp_path: Path):
    path = str(tmp_path / "weft.db")
    _version_1(path)
    for _ in range(2):
        loaded = reopened(path)
        assert {network.name for network in loaded.networks} == {"blue", "both"}
        assert (loaded.sandboxes, loaded.endpoints) == ([SANDBOX], [endpoint(2)])
        assert loaded.last == {
            (NETWORK.id, ip_network("10.0.0.0/24")): ip_address("10.0.0.9"),
            ("b" * 64, ip_network("10.1.0.0/24")): ip_address("10.1.0.5"),
            ("b" * 64, ip_network("fd01::/64")): ip_address("fd01::5"),
        }
    db = sqlite3.connect(path)
    assert db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchall() == [("2",)]
    assert db.execute("SELECT name FROM sqlite_master WHERE name = 'last_given'").fetchall() == []
    db.close()


def test_a_migration_that_is_cut_short_is_done_again(tmp_path: Path):
    path = str(tmp_path / "weft.db")
    _version_1(path)
    db = sqlite3.connect(path)
    db.execute("UPDATE networks SET body = 'no record' WHERE name = 'both'")
    db.commit()
    with pytest.raises(msgspec.DecodeError):
        reopened(path)
    assert len(db.execute("SELECT * FROM last_given").fetchall()) == 3
    assert db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchall() == [("1",)]
    db.execute("UPDATE networks SET body = ? WHERE name = 'both'", (BOTH,))
    db.commit()
    db.close()
    assert len(reopened(path).last) == 3
