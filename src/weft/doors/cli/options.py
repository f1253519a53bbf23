"""The small languages of the flags' values, as people know them from Docker. Pure: text in, API documents out.

Addresses are not judged here: the daemon does, once, for every door.
"""

from __future__ import annotations

from weft.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Document = dict[str, object]

_ATTACHMENT = {
    "ip": "ip",
    "ip6": "ip6",
    "mac": "mac",
    "mac-address": "mac",
    "alias": "aliases",
    "gw-priority": "gw_priority",
    "ifname": "ifname",
}
_ATTACHMENT_SHOWN = "ip, ip6, mac, alias, gw-priority, ifname, and options of the network's driver"

PROTOCOLS = ("tcp", "udp", "sctp")


# --network


def read_attachment(text: str) -> Document:
    """`front`, `front:ip=10.7.0.9,alias=db`, or Docker's `name=front,ip=10.7.0.9,alias=db`; also `container:web`.

    A key that is not ours is an option for the network's driver, as is `driver-opt=KEY=VALUE`.
    """
    if text.startswith("container:") and "=" not in text:
        return {"network": text}
    name, fields = _split_attachment(text)
    document: Document = {}
    aliases: list[str] = []
    driver: dict[str, str] = {}
    for field in fields:
        key, separator, value = field.partition("=")
        key = key.strip()
        if not separator:
            raise Invalid(f"network {text!r}: {field!r} is not KEY=VALUE; keys are {_ATTACHMENT_SHOWN}")
        if key in ("name", "network") and name is None:
            name = value
        elif not value or not key:
            raise Invalid(f"network {text!r}: {field!r} is not KEY=VALUE; keys are {_ATTACHMENT_SHOWN}")
        elif key in ("name", "network"):
            raise Invalid(f"network {text!r}: {key} is given twice")
        elif key not in _ATTACHMENT:
            pair = value if key == "driver-opt" else field
            put_driver_option(f"network {text!r}", pair, driver)
        elif key == "alias":
            aliases.append(value)
        elif _ATTACHMENT[key] in document:
            raise Invalid(f"network {text!r}: {key} is given twice")
        else:
            document[_ATTACHMENT[key]] = _whole("gw-priority", value) if key == "gw-priority" else value
    if not name:
        raise Invalid(f"network {text!r}: which network? Write NAME:KEY=VALUE,… or name=NAME,KEY=VALUE,…")
    if aliases:
        document["aliases"] = aliases
    if driver:
        document["options"] = driver
    return {"network": name, **document}


def put_driver_option(what: str, pair: str, options: dict[str, str]) -> None:
    key, separator, value = (part.strip() for part in pair.partition("="))
    if not separator or not key:
        raise Invalid(f"{what}: driver-opt {pair!r} is not KEY=VALUE")
    if key in options:
        raise Invalid(f"{what}: {key} is given twice")
    options[key] = value


def _split_attachment(text: str) -> tuple[str | None, list[str]]:
    name, colon, rest = text.partition(":")
    if "=" in name:
        return None, text.split(",")
    return name, rest.split(",") if colon else []


