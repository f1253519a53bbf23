from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.system.frames import internet_checksum, udp4
from weft.dhcp.frames import claims, from_server, to_servers, who_has

MAC, OTHER = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"
ADDRESS = IPv4Address("192.168.50.130")


def answer(payload: bytes = b"offer", *, port: int = 68) -> bytes:
    """As a server sends it."""
    packet = udp4("192.168.50.1", "255.255.255.255", port, payload, source_port=67)
    return b"\xff" * 6 + OTHER + b"\x08\0" + packet


def test_a_clients_datagram_is_what_others_take_for_one() -> None:
    frame = to_servers(b"hello", MAC, source=ADDRESS, destination=IPv4Address("192.168.50.1"), next_hop=OTHER)
    ip, udp = frame[14:34], frame[34:]
    assert frame[:14] == OTHER + MAC + b"\x08\0"
    assert internet_checksum(ip) == 0
    pseudo = ip[12:20] + struct.pack("!HH", 17, len(udp))
    assert internet_checksum(pseudo + udp) == 0
    assert struct.unpack_from("!HHH", udp) == (68, 67, len(udp))


def test_who_has_no_address_asks_everybody() -> None:
    frame = to_servers(b"hello", MAC)
    assert frame[:6] == b"\xff" * 6
    assert frame[26:34] == bytes(4) + b"\xff" * 4


@given(st.binary(max_size=200))
def test_a_servers_datagram_is_read(payload: bytes) -> None:
    assert from_server(answer(payload)) == (OTHER, payload)


def test_what_the_wire_adds_is_left_out() -> None:
    assert from_server(answer() + bytes(20)) == (OTHER, b"offer")


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    claims(data, ADDRESS, MAC)
    try:
        from_server(data)
    except ValueError:
        pass


def test_what_is_not_for_clients_is_refused() -> None:
    whole = answer()
    wrong = [
        answer(port=69),
        whole[:12] + b"\x86\xdd" + whole[14:],
        whole[:20] + b"\x20\0" + whole[22:],
        whole[:30] + b"\1" + whole[31:],
        whole[:-1],
        whole[:38] + b"\0\7" + whole[40:],
    ]
    for frame in wrong:
        with pytest.raises(ValueError, match=r"."):
            from_server(frame)


def test_who_else_has_an_address() -> None:
    def said(sender: bytes, own: IPv4Address, asked: IPv4Address) -> bytes:
        body = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 2, sender, own.packed, bytes(6), asked.packed)
        return MAC + sender + b"\x08\x06" + body

    assert claims(said(OTHER, ADDRESS, IPv4Address(0)), ADDRESS, MAC)
    assert claims(who_has(ADDRESS, OTHER), ADDRESS, MAC), "somebody probes for it at the same moment"
    assert not claims(who_has(ADDRESS, MAC), ADDRESS, MAC), "our own probe"
    assert not claims(said(OTHER, ADDRESS + 1, ADDRESS), ADDRESS, MAC), "somebody looks for whoever has it"
