"""Which answers are believed."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.dhcp import client, message
from weft.dhcp.client import Grant, Refusal, discover, identity, read_offer, read_reply
from weft.dhcp.message import Message, Type

MAC, SERVER_MAC = b"\2\x44\0\0\0\1", b"\2\0\0\0\0\x99"
SERVER, ROUTER, ADDRESS = (IPv4Address(f"192.168.50.{n}") for n in (2, 1, 130))
WHO = identity("a1b2c3d4" * 8, MAC, "web")
ASKED = discover(WHO, 7)


def seconds(number: int) -> bytes:
    return number.to_bytes(4, "big")


def said(kind: Type = Type.OFFER, **changes: object) -> Message:
    """By a server of good manners; `changes` of options by name (None: without), or of the message's own fields."""
    options = {
        message.TYPE: bytes((kind,)),
        message.SERVER: SERVER.packed,
        message.MASK: IPv4Address("255.255.255.0").packed,
        message.ROUTER: ROUTER.packed,
        message.LEASE_SECONDS: seconds(1000),
    }
    plain = {}
    for name, value in changes.items():
        if name.isupper():
            options[getattr(message, name)] = value  # type: ignore[assignment]
        else:
            plain[name] = value
    kept = {code: value for code, value in options.items() if value is not None}
    known = {"op": message.REPLY, "xid": 7, "mac": MAC, "yours": ADDRESS, "options": kept, **plain}
    return Message(**known)  # type: ignore[arg-type]


def test_an_offer_is_read() -> None:
    assert read_offer(said(), SERVER_MAC, ASKED) == Grant(
        server=SERVER,
        server_mac=SERVER_MAC,
        interface=IPv4Interface("192.168.50.130/24"),
        address=ADDRESS,
        router=ROUTER,
        seconds=1000,
        renew=500,
        rebind=875,
    )


IGNORED = {
    "another question's": {"xid": 8},
    "somebody else's": {"mac": b"\2\x44\0\0\0\2"},
    "a client's": {"op": message.REQUEST},
    "another client's by identifier": {"CLIENT": b"\xffnot"},
    "no server": {"SERVER": None},
    "half a server": {"SERVER": b"\xc0\xa8"},
    "a server nowhere": {"SERVER": bytes(4)},
    "no lease": {"LEASE_SECONDS": None},
    "a lease of no time": {"LEASE_SECONDS": bytes(4)},
    "no address": {"yours": IPv4Address(0)},
    "a multicast address": {"yours": IPv4Address("224.0.0.9")},
    "loopback": {"yours": IPv4Address("127.0.0.1")},
    "everybody's": {"yours": IPv4Address("255.255.255.255")},
    "the broadcast address": {"yours": IPv4Address("192.168.50.255")},
    "the subnet's own address": {"yours": IPv4Address("192.168.50.0")},
    "the server's own address": {"yours": SERVER},
    "no kind of message": {"TYPE": None},
    "two kinds of message": {"TYPE": b"\2\2"},
}


@pytest.mark.parametrize("name", IGNORED)
def test_an_answer_that_is_wrong_is_none(name: str) -> None:
    assert read_offer(said(**IGNORED[name]), SERVER_MAC, ASKED) is None
    acknowledged = said(**{"TYPE": bytes((Type.ACK,)), **IGNORED[name]})
    assert read_reply(acknowledged, SERVER_MAC, ASKED, address=ADDRESS, server=SERVER) is None


def test_a_router_that_cannot_be_is_none() -> None:
    for router in (ADDRESS, IPv4Address("10.0.0.1"), IPv4Address(0)):
        offer = read_offer(said(ROUTER=router.packed), SERVER_MAC, ASKED)
        assert offer is not None
        assert offer.router is None


def test_of_several_routers_the_first_is_taken() -> None:
    offer = read_offer(said(ROUTER=ROUTER.packed + SERVER.packed), SERVER_MAC, ASKED)
    assert offer is not None
    assert offer.router == ROUTER


