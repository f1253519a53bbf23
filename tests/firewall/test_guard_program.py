"""The kernel itself runs the programs on frames that a test made, and nobody sends: BPF_PROG_TEST_RUN.

Their judgement is compared with the table of docs/spoofing.md, row by row, and with `may_leave`, which says the same in
Python, on frames that Hypothesis damages.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.kinds import needs_programs
from tests.system.forgeries import (
    ETH_P_8021AD,
    ETH_P_8021Q,
    ETH_P_ARP,
    ETH_P_EXPERIMENT,
    UNSPECIFIED,
    Station,
    advertisement,
    arp,
    echo6,
    frame,
    icmp6,
    mac,
    offer,
    redirect,
    router_advertisement,
    solicitation,
    udp6,
)
from tests.system.frames import ETH_P_IP, ETH_P_IPV6, udp4
from weft.firewall.guard_program import (
    DROP,
    GO_ON,
    HANDED_OVER,
    NEIGHBOUR,
    Shape,
    guard_program,
    guard_value,
    neighbour_key,
    neighbour_value,
    port_key,
    shape_of,
    value_size,
)
from weft.kernel import programs
from weft.plan import Guard

ME = Station("02:42:0a:01:00:0b", "10.1.0.11", "fd01::11")
OTHER = Station("02:42:0a:01:00:0c", "10.1.0.12", "fd01::12")
GATEWAY, ELSEWHERE = "02:77:00:00:00:01", "02:42:0a:01:00:0d"
SECOND4, SECOND6 = "10.2.0.200", "fe80::200"

GUARDS = {
    name: Guard("wv-1", ME.mac, tuple(map(ip_address, own)))
    for name, own in {
        "both": (ME.ip, ME.ip6),
        "IPv4": (ME.ip,),
        "IPv6": (ME.ip6,),
        "several": (SECOND6, SECOND4, ME.ip, ME.ip6),
    }.items()
}

_LEAST, _LEAST6 = 34, 54
"""Bytes: on shorter frames the kernel tests no program. On wires it runs them (tests/system/test_spoofing.py)."""
_LOOPBACK = 1
"""The index of the link that frames in tests come by."""
_TEST_RUN = 10
_RUN = struct.Struct("=IIIIQQII")


_BRIDGE = 7
_PORT_OF_OTHER = 9


class Loaded:
    """A guard's program, which knows OTHER for a neighbour and GATEWAY for the host; the kernel's verdict on frames."""

    def __init__(self, guard: Guard, *, bridge: int = _BRIDGE) -> None:
        shape = shape_of(guard)
        self._values = programs.make_table(4, value_size(shape), "test")
        self._neighbours = programs.make_table(*NEIGHBOUR, "test")
        programs.write_value(self._values, port_key(_LOOPBACK), guard_value(guard, bridge))
        for key, value in (
            (neighbour_key(_BRIDGE, OTHER.mac), neighbour_value(_PORT_OF_OTHER)),
            (neighbour_key(_BRIDGE, GATEWAY), neighbour_value(_BRIDGE, host=True)),
            (neighbour_key(_BRIDGE + 1, ELSEWHERE), neighbour_value(_PORT_OF_OTHER)),
        ):
            programs.write_value(self._neighbours, key, value)
        code = guard_program(shape, self._values.descriptor, self._neighbours.descriptor)
        self._program = programs.load_classifier(code, "test")
        self._libc = ctypes.CDLL(None, use_errno=True)

    def passes(self, given: bytes) -> bool:
        return self.verdict(given) != DROP

    def verdict(self, given: bytes) -> int:
        data = ctypes.create_string_buffer(given, len(given))
        attributes = ctypes.create_string_buffer(
            _RUN.pack(self._program, 0, len(given), 0, ctypes.addressof(data), 0, 1, 0), 128
        )
        if self._libc.syscall(programs.NUMBER, _TEST_RUN, attributes, 128) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        verdict = struct.unpack_from("=i", attributes.raw, 4)[0]
        assert verdict in (DROP, GO_ON, HANDED_OVER)
        return int(verdict)

    def close(self) -> None:
        os.close(self._program)
        programs.close([self._values, self._neighbours])


@pytest.fixture(scope="module")
def loaded() -> Iterator[dict[str, Loaded]]:
    needs_programs()
    loaded = {name: Loaded(guard) for name, guard in GUARDS.items()}
    yield loaded
    for each in loaded.values():
        each.close()


def ip4(payload: bytes) -> bytes:
    return frame(OTHER.mac, ME.mac, ETH_P_IP, payload)


def ip6(payload: bytes, source: str = ME.mac) -> bytes:
    return frame(OTHER.mac, source, ETH_P_IPV6, payload)


def packet6(following: int, payload: bytes, source: str = ME.ip6) -> bytes:
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, OTHER.ip6)
    return ip6(struct.pack(">IHBB", 6 << 28, len(payload), following, 64) + ends + payload)


def with_options4(packet: bytes, words: int) -> bytes:
    return bytes((0x45 + words,)) + packet[1:20] + bytes(4 * words) + packet[20:]


def as_fragment4(packet: bytes, offset: int) -> bytes:
    return packet[:6] + struct.pack(">H", offset) + packet[8:]


def extension(following: int, words: int = 0) -> bytes:
    return bytes((following, words)) + bytes(6 + 8 * words)


def fragment6(following: int, offset: int) -> bytes:
    return struct.pack(">BBHI", following, 0, offset << 3 | 1, 7)


DHCP6 = struct.pack(">4H", 547, 546, 8, 0)
HOP, ROUTING, FRAGMENT, AH, DESTINATION = 0, 43, 44, 51, 60
UDP, ICMP6, TCP, NONE = 17, 58, 6, 59

TRUTHS = {
    "IPv4": ip4(udp4(ME.ip, OTHER.ip, 80)),
    "IPv4: to a DHCP server": ip4(udp4(ME.ip, OTHER.ip, 67)),
    "IPv4: port 546, which is DHCPv6's": ip4(udp4(ME.ip, OTHER.ip, 546)),
    "IPv4: options": ip4(with_options4(udp4(ME.ip, OTHER.ip, 80), 3)),
    "IPv4: no datagram, with what would be port 68": ip4(
        udp4(ME.ip, OTHER.ip, 68)[:9] + b"\x06" + udp4(ME.ip, OTHER.ip, 68)[10:]
    ),
    "IPv4: a later fragment": ip4(as_fragment4(udp4(ME.ip, OTHER.ip, 68), 100)),
    "IPv4: the first of several": ip4(as_fragment4(udp4(ME.ip, OTHER.ip, 80), 0x2000)),
    "IPv4: the shortest": ip4(udp4(ME.ip, OTHER.ip, 80, b""))[:42],
    "IPv6": ip6(udp6(ME.ip6, OTHER.ip6, 9, 80)),
    "IPv6: TCP": packet6(TCP, bytes(20)),
    "IPv6: echo": ip6(echo6(ME.ip6, OTHER.ip6)),
    "IPv6: behind headers": packet6(HOP, extension(DESTINATION) + extension(UDP, 1) + struct.pack(">4H", 9, 80, 8, 0)),
    "IPv6: authenticated": packet6(AH, bytes((UDP, 4)) + bytes(22) + struct.pack(">4H", 9, 80, 8, 0)),
    "IPv6: nothing within": packet6(NONE, b""),
    "IPv6: a later fragment": packet6(FRAGMENT, fragment6(ICMP6, 100) + bytes(40)),
    "ARP: asks": frame(OTHER.mac, ME.mac, ETH_P_ARP, arp(ME.mac, ME.ip, OTHER, reply=False)),
    "ARP: answers": frame(OTHER.mac, ME.mac, ETH_P_ARP, arp(ME.mac, ME.ip, OTHER)),
    "NDP: solicits": ip6(solicitation(ME.ip6, OTHER.ip6, ME.mac, OTHER.ip6)),
    "NDP: advertises": ip6(advertisement(ME.ip6, ME.ip6, ME.mac, OTHER.ip6)),
}

LIES = {
    "IPv4: another's address": ip4(udp4(OTHER.ip, OTHER.ip, 80)),
    "IPv4: no address": ip4(udp4("0.0.0.0", OTHER.ip, 80)),
    "IPv4: another's MAC": frame(OTHER.mac, OTHER.mac, ETH_P_IP, udp4(ME.ip, OTHER.ip, 80)),
    "IPv4: another's MAC at its end": frame(OTHER.mac, ME.mac[:-2] + "ff", ETH_P_IP, udp4(ME.ip, OTHER.ip, 80)),
    "IPv4: of another version": ip4(b"\x65" + udp4(ME.ip, OTHER.ip, 80)[1:]),
    "IPv4: of a header too short": ip4(b"\x44" + udp4(ME.ip, OTHER.ip, 80)[1:]),
    "IPv4: a DHCP answer": ip4(offer(ME.ip, OTHER.ip, "10.9.9.9")),
    "IPv4: a DHCP answer behind options": ip4(with_options4(udp4(ME.ip, OTHER.ip, 68), 10)),
    "IPv4: a DHCP answer's first fragment": ip4(as_fragment4(udp4(ME.ip, OTHER.ip, 68), 0x2000)),
    "IPv4: a datagram cut before its port": ip4(udp4(ME.ip, OTHER.ip, 80))[:36],
    "IPv4: the same behind options": ip4(with_options4(udp4(ME.ip, OTHER.ip, 80), 2))[:44],
    "IPv6: another's address": ip6(udp6(OTHER.ip6, OTHER.ip6, 9, 80)),
    "IPv6: one that ends otherwise": ip6(udp6("fd01::1:11", OTHER.ip6, 9, 80)),
    "IPv6: no address": ip6(udp6(UNSPECIFIED, OTHER.ip6, 9, 80)),
    "IPv6: another's MAC": ip6(udp6(ME.ip6, OTHER.ip6, 9, 80), OTHER.mac),
    "IPv6: of another version": ip6(b"\x45" + udp6(ME.ip6, OTHER.ip6, 9, 80)[1:]),
    "IPv6: a DHCPv6 answer": ip6(udp6(ME.ip6, OTHER.ip6, 547, 546)),
    "IPv6: to port 68": ip6(udp6(ME.ip6, OTHER.ip6, 547, 68)),
    "IPv6: a DHCPv6 answer behind headers": packet6(HOP, extension(ROUTING, 2) + extension(UDP) + DHCP6),
    "IPv6: an authenticated DHCPv6 answer": packet6(AH, bytes((UDP, 1)) + bytes(10) + DHCP6),
    "IPv6: a DHCPv6 answer's first fragment": packet6(FRAGMENT, fragment6(UDP, 0) + DHCP6),
    "IPv6: more headers than are followed": packet6(HOP, extension(DESTINATION) * 6 + extension(UDP) + DHCP6),
    "IPv6: a header that leads beyond the frame": packet6(HOP, extension(UDP)[:1] + b"\xff" + bytes(6)),
    "IPv6: a header that is not there": packet6(HOP, b"")[:54],
    "IPv6: a later fragment of headers": packet6(FRAGMENT, fragment6(DESTINATION, 100) + bytes(40)),
    "ARP: another's address": frame(OTHER.mac, ME.mac, ETH_P_ARP, arp(ME.mac, OTHER.ip, OTHER)),
    "ARP: another's MAC within": frame(OTHER.mac, ME.mac, ETH_P_ARP, arp(OTHER.mac, ME.ip, OTHER)),
    "ARP: another's MAC without": frame(OTHER.mac, OTHER.mac, ETH_P_ARP, arp(ME.mac, ME.ip, OTHER)),
    "ARP: of other hardware": frame(OTHER.mac, ME.mac, ETH_P_ARP, arp(ME.mac, ME.ip, OTHER, hardware=6)),
    "ARP: of long addresses": frame(
        OTHER.mac, ME.mac, ETH_P_ARP, b"\0\x01\x08\0\x06\x10" + arp(ME.mac, ME.ip, OTHER)[6:]
    ),
    "ARP: cut short": frame(OTHER.mac, ME.mac, ETH_P_ARP, arp(ME.mac, ME.ip, OTHER))[:41],
    "NDP: solicits from no address": ip6(solicitation(UNSPECIFIED, ME.ip6, ME.mac, OTHER.ip6)),
    "NDP: advertises another's address": ip6(advertisement(ME.ip6, OTHER.ip6, ME.mac, OTHER.ip6)),
    "NDP: advertises it from there": ip6(advertisement(OTHER.ip6, OTHER.ip6, ME.mac, OTHER.ip6)),
    "NDP: advertises its own, cut short": ip6(advertisement(ME.ip6, ME.ip6, ME.mac, OTHER.ip6))[:77],
    "NDP: advertises in fragments": ip6(advertisement(ME.ip6, ME.ip6, ME.mac, OTHER.ip6, fragment_at=8))[:70],
    "NDP: a router": ip6(router_advertisement(ME.ip6, OTHER.ip6)),
    "NDP: a router behind options": ip6(router_advertisement(ME.ip6, OTHER.ip6, options_before=True)),
    "NDP: a router in fragments": ip6(icmp6(ME.ip6, OTHER.ip6, 134, bytes(12), fragment_at=8)),
    "NDP: redirects": ip6(redirect(ME.ip6, OTHER.ip6, ME.ip6, "2001:db8::7")),
    "NDP: asks for routers": ip6(icmp6(ME.ip6, OTHER.ip6, 133, bytes(4))),
    **{f"MLD: type {kind}": ip6(icmp6(ME.ip6, OTHER.ip6, kind, bytes(20))) for kind in (130, 131, 132, 143)},
    "MLD: as it is sent": packet6(HOP, extension(ICMP6) + struct.pack(">BBH", 143, 0, 0) + bytes(24)),
    "ICMPv6 without a type": packet6(ICMP6, b"")[:54],
    "behind a VLAN tag": frame(OTHER.mac, ME.mac, ETH_P_IP, udp4(ME.ip, OTHER.ip, 80), tags=(ETH_P_8021Q,)),
    "behind two": frame(OTHER.mac, ME.mac, ETH_P_IP, udp4(ME.ip, OTHER.ip, 80), tags=(ETH_P_8021AD, ETH_P_8021Q)),
    "another protocol": frame(OTHER.mac, ME.mac, ETH_P_EXPERIMENT, bytes(60)),
    "a length in place of a protocol": frame(OTHER.mac, ME.mac, 46, bytes(60)),
}


@pytest.mark.parametrize("truth", TRUTHS)
@pytest.mark.parametrize("name", ["both", "several"])
def test_the_truth_passes(loaded: dict[str, Loaded], name: str, truth: str) -> None:
    assert loaded[name].passes(TRUTHS[truth])


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("name", GUARDS)
def test_lies_do_not(loaded: dict[str, Loaded], name: str, lie: str) -> None:
    assert not loaded[name].passes(LIES[lie])


def test_further_addresses_are_its_own_too(loaded: dict[str, Loaded]) -> None:
    told = {
        "IPv4": ip4(udp4(SECOND4, OTHER.ip, 80)),
        "IPv6": ip6(udp6(SECOND6, OTHER.ip6, 9, 80)),
        "ARP": frame(OTHER.mac, ME.mac, ETH_P_ARP, arp(ME.mac, SECOND4, OTHER)),
        "NDP": ip6(advertisement(ME.ip6, SECOND6, ME.mac, OTHER.ip6)),
    }
    for what, each in told.items():
        assert loaded["several"].passes(each), what
        assert not loaded["both"].passes(each), what


def test_a_family_without_addresses_sends_nothing(loaded: dict[str, Loaded]) -> None:
    for what, truth in TRUTHS.items():
        family = "IPv4" if what.startswith(("IPv4", "ARP")) else "IPv6"
        assert loaded[family].passes(truth), what
        assert not loaded["IPv6" if family == "IPv4" else "IPv4"].passes(truth), what


def test_the_kernel_names_it_as_is_foretold(loaded: dict[str, Loaded]) -> None:
    for name, guard in GUARDS.items():
        with open(f"/proc/self/fdinfo/{loaded[name]._program}") as shown:
            (tag,) = (line.split()[1] for line in shown if line.startswith("prog_tag"))
        assert bytes.fromhex(tag) in programs.tags(guard_program(shape_of(guard), 0, 0))
    assert programs.tags(guard_program(Shape(1, 1), 0, 0)) != programs.tags(guard_program(Shape(1, 2), 0, 0))


def to(destination: str, given: bytes) -> bytes:
    return mac(destination) + given[6:]


HANDED = ("IPv4", "IPv4: a later fragment", "IPv4: the first of several", "IPv6", "IPv6: TCP")


@pytest.mark.parametrize("truth", TRUTHS)
def test_what_is_for_a_neighbour_is_handed_over(loaded: dict[str, Loaded], truth: str) -> None:
    """But what takes a closer look, and what the bridge learns from."""
    verdict = loaded["both"].verdict(TRUTHS[truth])
    if truth in HANDED:
        assert verdict == HANDED_OVER
    if truth.startswith("ARP") or "echo" in truth or "advertise" in truth or "behind" in truth:
        assert verdict == GO_ON


@pytest.mark.parametrize("truth", HANDED)
def test_what_is_for_others_is_left_to_the_bridge(loaded: dict[str, Loaded], truth: str) -> None:
    given = TRUTHS[truth]
    assert loaded["both"].verdict(to(GATEWAY, given)) == HANDED_OVER
    for somebody in (ELSEWHERE, "02:00:00:00:00:99", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:fb"):
        assert loaded["both"].verdict(to(somebody, given)) == GO_ON


def test_without_a_bridge_nothing_is_handed_over() -> None:
    needs_programs()
    alone = Loaded(GUARDS["both"], bridge=0)
    for truth in HANDED:
        assert alone.verdict(TRUTHS[truth]) == GO_ON
    alone.close()


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_handed_to_nobody(loaded: dict[str, Loaded], lie: str) -> None:
    for destination in (OTHER.mac, GATEWAY):
        assert loaded["both"].verdict(to(destination, LIES[lie])) == DROP


def test_many_addresses_are_not_too_many_for_the_kernel() -> None:
    needs_programs()
    own = [ip_address(f"10.{n}.0.1") for n in range(64)] + [ip_address(f"fd00::{n}:1") for n in range(64)]
    crowd = Loaded(Guard("wv-1", ME.mac, tuple(own)))
    assert crowd.passes(ip4(udp4("10.63.0.1", OTHER.ip, 80)))
    assert crowd.passes(ip6(advertisement("fd00::7:1", "fd00::63:1", ME.mac, OTHER.ip6)))
    assert not crowd.passes(ip4(udp4("10.64.0.1", OTHER.ip, 80)))
    crowd.close()


# The same in Python


def may_leave(given: bytes, guard: Guard) -> bool:
    kind, source = given[12:14], given[6:12]
    own = [address.packed for address in guard.addresses]
    if source != mac(guard.mac) or len(given) < 34:
        return False
    if kind == b"\x08\x06":
        return (
            len(given) >= 42
            and given[14:20] == bytes.fromhex("000108000604")
            and given[22:28] == source
            and given[28:32] in own
        )
    if kind == b"\x08\x00":
        return given[26:30] in own and _may4(given[14:])
    if kind == b"\x86\xdd":
        return len(given) >= 54 and given[22:38] in own and given[14] >> 4 == 6 and _may6(given[20], given[54:], own)
    return False


def _may4(packet: bytes) -> bool:
    length = 4 * (packet[0] & 15)
    if packet[0] >> 4 != 4 or length < 20:
        return False
    if packet[9] != UDP or int.from_bytes(packet[6:8], "big") & 0x1FFF:
        return True
    port = packet[length + 2 : length + 4]
    return len(port) == 2 and int.from_bytes(port, "big") != 68


def _may6(kind: int, rest: bytes, own: list[bytes]) -> bool:
    headers = (HOP, ROUTING, FRAGMENT, AH, DESTINATION)
    for _ in range(6):
        if kind == UDP:
            return len(rest) >= 4 and int.from_bytes(rest[2:4], "big") not in (68, 546)
        if kind == ICMP6:
            refused = not rest or rest[0] in (130, 131, 132, 133, 134, 137, 143)
            return not refused and (rest[0] != 136 or rest[8:24] in own)
        if kind not in headers:
            return True
        if len(rest) < (4 if kind == FRAGMENT else 2):
            return False
        if kind == FRAGMENT and int.from_bytes(rest[2:4], "big") & 0xFFF8:
            return rest[0] not in headers
        size = 8 if kind == FRAGMENT else 4 * (rest[1] + 2) if kind == AH else 8 * (rest[1] + 1)
        kind, rest = rest[0], rest[size:]
    return False


def test_the_model_agrees_with_the_table() -> None:
    for what, each in {**TRUTHS, **LIES}.items():
        assert may_leave(each, GUARDS["both"]) == (what in TRUTHS), what


OF_NOTE = (*range(6), 6, 11, 17, 43, 44, 51, 58, 59, 60, 68, 128, *range(130, 138), 143, 0x45, 0x46, 0x60, 0xFF)


@settings(max_examples=1500, deadline=None)
@given(
    base=st.sampled_from([*TRUTHS.values(), *LIES.values()]),
    changes=st.lists(
        st.tuples(st.integers(0, 110), st.one_of(st.sampled_from(OF_NOTE), st.integers(0, 255))), max_size=4
    ),
    cut=st.one_of(st.none(), st.integers(_LEAST, 110)),
    name=st.sampled_from([*GUARDS]),
)
def test_damaged_frames_are_judged_as_the_model_does(
    loaded: dict[str, Loaded], base: bytes, changes: list[tuple[int, int]], cut: int | None, name: str
) -> None:
    damaged = bytearray(base[:cut])
    for place, value in changes:
        if place < len(damaged):
            damaged[place] = value
    assume(len(damaged) >= _LEAST6 or damaged[12:14] != b"\x86\xdd")
    assert loaded[name].passes(bytes(damaged)) == may_leave(bytes(damaged), GUARDS[name])


@settings(max_examples=1000, deadline=None)
@given(
    chain=st.lists(
        st.tuples(st.sampled_from((HOP, ROUTING, FRAGMENT, AH, DESTINATION)), st.integers(0, 3)), max_size=7
    ),
    last=st.sampled_from((UDP, ICMP6, TCP, NONE)),
    body=st.binary(max_size=40),
    kind=st.sampled_from((68, 80, 546, 128, 133, 134, 135, 136, 137, 143)),
    later=st.booleans(),
    cut=st.one_of(st.none(), st.integers(54, 140)),
)
def test_chains_of_headers_are_judged_as_the_model_does(
    loaded: dict[str, Loaded],
    chain: list[tuple[int, int]],
    last: int,
    body: bytes,
    kind: int,
    later: bool,
    cut: int | None,
) -> None:
    kinds = [each for each, _ in chain] + [last]
    payload = b""
    for (each, words), following in zip(chain, kinds[1:], strict=True):
        if each == FRAGMENT:
            payload += fragment6(following, 5 if later else 0)
        elif each == AH:
            payload += bytes((following, words)) + bytes(4 * (words + 2) - 2)
        else:
            payload += extension(following, words)
    payload += (struct.pack(">HH", 9, kind) if last == UDP else bytes((kind & 255,))) + body
    told = packet6(kinds[0], payload)[:cut]
    assert loaded["both"].passes(told) == may_leave(told, GUARDS["both"])
