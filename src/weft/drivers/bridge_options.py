"""The bridge driver's options: Docker's names and short ones of our own, read once into values; see docs/bridge.md."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from weft import names
from weft.drivers import bandwidth, wires
from weft.drivers.bandwidth import NO_LIMITS, Bandwidth
from weft.drivers.driver import Advertise
from weft.drivers.spellings import by_own_names
from weft.drivers.wires import NO_WIRE, Wire
from weft.errors import Invalid
from weft.fields import read_address, read_bool, read_choice, read_int
from weft.model import IPAddress
from weft.plan import KEYWORDS

T = TypeVar("T")

Mode = Literal["nat", "nat-unprotected", "routed", "isolated"]
_MODES: tuple[Mode, ...] = ("nat", "nat-unprotected", "routed", "isolated")

_NETWORK = "com.docker.network."
_BRIDGE = f"{_NETWORK}bridge."
_DOCKERS = {
    "advertise-count": f"{_NETWORK}advertise_addr_nmsgs",
    "advertise-interval": f"{_NETWORK}advertise_addr_ms",
    "anti-spoof": "",
    "bridge": f"{_BRIDGE}name",
    "default-bridge": f"{_BRIDGE}default_bridge",
    "gateway-mode": "",
    "gateway-mode-ipv4": f"{_BRIDGE}gateway_mode_ipv4",
    "gateway-mode-ipv6": f"{_BRIDGE}gateway_mode_ipv6",
    "host-binding": f"{_BRIDGE}host_binding_ipv4",
    "icc": f"{_BRIDGE}enable_icc",
    "inhibit-ipv4": f"{_BRIDGE}inhibit_ipv4",
    "masquerade": f"{_BRIDGE}enable_ip_masquerade",
    "masquerade-ipv4": "",
    "masquerade-ipv6": "",
    "mtu": f"{_NETWORK}driver.mtu",
    "prefix": f"{_NETWORK}container_iface_prefix",
    "snat-ipv4": f"{_NETWORK}host_ipv4",
    "snat-ipv6": f"{_NETWORK}host_ipv6",
    "trusted-interfaces": f"{_BRIDGE}trusted_host_interfaces",
    **dict.fromkeys((*bandwidth.OPTIONS, *wires.OPTIONS), ""),
}
SPELLINGS = {spelling: name for name, dockers in _DOCKERS.items() for spelling in (name, dockers) if spelling}

_DEFAULT_COUNT, _DEFAULT_INTERVAL = 3, 1000
"""Docker's, where only one of the two is given."""

_LINK = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,11}")
_NO_LINKS = ("all", "default", "lo", *KEYWORDS)
"""The first two are names of the kernel's for its switches of all links; the others would be misread by nft."""


@dataclass(frozen=True, slots=True)
class FamilyOptions:
    mode: Mode = "nat"
    masquerade: bool = True
    """Whether packets leave the host under an address of the host's; not asked where they are routed."""
    source: IPAddress | None = None
    """Under which one; None: that of the interface by which they leave."""

    @property
    def rewrites(self) -> bool:
        return self.masquerade and self.mode in ("nat", "nat-unprotected")


@dataclass(frozen=True, slots=True)
class Options:
    bridge: str = ""
    """The bridge's name; empty: one that is made from the network's id."""
    mtu: int | None = None
    """None: that of the bridge, if it was there before, or else 1500."""
    icc: bool = True
    """Whether containers on the network reach each other."""
    anti_spoof: bool = True
    """Whether containers may send from their own addresses only."""
    ipv4: FamilyOptions = FamilyOptions()
    ipv6: FamilyOptions = FamilyOptions()
    inhibit_ipv4: bool = False
    """The IPv4 gateway is somebody else: the bridge has no IPv4 address."""
    host_binding: IPAddress | None = None
    """Where ports are published that name no host address; an unspecified one: everywhere. None: as the daemon says."""
    trusted: tuple[str, ...] = ()
    """Interfaces of the host from which containers are reached at their own addresses."""
    prefix: str = "eth"
    advertise: Advertise | None = None
    wire: Wire = NO_WIRE
    bandwidth: Bandwidth = NO_LIMITS
    """Of every endpoint that says nothing else."""

    def family(self, version: int) -> FamilyOptions:
        return self.ipv4 if version == 4 else self.ipv6