@pytest.mark.parametrize("mask", [None, bytes(4), b"\xff\0\xff\0", b"\xff\xff"])
def test_a_mask_that_is_none_says_nothing_of_the_subnet(mask: bytes | None) -> None:
    offer = read_offer(said(MASK=mask), SERVER_MAC, ASKED)
    assert offer is not None
    assert offer.interface is None


@pytest.mark.parametrize(
    ("t1", "t2", "expected"),
    [
        (100, 200, (100, 200)),
        (None, 200, (200, 200)),
        (300, 200, (200, 200)),
        (100, 5000, (100, 875)),
        (0, 0, (500, 875)),
        (900, None, (500, 875)),
    ],
)
def test_times_out_of_order_are_worked_out(t1: int | None, t2: int | None, expected: tuple[int, int]) -> None:
    times = {name: None if time is None else seconds(time) for name, time in (("T1", t1), ("T2", t2))}
    offer = read_offer(said(**times), SERVER_MAC, ASKED)
    assert offer is not None
    assert (offer.renew, offer.rebind) == expected


def test_for_ever_is_a_time() -> None:
    offer = read_offer(said(LEASE_SECONDS=b"\xff" * 4), SERVER_MAC, ASKED)
    assert offer is not None
    assert offer.renew < offer.rebind < offer.seconds == 315_360_000


def test_a_reply_is_of_the_server_and_for_the_address_that_was_asked_for() -> None:
    def read(answer: Message, server: IPv4Address | None = SERVER) -> object:
        return read_reply(answer, SERVER_MAC, ASKED, address=ADDRESS, server=server)

    assert isinstance(read(said(Type.ACK)), Grant)
    assert read(said(Type.OFFER)) is None
    assert read(said(Type.ACK, yours=ADDRESS + 1)) is None
    assert read(said(Type.ACK), ROUTER) is None
    assert isinstance(read(said(Type.ACK), None), Grant)
    assert read(said(Type.NAK, yours=IPv4Address(0), TEXT=b"wrong\nnet")) == Refusal(SERVER, "wrong?net")
    assert read(said(Type.NAK, yours=IPv4Address(0)), ROUTER) is None, "another server's"


@given(st.dictionaries(st.integers(1, 254), st.binary(max_size=20)), st.integers(0, 2**32 - 1))
def test_whatever_a_server_says_what_is_believed_makes_sense(options: dict[int, bytes], address: int) -> None:
    answer = replace(said(), yours=IPv4Address(address))
    answer = replace(answer, options={**answer.options, **options, message.TYPE: bytes((Type.OFFER,))})
    offer = read_offer(answer, SERVER_MAC, ASKED)
    if offer is not None:
        assert 0 < offer.renew <= offer.rebind <= offer.seconds
        assert offer.interface is None or offer.interface.ip == offer.address
        assert offer.router != offer.address


def test_what_a_client_says() -> None:
    asked = client.request(WHO, 9, ADDRESS, SERVER)
    assert asked.options[message.ADDRESS] == ADDRESS.packed
    assert asked.options[message.SERVER] == SERVER.packed
    assert asked.options[message.HOSTNAME] == b"web"
    assert asked.flags == message.BROADCAST
    renewed = client.renew(WHO, 9, ADDRESS)
    assert (renewed.client, renewed.flags) == (ADDRESS, 0)
    assert not {message.ADDRESS, message.SERVER} & renewed.options.keys(), "RFC 2131, 4.3.2"
    released = client.release(WHO, 9, ADDRESS, SERVER)
    assert released.client == ADDRESS
    assert released.options.keys() == {message.TYPE, message.CLIENT, message.SERVER}
    declined = client.decline(WHO, 9, ADDRESS, SERVER)
    assert (declined.client, declined.options[message.ADDRESS]) == (IPv4Address(0), ADDRESS.packed)


def test_each_container_is_another_client() -> None:
    other = identity("a1b2c3d5" * 8, MAC, "web")
    assert len(WHO.client) == 23
    assert WHO.client != other.client
