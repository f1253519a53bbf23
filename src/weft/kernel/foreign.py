"""Other tools' firewalls: which base chains see forwarded or received packets, and what becomes of those in them.

Read with libnftables as JSON, a chain at a time, and only chains that such packets can reach. Nothing is judged here
(`explain.health.firewalls`), and a rule that cannot be understood counts as one that matches nothing.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from weft.errors import Unsupported
from weft.explain.health.facts import Chain
from weft.kernel.nft import Nft
from weft.names import TABLE

_JSON, _STATELESS = 1 << 4, 1 << 1
_MOST_CHAINS = 200
_DEPTH = 8
_SILENT = ("counter", "log", "comment")
"""Statements that decide nothing."""

Rule: TypeAlias = Sequence[Mapping[str, Any]]
Key: TypeAlias = tuple[str, str, str]
"""Family, table, chain."""


class _JsonNft(Nft):
    def __init__(self) -> None:
        super().__init__()
        self._library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        self._library.nft_ctx_output_set_flags(self._context, _JSON | _STATELESS)

    def list(self, what: str, **named: str) -> list[Mapping[str, Any]]:
        said = self.run(json.dumps({"nftables": [{"list": {what: named or None}}]}))
        try:
            listed: list[Mapping[str, Any]] = json.loads(said)["nftables"] if said.strip() else []
        except (ValueError, KeyError) as error:
            raise Unsupported("libnftables here does not speak JSON") from error
        return listed


def foreign_chains() -> tuple[Chain, ...]:
    """The base chains, not weft's, that see forwarded or received packets. Raises WeftError if nft cannot tell."""
    nft = _JsonNft()
    try:
        return tuple(_Reader(nft).chains())
    finally:
        nft.close()


def foreign_bridge_tables() -> tuple[str, ...]:
    """Tables, not weft's, with rules on frames from one port of a bridge to another. Raises WeftError, likewise."""
    nft = _JsonNft()
    try:
        chains = _all_chains(nft)
    finally:
        nft.close()
    asked = (c for c in chains if c["family"] == "bridge" and c.get("hook") in ("prerouting", "forward"))
    return tuple(dict.fromkeys(chain["table"] for chain in asked if chain["table"] != TABLE))


def _all_chains(nft: _JsonNft) -> list[Mapping[str, Any]]:
    return [entry["chain"] for entry in nft.list("chains") if "chain" in entry]


class _Reader:
    def __init__(self, nft: _JsonNft) -> None:
        self._nft = nft
        self._rules: dict[Key, list[Rule]] = {}
        self._all = _all_chains(nft)

    def chains(self) -> Iterator[Chain]:
        for chain in self._all:
            if (
                chain["table"] == TABLE
                or chain.get("hook") not in ("forward", "input")
                or chain["family"] not in ("ip", "ip6", "inet")
            ):
                continue
            yield self._read(chain)

    def _read(self, chain: Mapping[str, Any]) -> Chain:
        family, table, name = chain["family"], chain["table"], chain["name"]
        key = (family, table, name)
        end = self._end(key, _DEPTH)
        if end == "" and chain.get("policy") == "drop":
            end = "drop"
        admits_in, admits_out = self._admitted(key)
        return Chain(
            family=family,
            table=table,
            name=name,
            hook=chain["hook"],
            closed="reject" if end == "reject" else "drop" if end == "drop" else "",
            admits_in=admits_in,
            admits_out=admits_out,
            admits_published=any(_accepts_published(rule) for rule in self._of(key)),
            siblings=frozenset(c["name"] for c in self._all if (c["family"], c["table"]) == (family, table)),
        )

    def _of(self, key: Key) -> list[Rule]:
        if key not in self._rules:
            if len(self._rules) >= _MOST_CHAINS:
                return []
            family, table, name = key
            listed = self._nft.list("chain", family=family, table=table, name=name)
            self._rules[key] = [entry["rule"].get("expr", []) for entry in listed if "rule" in entry]
        return self._rules[key]

    def _end(self, key: Key, depth: int) -> str:
        """What becomes of a packet that nothing matches: accept, drop or reject; empty if the chain does not say."""
        for rule in self._of(key):
            verdict, target = _verdict(rule)
            if verdict in ("jump", "goto") and depth:
                inner = self._end((*key[:2], target), depth - 1)
                if inner or verdict == "goto":
                    return inner
            elif verdict == "accept" or verdict == "drop" or verdict == "reject":
                return verdict
            elif verdict == "return":
                return ""
        return ""

    def _admitted(self, base: Key) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Links from which, and to which, everything is accepted by some rule that packets can reach."""
        admitted: dict[str, list[str]] = {"iifname": [], "oifname": []}
        seen, waiting = {base}, [base]
        while waiting:
            key = waiting.pop()
            for rule in self._of(key):
                targets = [(*key[:2], target) for target in _targets(rule)]
                waiting += [target for target in targets if target not in seen]
                seen.update(targets)
                self._note_admission(rule, key, admitted)
        return tuple(admitted["iifname"]), tuple(admitted["oifname"])

    def _note_admission(self, rule: Rule, key: Key, admitted: Mapping[str, list[str]]) -> None:
        telling = [statement for statement in rule if not _is_silent(statement)]
        if len(telling) != 2 or "match" not in telling[0]:
            return
        match, (verdict, target) = telling[0]["match"], _verdict(telling[1:])
        left, right = match.get("left"), match.get("right")
        link = left.get("meta", {}).get("key", "") if isinstance(left, dict) else ""
        if link not in admitted or match.get("op") != "==" or not isinstance(right, str):
            return
        if verdict in ("jump", "goto"):
            verdict = self._end((*key[:2], target), _DEPTH)
        if verdict == "accept":
            admitted[link].append(right)


def _is_silent(statement: Mapping[str, Any]) -> bool:
    return any(kind in statement for kind in _SILENT)


def _verdict(rule: Rule) -> tuple[str, str]:
    """The verdict of a rule that has nothing but one, and where it leads; empty if it matches something first."""
    telling = [statement for statement in rule if not _is_silent(statement)]
    if len(telling) != 1:
        return "", ""
    statement = telling[0]
    for verdict in ("accept", "drop", "reject", "return"):
        if verdict in statement:
            return verdict, ""
    if statement.get("xt", {}).get("name") == "REJECT":  # what nft cannot translate of iptables' rules
        return "reject", ""
    for verdict in ("jump", "goto"):
        if verdict in statement:
            return verdict, statement[verdict]["target"]
    return "", ""


def _targets(rule: Rule) -> Iterator[str]:
    for statement in rule:
        for kind in ("jump", "goto"):
            if kind in statement:
                yield statement[kind]["target"]
        yield from _mapped_targets(statement.get("vmap"))


def _mapped_targets(vmap: Any) -> Iterator[str]:
    data = vmap.get("data") if isinstance(vmap, dict) else None
    pairs = data.get("set", []) if isinstance(data, dict) else []
    for pair in pairs:
        for kind in ("jump", "goto"):
            if isinstance(pair, list) and isinstance(pair[1], dict) and kind in pair[1]:
                yield pair[1][kind]["target"]


def _accepts_published(rule: Rule) -> bool:
    telling = [statement for statement in rule if not _is_silent(statement)]
    if len(telling) != 2 or "accept" not in telling[1] or "match" not in telling[0]:
        return False
    match = telling[0]["match"]
    return bool(match.get("left") == {"ct": {"key": "status"}} and match.get("right") == "dnat")
