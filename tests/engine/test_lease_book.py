"""Leases are written down before they count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.explain.health.test_leases import LEASE
from weft.engine.lease_book import LeaseBook
from weft.engine.state import Records
from weft.store.sqlite import SqliteStore


def book(directory: Path) -> tuple[LeaseBook, Any]:
    parts: Any = SimpleNamespace(store=SqliteStore(str(directory / "weft.db")), records=Records())
    return LeaseBook(parts), parts


def test_what_is_written_is_there_after_a_restart(tmp_path: Path) -> None:
    first, parts = book(tmp_path)
    first.put(LEASE)
    later = replace(LEASE, renew=1600.5, address=LEASE.address + 1)
    first.put(later)
    parts.store.close()
    second, parts = book(tmp_path)
    assert parts.records.dhcp_leases == {LEASE.client.endpoint: later}
    second.drop(LEASE.client.endpoint)
    second.drop(LEASE.client.endpoint)
    parts.store.close()
    third, parts = book(tmp_path)
    assert third.ids() == []
    parts.store.close()
