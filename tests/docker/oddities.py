"""What a hostile client writes where a name, a number, a filter or a document is expected: right, nearly right, absurd.

The words that only the code knows (parameters, filters, options, values) are read from its text, as fuzzers have it
with their dictionaries: one that is new there is tried without anybody thinking of it.
"""

from __future__ import annotations

import ast
import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import msgspec.inspect as types

import weft

NETWORKS, CONTAINERS = ("front", "back"), ("web", "lab", "made", "over")
"""What requests may be about."""

TEXTS = (
    *("", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", "é", "\u202e", "🐋", "a\nb", "a\r\nX: y", "'", '"', "\\", "%00"),
    *("..", "../..", ".", "/", "a/b", "-", "--", "-a", "x" * 64, "x" * 70_000, "{}", "[]", "null", "*", "?", "#", ";"),
    *("a{99999999999}", "(" * 250, "[[a", "(?P<a", "(?<=a+)b", "(a+)+$", "^front$", "front|back", ".*.*.*.*b", "a=b"),
)
NUMBERS = (
    *("0", "-0", "1", "-1", "5", "15", "9", "64", "65", "65535", "65536", "70000", "2147483648", "9223372036854775808"),
    *(
        "-9223372036854775809",
        "9" * 5000,
        "0" * 5000,
        "1." + "0" * 5000,
        "1e309",
        "-1e309",
        "NaN",
        "inf",
        "0x10",
        "1_0",
    ),
    *("٣", "²", " 5", "5 ", "+5", "1.5", "10m", "1h30m", "-5m", "2026-11-24T10:00:00Z", "0001-01-01", "9999-12-31"),
)
PLAIN = ("0", "1", "2", "5", "9", "15", "24", "80")
FLAGS = ("1", "true", "0", "false", "True", "", "maybe")
WHOLE = (0, 1, 2, 24, 80, 1000, 65535, 65536, 2**31, 2**63 - 1, -1, -5, -(2**63))
NOT_WHOLE = (2**63, -(2**63) - 1, 10**30, 0.5, -0.0, 1e300, float("nan"), float("inf"))

FILTERS = (
    *("dangling", "driver", "id", "label", "label!", "name", "scope", "type", "until", "status", "exited", "before"),
    *("since", "network", "publish", "expose", "health", "volume", "ancestor", "event", "container", "is-task"),
)
FILTER_VALUES = (
    "true",
    "a=b",
    "bridge",
    "custom",
    "builtin",
    "local",
    "10m",
    "running",
    "exited",
    "0",
    "80/tcp",
    "1-9",
)
SIGNALS = ("TERM", "hup", "CONT", "RTMIN+3", "RTMIN+" + "9" * 5000, "SIG", "+", *NUMBERS)

SUBNETS = (
    *("10.9.0.0/24", "10.9.0.0/30", "10.9.0.0/32", "10.9.0.1/24", "10.5.0.0/16", "0.0.0.0/0", "0.0.0.0/24", "ten"),
    *(
        "fd09::/64",
        "fd09::/128",
        "fe80::/64",
        "::/0",
        "ff02::/16",
        "127.0.0.0/8",
        "224.0.0.0/4",
        "10.9.0.0",
        "1.0.0.0/33",
    ),
)
ADDRESSES = (
    *("10.5.0.77", "10.5.0.1", "10.5.0.0", "10.5.0.255", "10.6.0.9", "10.9.0.1", "10.9.0.77", "0.0.0.0", "127.0.0.1"),
    *(
        "fd05::77",
        "fd09::1",
        "fe80::9",
        "fe80::9%eth0",
        "169.254.9.9",
        "::",
        "::ffff:10.5.0.77",
        "10.5.0.7/24",
        "ff02::1",
    ),
)
OPTIONS = (
    *("com.docker.network.driver.mtu", "mtu", "com.docker.network.bridge.enable_icc", "com.docker.network.enable_ipv6"),
    *("com.docker.network.endpoint.ifname", "com.docker.network.endpoint.sysctls", "com.docker.network.bridge.name"),
)
SETTINGS = (
    *("1400", "67", "true", "false", "eth7", "lo", "eth0", "all", "x" * 16, "net.ipv4.conf.IFNAME.log_martians=1"),
    *("net.ipv4.conf.IFNAME.forwarding=9" + "9" * 30, "net.ipv4.conf.../../../x=1", "kernel.hostname=x", "=", ","),
)
COMMANDS = (
    [],
    ["true"],
    ["cat"],
    ["sh", "-c", "exit 3"],
    ["nonexistent"],
    [""],
    ["/"],
    ["true", "x" * 140_000],
    ["\0"],
)
"""What runs in a container runs on this machine: no other commands get there."""

T = TypeVar("T")


@functools.cache
def words() -> tuple[str, ...]:
    """Every short text in the code that reads requests."""
    room = Path(weft.__file__).parent
    files = (*room.glob("serve/docker/*.py"), *room.glob("drivers/*.py"), room / "fields.py")
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    found = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return tuple(sorted(text for text in found if re.fullmatch(r"[\w.!-]{1,60}", text)))


class Whim:
    """Makes things up."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._likely = self._likely_fields()

    def one(self, *choices: Sequence[T]) -> T:
        """Of one of these, each of them as likely."""
        return self._random.choice(self._random.choice(choices))

    def seldom(self, once_in: int) -> bool:
        return self._random.randrange(once_in) == 0

    def some(self, make: Callable[[], T], most: int = 3) -> list[T]:
        return [make() for _ in range(self._random.randint(0, most))]

    def cut(self, text: Any) -> Any:
        return text[: self._random.randint(0, len(text))]

    def scribble(self, data: bytes) -> bytes:
        """One byte of it changed."""
        at = self._random.randint(0, len(data))
        return data[:at] + self._random.randbytes(1) + data[at + 1 :]

    def text(self) -> str:
        if self.seldom(5):
            bits = self.one((7, 7, 8, 16))
            return "".join(self.some(lambda: chr(self._random.getrandbits(bits)), 20))
        return self.one((*NETWORKS, *CONTAINERS, "bridge", "host", "none", "fresh"), TEXTS, NUMBERS, words())

    # Query parameters

    def parameter(self, likely: Sequence[str]) -> tuple[str, str]:
        """`likely`: words with which the code that is asked has something to do."""
        values: Mapping[str, Callable[[], str]] = {
            "condition": lambda: self.one(("", "not-running", "next-exit", "removed")),
            "detachKeys": lambda: self.one(("ctrl-p,ctrl-q", "a", "ctrl-5", ",", "ctrl-@", "é", "ctrl-")),
            "filters": lambda: self.filters(likely),
            "name": self.text,
            "ps_args": self.text,
            "scope": lambda: self.one(("", "local", "swarm", "global")),
            "signal": lambda: self.one(SIGNALS),
        }
        name = self.one(likely) if likely and not self.seldom(4) else self.one((*values, *words()))
        if "filters" in likely and self.seldom(3):
            name = "filters"
        if self.seldom(8):
            return name, self.text()
        return name, values[name]() if name in values else self.one(PLAIN, NUMBERS, FLAGS, FLAGS)

    def filters(self, likely: Sequence[str]) -> str:
        """As a map and as a list, and broken."""
        if self.seldom(6):
            return json.dumps(self.junk())
        text = json.dumps(dict(self.some(lambda: (self._filter(likely), self._filter_values()))))
        return self.cut(text) if self.seldom(15) else text

    def _filter(self, likely: Sequence[str]) -> str:
        return self.text() if self.seldom(12) else self.one(FILTERS, [*likely, "name"])

    def _filter_values(self) -> object:
        if self.seldom(20):
            return self.junk()
        values = self.some(lambda: self.text() if self.seldom(2) else self.one(FILTER_VALUES, NUMBERS))
        return values if self.seldom(2) else {value: not self.seldom(6) for value in values}

    # Documents

    def junk(self, depth: int = 0) -> Any:
        """Any JSON value."""
        if depth < 3 and self.seldom(3):
            inner = self.some(lambda: self.junk(depth + 1))
            return inner if self.seldom(2) else {self.text(): value for value in inner}
        return self.text() if self.seldom(2) else self.one((None, True, False), WHOLE, NOT_WHOLE)

    def document(self, kind: Any) -> Any:
        """A value of a msgspec type, more or less."""
        return self._field(types.type_info(kind), "")

    def _field(self, kind: types.Type, name: str) -> Any:
        if self.seldom(60):
            return self.junk()
        return self._likely[name]() if name in self._likely else self._typed(kind)

    def _typed(self, kind: types.Type) -> Any:
        match kind:
            case types.StructType(fields=fields):
                more = {self.text(): self.junk()} if self.seldom(10) else {}
                return {**more, **{f.encode_name: self._field(f.type, f.encode_name) for f in fields if self._asks(f)}}
            case types.UnionType(types=kinds):
                return self._typed(self.one(kinds))
            case types.ListType(item_type=item) | types.VarTupleType(item_type=item):
                return self.some(lambda: self._field(item, ""))
            case types.TupleType(item_types=items):
                return [self._field(item, "") for item in items]
            case types.DictType(value_type=value):
                return dict(self.some(lambda: (self.text(), self._field(value, ""))))
            case types.StrType():
                return self.text()
            case types.BoolType():
                return self.seldom(3)
            case types.IntType() | types.FloatType():
                return self.one(WHOLE)
            case types.NoneType():
                return None
        return self.junk()

    def _asks(self, field: types.Field) -> bool:
        return not self.seldom(5 if field.encode_name in self._likely else 2)

    def _likely_fields(self) -> Mapping[str, Callable[[], object]]:
        """What would be right for fields, by their names."""

        def often(*choices: str) -> Callable[[], str]:
            return lambda: self.text() if self.seldom(10) else self.one(choices)

        def options() -> object:
            return dict(self.some(lambda: (often(*OPTIONS)(), often(*SETTINGS)()), 2))

        return {
            "Cmd": lambda: self.one(COMMANDS) if self.seldom(2) else ["true", self.text()],
            "Container": often(*CONTAINERS),
            "Name": often("fresh", "new"),
            "Driver": often("bridge", "", "default"),
            "Network": often("", "", "fresh", "new", "front"),
            "Subnet": often("", *SUBNETS[:2], *SUBNETS),
            "IPRange": often("", "", "10.9.0.128/25", *SUBNETS),
            "Gateway": often("", "10.9.0.1", *ADDRESSES),
            "IPv4Address": often("", "", "", "10.5.0.77", *ADDRESSES),
            "IPv6Address": often("", "", "", "fd05::77", *ADDRESSES),
            "LinkLocalIPs": lambda: self.some(often("169.254.9.9", *ADDRESSES), 1),
            "AuxiliaryAddresses": lambda: dict(self.some(lambda: (self.text(), often(*ADDRESSES)()))),
            "Links": lambda: self.some(often("lab:db", "lab", ":", "lab:", "web:me"), 1),
            "Aliases": lambda: self.some(often("db", "a.b", "-", "DB")),
            "MacAddress": often("", "02:42:ac:11:00:09", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "2:4"),
            "User": often("", "root", "nobody", "0:0", "4294967295", "nope", ":"),
            "WorkingDir": often("", "/", "/nowhere", "tmp"),
            "DetachKeys": often("", "ctrl-p,ctrl-q", "ctrl-5", "é"),
            "Options": options,
            "DriverOpts": options,
        }