def _whole(what: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Invalid(f"{what}: {text!r} is not a whole number") from None


# -p


def read_publish(text: str) -> Document:
    """`[[HOST_IP:][HOST_PORT[-END]]:]PORT[-END][/PROTO]`, or Docker's `target=80,published=8080`."""
    if "=" in text:
        return _publish_fields(text)
    ports, slash, proto = text.partition("/")
    if slash and proto.lower() not in PROTOCOLS:
        raise Invalid(f"port {text!r}: protocol {proto!r} is not one of {', '.join(PROTOCOLS)}")
    host_ip, host, inside = _split_ports(text, ports)
    document: Document = {"proto": proto.lower() or "tcp"}
    first, last = _range(text, inside)
    document["container_port"] = first
    if last != first:
        document["container_port_end"] = last
    if host_ip:
        document["host_ip"] = host_ip
    if host not in ("", "0"):
        _put_host_ports(text, host, last - first + 1, document)
    return document


def _put_host_ports(text: str, host: str, inside: int, document: Document) -> None:
    first, last = _range(text, host)
    count = last - first + 1
    # One port inside and several outside asks for the first free one; otherwise they go in pairs.
    if count != inside and inside != 1:
        raise Invalid(f"port {text!r}: {_ports(count)} on the host for {_ports(inside)} in the container")
    document["host_port"] = first
    if last != first:
        document["host_port_end"] = last


def _ports(count: int) -> str:
    return "1 port" if count == 1 else f"{count} ports"


def _split_ports(text: str, ports: str) -> tuple[str, str, str]:
    """Host address, host ports, container ports; the first two may be empty."""
    if ports.startswith("["):
        host_ip, bracket, rest = ports[1:].partition("]")
        if not bracket or not rest.startswith(":"):
            raise Invalid(f"port {text!r}: write an IPv6 address as [::1]:8080:80")
        host, colon, inside = rest[1:].partition(":")
        if not colon:
            raise Invalid(f"port {text!r}: which port in the container? Write [{host_ip}]:{host or '8080'}:80")
        return host_ip, host, inside
    parts = ports.split(":")
    if len(parts) > 3:
        raise Invalid(f"port {text!r}: write an IPv6 address in brackets, as [::1]:8080:80")
    if len(parts) == 2 and "." in parts[0]:
        raise Invalid(f"port {text!r}: after an address come two ports; write {parts[0]}:{parts[1]}:{parts[1]}")
    host_ip, host, inside = ("", "", *parts)[-3:]
    return host_ip, host, inside


def _range(text: str, ports: str) -> tuple[int, int]:
    first, dash, last = ports.partition("-")
    numbers = [_port(text, part) for part in ((first, last) if dash else (first,))]
    if numbers[0] > numbers[-1]:
        raise Invalid(f"port {text!r}: the range {ports} is upside down")
    return numbers[0], numbers[-1]


def _port(text: str, part: str) -> int:
    if not (part.isascii() and part.isdigit() and 1 <= int(part) <= 65535):
        what = f"{part!r} is not a port (1 to 65535)" if part else "a port is missing"
        raise Invalid(f"port {text!r}: {what}")
    return int(part)


def _publish_fields(text: str) -> Document:
    fields = dict(field.partition("=")[::2] for field in text.split(","))
    unknown = sorted(fields.keys() - {"target", "published", "protocol", "host_ip", "mode"})
    if unknown:
        raise Invalid(f"port {text!r}: unknown key {unknown[0]!r}; keys are target, published, protocol, host_ip")
    if "target" not in fields:
        raise Invalid(f"port {text!r}: target, the port in the container, is missing")
    host_ip = fields.get("host_ip", "")
    around = f"[{host_ip}]:" if host_ip else ""
    published = fields.get("published", "")
    return read_publish(f"{around}{published}:{fields['target']}/{fields.get('protocol', 'tcp')}")


# --add-host, --label, --env


def read_host(text: str) -> tuple[str, str]:
    """`NAME:ADDRESS` or `NAME=ADDRESS`; the address may be host-gateway, an IPv6 one may stand in brackets."""
    at = min((i for i in (text.find("="), text.find(":")) if i >= 0), default=-1)
    name, address = text[:at], text[at + 1 :]
    if at < 1 or not address:
        raise Invalid(f"add-host {text!r}: write NAME:ADDRESS or NAME:host-gateway")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    return name, address


def read_pairs(what: str, texts: Sequence[str], *, bare: bool = True) -> dict[str, str]:
    """`KEY=VALUE` each; with `bare`, also KEY alone, for an empty value."""
    pairs: dict[str, str] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not key or not (separator or bare):
            raise Invalid(f"{what} {text!r}: write KEY=VALUE")
        pairs[key] = value
    return pairs


def read_environment(texts: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """`KEY=VALUE` each; KEY alone takes the caller's own value, and is left out if there is none."""
    pairs: dict[str, str] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not key:
            raise Invalid(f"env {text!r}: write KEY=VALUE or KEY")
        if separator:
            pairs[key] = value
        elif key in environ:
            pairs[key] = environ[key]
    return pairs


def read_environment_file(text: str) -> list[str]:
    """The lines of an --env-file that say something."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


# Pools of a new network


def read_pools(
    *, subnets: Sequence[str], ranges: Sequence[str], gateways: Sequence[str], aux: Sequence[str]
) -> list[Document]:
    """A pool per subnet, with what lies in it. Lists may be repeated or separated by commas."""
    pools: dict[bool, list[Document]] = {False: [], True: []}
    for subnet in _items(subnets):
        pools[":" in subnet].append({"subnet": subnet})
    for what, key, texts in (("ip-range", "ip_range", ranges), ("gateway", "gateway", gateways)):
        for text in _items(texts):
            pool = _pool_around(what, text, pools[":" in text])
            if key in pool:
                raise Invalid(f"{what} {text}: its subnet has one already, {pool[key]}")
            pool[key] = text
    for name, address in read_pairs("aux-address", _items(aux), bare=False).items():
        held = _pool_around(f"aux-address {name}", address, pools[":" in address]).setdefault("aux", {})
        assert isinstance(held, dict)
        held[name] = address
    return [*pools[False], *pools[True]]


def _pool_around(what: str, text: str, pools: list[Document]) -> Document:
    """The pool of a family that an address or a range belongs to. Of a single one the daemon judges."""
    if not pools:
        pools.append({})
    if len(pools) == 1:
        return pools[0]
    import ipaddress  # costs some milliseconds, and is rarely needed

    try:
        inner = ipaddress.ip_network(text, strict=False)
        for pool in pools:
            outer = ipaddress.ip_network(str(pool["subnet"]), strict=False)
            if inner.version == outer.version and inner.subnet_of(outer):  # type: ignore[arg-type]
                return pool
    except ValueError as error:
        raise Invalid(f"{what} {text}: {error}") from None
    shown = ", ".join(str(pool["subnet"]) for pool in pools)
    raise Invalid(f"{what} {text} lies in none of the subnets {shown}")


def _items(texts: Sequence[str]) -> list[str]:
    return [item for text in texts for item in text.split(",") if item]


def read_route(text: str) -> tuple[str, str]:
    """`DESTINATION,GATEWAY`, as Podman has it."""
    destination, _, gateway = text.partition(",")
    if "," in gateway:
        raise Invalid(f"route {text!r}: no metric; of two networks with the same route the one with the gateway leads")
    if not destination or not gateway:
        raise Invalid(f"route {text!r}: write DESTINATION,GATEWAY, as in 10.9.0.0/16,10.7.0.5")
    return destination, gateway


# Signals, times


SIGNALS = {
    "HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "BUS": 7, "FPE": 8, "KILL": 9, "USR1": 10,
    "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16, "CHLD": 17, "CONT": 18, "STOP": 19,
    "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "XCPU": 24, "XFSZ": 25, "VTALRM": 26, "PROF": 27, "WINCH": 28,
    "IO": 29, "PWR": 30, "SYS": 31,
}  # fmt: skip
"""Linux's numbers; the signal module would cost an import of enum."""


def read_signal(text: str) -> int:
    """TERM, SIGTERM, sigterm or 15."""
    if text.isdecimal():
        return int(text)
    number = SIGNALS.get(text.upper().removeprefix("SIG"))
    if number is None:
        raise Invalid(f"signal: {text!r} is none; write TERM, SIGTERM or 15")
    return number


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def read_time(what: str, text: str, *, now: float) -> float:
    """Seconds since the epoch: from a number, from `10m` or `1h30m` (ago), or from 2026-01-31T12:00:00[Z]."""
    try:
        return float(text)
    except ValueError:
        pass
    ago = _duration(text)
    if ago is not None:
        return now - ago
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise Invalid(f"{what}: {text!r} is no time; write 10m (ago), 2026-01-31T12:00:00 or seconds") from None


def _duration(text: str) -> float | None:
    total, number = 0.0, ""
    for letter in text:
        if letter.isdecimal() or letter == ".":
            number += letter
            continue
        if letter not in _UNITS or number in ("", "."):
            return None
        total += float(number) * _UNITS[letter]
        number = ""
    return None if number or not text else total