def read_options(raw: Mapping[str, str]) -> Options:
    """Raises Invalid, naming the option and, if it is unknown, those there are."""
    return _read(frozenset(raw.items())) if raw else _NONE


_NONE = Options()


@functools.lru_cache(maxsize=256)
def _read(raw: frozenset[tuple[str, str]]) -> Options:
    # Asked with every join, and answered the same for each on a network.
    given = by_own_names("bridge", SPELLINGS, dict(sorted(raw)))

    def read(name: str, reader: Callable[[str, str], T], *, default: T) -> T:
        return reader(f"option {name}", given[name]) if name in given else default

    read("default-bridge", read_bool, default=False)  # Docker's word for its docker0: nothing depends on it
    return Options(
        bridge=read("bridge", _read_bridge, default=""),
        mtu=read("mtu", lambda field, text: read_int(field, text, low=68, high=65535), default=None),
        icc=read("icc", read_bool, default=True),
        anti_spoof=read("anti-spoof", read_bool, default=True),
        ipv4=_read_family(4, read),
        ipv6=_read_family(6, read),
        inhibit_ipv4=read("inhibit-ipv4", read_bool, default=False),
        host_binding=read("host-binding", read_address, default=None),
        trusted=read("trusted-interfaces", _read_links, default=()),
        prefix=read("prefix", _read_prefix, default="eth"),
        advertise=_read_advertise(given),
        wire=wires.read_wire(given),
        bandwidth=bandwidth.read_bandwidth(given),
    )


def _read_family(version: int, read: Callable[..., object]) -> FamilyOptions:
    """What is said of one family goes before what is said of both."""

    def either(name: str, reader: Callable[[str, str], object], *, default: object) -> object:
        return read(f"{name}-ipv{version}", reader, default=read(name, reader, default=default))

    return FamilyOptions(
        mode=either("gateway-mode", _read_mode, default="nat"),  # type: ignore[arg-type]  # the reader's type
        masquerade=bool(either("masquerade", read_bool, default=True)),
        source=read(f"snat-ipv{version}", functools.partial(_read_source, version), default=None),  # type: ignore[arg-type]
    )


def _read_mode(field: str, text: str) -> str:
    return read_choice(field, text, _MODES)


def _read_source(version: int, field: str, text: str) -> IPAddress:
    address = read_address(field, text)
    if address.version != version:
        raise Invalid(f"{field}: {text} is not an IPv{version} address")
    if address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local:
        raise Invalid(f"{field}: nobody outside answers to {text}; give an address of this host")
    return address


def _read_links(field: str, text: str) -> tuple[str, ...]:
    """With commas, or colons as Docker has them."""
    found = [_read_link(field, name) for name in text.replace(",", ":").split(":") if name]
    return tuple(dict.fromkeys(found))


def _read_bridge(field: str, text: str) -> str:
    if names.is_ours(text):
        raise Invalid(f"{field}: names that begin with wb- or wv- are weft's own to give; {text!r} is one")
    return _read_link(field, text)


def _read_link(field: str, text: str) -> str:
    if not _LINK.fullmatch(text) or text in _NO_LINKS:
        raise Invalid(f"{field}: {text!r} is no interface's name: up to 15 of the characters a-z A-Z 0-9 _ . -")
    return text


def _read_prefix(field: str, text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise Invalid(
            f"{field}: {text!r} is not the beginning of an interface's name: a letter, then up to 11 of the "
            "characters a-z A-Z 0-9 _ -"
        )
    return text


def _read_advertise(given: Mapping[str, str]) -> Advertise | None:
    count, interval = given.get("advertise-count"), given.get("advertise-interval")
    if count is None and interval is None:
        return None
    return Advertise(
        count=_DEFAULT_COUNT if count is None else read_int("option advertise-count", count, low=0, high=3),
        interval=_DEFAULT_INTERVAL
        if interval is None
        else read_int("option advertise-interval", interval, low=100, high=2000),
    )
