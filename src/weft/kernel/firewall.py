"""The host's tables as a whole: replaced in one transaction, and compared with what was asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from weft.kernel import elements as elements_of
from weft.kernel import nfnetlink as nf
from weft.kernel.listing import Found, Listing, list_table
from weft.kernel.netlink import Netlink
from weft.kernel.netns import Namespaces
from weft.kernel.nft import Nft
from weft.names import TABLE
from weft.plan import NftElement, TableFamily

Tables = dict[TableFamily, Listing]


class Firewall:
    def __init__(self, socket: Netlink, namespaces: Namespaces) -> None:
        self._socket = socket
        self._namespaces = namespaces
        self._nft: Nft | None = None  # Loaded at first need: it costs 3 MB.
        self._right: dict[str, Tables] = {}

    def close(self) -> None:
        if self._nft:
            self._nft.close()

    def replace(self, ruleset: str, elements: Iterable[NftElement]) -> None:
        """Packets meet the old tables or the new ones, whole."""
        self._run(f"add table inet {TABLE}\ndelete table inet {TABLE}\n{ruleset}\n{_add_all(elements)}")
        self._right = {ruleset: self._tables(self._socket)}

    def check(self, ruleset: str) -> None:
        """Raises Invalid if nft refuses it: asked in a namespace of its own."""
        self._namespaces.scratch(lambda: self._load_apart(ruleset))

    def intact(self, ruleset: str, elements: Iterable[NftElement]) -> bool:
        right = self._right.get(ruleset)
        if right is None:
            right = self._namespaces.scratch(lambda: self._load_apart(ruleset))
            self._right = {ruleset: right}
        return self._tables(self._socket) == right and self._holds(right, elements)

    def text(self) -> str:
        """The table as `nft list` prints it."""
        return self._run(f"list table inet {TABLE}")

    def _run(self, commands: str) -> str:
        if self._nft is None:
            self._nft = Nft()
        return self._nft.run(commands)

    def _load_apart(self, ruleset: str) -> Tables:
        """What the ruleset lists like, learned in a namespace of its own."""
        nft, socket = Nft(), nf.open_socket()
        try:
            nft.run(ruleset)
            return self._tables(socket)
        finally:
            nft.close()
            socket.close()

    def _tables(self, socket: Netlink) -> Tables:
        return {"inet": list_table(socket, nf.INET, TABLE), "bridge": list_table(socket, nf.BRIDGE, TABLE)}

    def _holds(self, tables: Tables, elements: Iterable[NftElement]) -> bool:
        wanted: dict[tuple[TableFamily, str], set[Found]] = defaultdict(set)
        for element in elements:
            wanted[element.family, element.name].update(elements_of.encode(element))
        sets = [(family, name) for family, listing in tables.items() for name in listing.named_sets()]
        try:
            return all(_present(self._socket, *place) == wanted[place] for place in sets)
        except OSError:
            return False


def _present(socket: Netlink, family: TableFamily, name: str) -> set[Found]:
    # Into an empty set of subnets nft also puts the end of "nothing before the first": it means nothing.
    return {found for found in elements_of.list_set(socket, family, name) if not (found.end and not any(found.key))}


def _add_all(elements: Iterable[NftElement]) -> str:
    by_set: dict[tuple[TableFamily, str], list[str]] = defaultdict(list)
    for element in elements:
        by_set[element.family, element.name].append(element.text())
    return "".join(
        f"add element {family} {TABLE} {name} {{ {', '.join(texts)} }}\n" for (family, name), texts in by_set.items()
    )
