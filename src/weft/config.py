"""One frozen Config: defaults, then the configuration file, then the environment, then the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from ipaddress import IPv4Network

from weft.errors import Invalid, NotFound
from weft.fields import Address, read_address, read_choice, read_int, read_network

# Docker's default pools, carved finer and with 10/8 behind them: 31 networks are soon used up.
DEFAULT_POOLS: tuple[tuple[IPv4Network, int], ...] = (
    *((IPv4Network(f"172.{n}.0.0/16"), 16) for n in range(18, 32)),
    (IPv4Network("192.168.0.0/16"), 20),
    (IPv4Network("10.128.0.0/9"), 20),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every setting has one name: `audit_seconds` here is audit-seconds in the file, WEFT_AUDIT_SECONDS in the
    environment and --audit-seconds on the command line."""

    state_dir: str = "/var/lib/weft"
    run_dir: str = "/run/weft"
    socket: str = ""
    """Empty: weft.sock in run_dir."""
    tcp: str = ""
    """ADDRESS:PORT at which the API listens, too; nowhere if empty. Needs all three of what follows."""
    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    """Whose certificates are let in."""
    log_level: str = "info"
    log_format: str = "text"
    """text, or json: one object a line."""
    address_pools: tuple[tuple[IPv4Network, int], ...] = DEFAULT_POOLS
    """Base and the prefix length of the subnets cut from it, in order of use."""
    host_binding: Address | None = None
    """Where ports are published that name no host address; None: everywhere."""
    mtu: int = 1500
    network_options: tuple[tuple[str, str, str], ...] = ()
    """(driver, option, value) for networks that do not say otherwise."""
    dns: tuple[Address, ...] = ()
    """Upstream servers instead of those in the host's resolv.conf."""
    resolv_conf: str = "/etc/resolv.conf"
    forward_rules: str = "/etc/weft/forward.nft"
    """nft rules that decide on forwarded packets before weft does, one a line; absent means none."""
    accept_mark: tuple[int, int] | None = None
    """(mark, mask): packets that somebody else's rules have marked so are let through to containers."""
    guard: str = "programs"
    """What keeps containers to their own addresses: rules, or programs, where the kernel takes them (else rules)."""
    spares: int = 3
    """How many namespaces are made ahead, so that a join need not wait for one; 0 for none."""
    audit_seconds: int = 30
    """How often the kernel is compared with the records even if nothing was noticed."""

    @property
    def socket_path(self) -> str:
        return self.socket or f"{self.run_dir}/weft.sock"


def configure(*sources: tuple[str, Mapping[str, object]]) -> Config:
    """A Config from named sources, the later ones first in rank.

    A source is what it is called ("/etc/weft/weft.toml") and its values by field name; values are text, or the
    numbers and lists that TOML has. Raises Invalid, naming source and setting.
    """
    chosen: dict[str, object] = {}
    for where, values in sources:
        for name, value in values.items():
            reader = _READERS.get(name)
            if reader is None:
                raise NotFound.named(
                    f"setting in {where}", name.replace("_", "-"), [n.replace("_", "-") for n in _READERS]
                )
            chosen[name] = reader(f"{where}: {name.replace('_', '-')}", value)
    return Config(**chosen)  # type: ignore[arg-type]  # each reader returns its field's type


def _text(field: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise Invalid(f"{field}: {value!r} is not text")
    return value


def _path(field: str, value: object) -> str:
    path = _text(field, value)
    if not path.startswith("/"):
        raise Invalid(f"{field}: {path!r} is not an absolute path")
    return path.rstrip("/") or "/"


def _place(field: str, value: object) -> str:
    text = _text(field, value)
    host, colon, port = text.rpartition(":")
    if not colon:
        raise Invalid(f"{field}: {text!r} is not ADDRESS:PORT")
    read_address(field, host.strip("[]"))
    read_int(f"{field}: port", port, low=1, high=65535)
    return text


def _list(field: str, value: object) -> list[str]:
    items = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(items, list):
        raise Invalid(f"{field}: {value!r} is not a list")
    return [_text(field, item) for item in items]


def _pools(field: str, value: object) -> tuple[tuple[IPv4Network, int], ...]:
    """Each "172.18.0.0/16" (one subnet) or "10.0.0.0/8:24" (cut in /24s)."""
    pools = []
    for item in _list(field, value):
        base, _, size = item.partition(":")
        network = read_network(field, base)
        if not isinstance(network, IPv4Network):
            raise Invalid(f"{field}: {base} is not IPv4; IPv6 subnets come from a prefix of their own")
        pools.append((network, read_int(field, size or str(network.prefixlen), low=network.prefixlen, high=30)))
    return tuple(pools)


def _options(field: str, value: object) -> tuple[tuple[str, str, str], ...]:
    """Each "bridge:icc=false"."""
    options = []
    for item in _list(field, value):
        driver, colon, rest = item.partition(":")
        name, equals, setting = rest.partition("=")
        if not (driver and colon and name and equals):
            raise Invalid(f"{field}: {item!r} is not DRIVER:OPTION=VALUE, such as bridge:icc=false")
        options.append((driver, name, setting))
    return tuple(options)


def _mark(field: str, value: object) -> tuple[int, int]:
    """ "0x2", or "0x2/0xff" where only some bits count."""
    mark, slash, mask = str(value).partition("/")
    try:
        read = int(mark, 0), int(mask, 0) if slash else 0xFFFFFFFF
    except ValueError:
        raise Invalid(f"{field}: {value!r} is not MARK or MARK/MASK, such as 0x2/0xff") from None
    if not 0 < read[0] <= read[1] <= 0xFFFFFFFF or read[0] & ~read[1]:
        raise Invalid(
            f"{field}: {value!r} would never be met, or by packets without a mark; give a mark within its mask"
        )
    return read


_READERS: dict[str, Callable[[str, object], object]] = {
    "state_dir": _path,
    "run_dir": _path,
    "socket": _path,
    "tcp": _place,
    "tls_cert": _path,
    "tls_key": _path,
    "tls_ca": _path,
    "log_level": lambda f, v: read_choice(f, _text(f, v), ("debug", "info", "warning", "error")),
    "log_format": lambda f, v: read_choice(f, _text(f, v), ("text", "json")),
    "address_pools": _pools,
    "host_binding": lambda f, v: read_address(f, _text(f, v)),
    "mtu": lambda f, v: read_int(f, str(v), low=68, high=65535),
    "network_options": _options,
    "dns": lambda f, v: tuple(read_address(f, item) for item in _list(f, v)),
    "resolv_conf": _path,
    "forward_rules": _path,
    "accept_mark": _mark,
    "guard": lambda f, v: read_choice(f, _text(f, v), ("rules", "programs")),
    "spares": lambda f, v: read_int(f, str(v), low=0, high=100),
    "audit_seconds": lambda f, v: read_int(f, str(v), low=1, high=86400),
}

assert set(_READERS) == {field.name for field in fields(Config)}, "every setting has a reader"
