from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.dns.message import AAAA, NXDOMAIN, PTR, A, labels, to_wire
from weft.dns.zone import Local, Zone

TXT, HTTPS, ANY, MX = 16, 65, 255, 15


def packed(*addresses: str) -> list[bytes]:
    return [ip_address(a).packed for a in addresses]


@pytest.fixture
def zone() -> Zone:
    zone = Zone()
    zone.set_network("n1", "blue")
    zone.set_network("n2", "My.Green")
    zone.set_network("n3", "red")
    zone.publish("n1", "e1", ["C1", "web", "0123456789ab"], packed("10.1.0.2", "fd01::2"))
    zone.publish("n1", "e2", ["c2", "web", "dotted.alias"], packed("10.1.0.3"))
    zone.publish("n2", "e3", ["c1", "other", "db.green"], packed("10.2.0.2"))
    zone.publish("n3", "e4", ["secret"], packed("10.3.0.2"))
    return zone


def ask(zone: Zone, name: str, qtype: int = A, networks: tuple[str, ...] = ("n1", "n2")) -> object:
    """Addresses or names as text; [] for an answer without records; the rcode of a refusal; None: not local."""
    local = zone.lookup(to_wire(name).lower(), qtype, networks)
    if local is None or local.rcode:
        return local and local.rcode
    if qtype == PTR:
        return [b".".join(labels(r[:-1])).decode() for r in local.rdata]
    return [str(ip_address(r)) for r in local.rdata]


@pytest.mark.parametrize(
    ("name", "qtype", "networks", "expected"),
    [
        # Names, aliases and ids, in any case.
        ("c1", A, ("n1",), ["10.1.0.2"]),
        ("C1", AAAA, ("n1",), ["fd01::2"]),
        ("0123456789AB", A, ("n1",), ["10.1.0.2"]),
        ("web", A, ("n1",), ["10.1.0.2", "10.1.0.3"]),
        ("web", AAAA, ("n1",), ["fd01::2"]),
        # Qualified by the network's name, in any case, dots on either side.
        ("c1.blue", A, ("n1",), ["10.1.0.2"]),
        ("C1.BLUE", A, ("n1",), ["10.1.0.2"]),
        ("c1.my.green", A, ("n1", "n2"), ["10.2.0.2"]),
        ("dotted.alias", A, ("n1",), ["10.1.0.3"]),
        ("dotted.alias.blue", A, ("n1",), ["10.1.0.3"]),
        ("db.green.my.green", A, ("n2",), ["10.2.0.2"]),
        # The first network that knows the name answers alone.
        ("c1", A, ("n1", "n2"), ["10.1.0.2"]),
        ("c1", A, ("n2", "n1"), ["10.2.0.2"]),
        ("c1", AAAA, ("n2", "n1"), []),
        ("other", A, ("n1", "n2"), ["10.2.0.2"]),
        # What exists is answered here, whatever the type.
        ("c2", AAAA, ("n1",), []),
        ("c1", TXT, ("n1",), []),
        ("c1.blue", HTTPS, ("n1",), []),
        ("web", ANY, ("n1",), []),
        ("c1", MX, ("n1",), []),
        # A network's names end here, known or not; plain names do not.
        ("nobody.blue", A, ("n1",), NXDOMAIN),
        ("a.b.Blue", TXT, ("n1",), NXDOMAIN),
        ("nobody", A, ("n1",), None),
        ("blue", A, ("n1",), None),
        ("c1.green", A, ("n1", "n2"), None),
        ("c1.lightblue", A, ("n1",), None),
        ("www.example.com", A, ("n1",), None),
        # Only networks that the asker is on.
        ("secret", A, ("n1", "n2"), None),
        ("secret.red", A, ("n1", "n2"), None),
        ("c1", A, (), None),
        ("c1", A, ("no-such",), None),
        # Reverse.
        ("2.0.1.10.in-addr.arpa", PTR, ("n1",), ["C1.blue"]),
        ("2.0.2.10.IN-ADDR.arpa", PTR, ("n1", "n2"), ["c1.My.Green"]),
        ("2.0.1.10.in-addr.arpa", A, ("n1",), []),
        ("9.0.1.10.in-addr.arpa", PTR, ("n1",), None),
        ("2.0.3.10.in-addr.arpa", PTR, ("n1",), None),
        ("0.1.10.in-addr.arpa", PTR, ("n1",), None),
        ("256.0.1.10.in-addr.arpa", PTR, ("n1",), None),
        ("x.0.1.10.in-addr.arpa", PTR, ("n1",), None),
        ("2." + "0." * 27 + "1.0.d.f.ip6.arpa", PTR, ("n1",), ["C1.blue"]),
        ("2." + "0." * 27 + "1.0.d.g.ip6.arpa", PTR, ("n1",), None),
        ("in-addr.arpa", PTR, ("n1",), None),
    ],
)
def test_what_a_name_means(zone: Zone, name: str, qtype: int, networks: tuple[str, ...], expected: object) -> None:
    assert ask(zone, name, qtype, networks) == expected


def test_the_inside_of_a_label_is_no_network(zone: Zone) -> None:
    # One label that holds the bytes of the network's name, its length included.
    assert zone.lookup(b"\x08xx\x04bluey"[:9], A, ["n1"]) is None
    assert zone.lookup(b"\x07x1\x04blue", A, ["n1"]) is None


def test_withdrawn_names_are_gone_and_others_stay(zone: Zone) -> None:
    for _ in range(2):
        zone.withdraw("n1", "e1")
        assert ask(zone, "c1", networks=("n1",)) is None
        assert ask(zone, "c1.blue", networks=("n1",)) == NXDOMAIN
        assert ask(zone, "2.0.1.10.in-addr.arpa", PTR) is None
        assert ask(zone, "web") == ["10.1.0.3"]


def test_publishing_again_replaces(zone: Zone) -> None:
    zone.publish("n1", "e1", ["new"], packed("10.1.0.9"))
    assert ask(zone, "new") == ["10.1.0.9"]
    assert ask(zone, "c1", networks=("n1",)) is None


def test_an_address_that_has_a_new_owner_stays_with_it_when_the_old_one_goes(zone: Zone) -> None:
    zone.publish("n1", "e9", ["heir"], packed("10.1.0.2"))
    zone.withdraw("n1", "e1")
    assert ask(zone, "2.0.1.10.in-addr.arpa", PTR) == ["heir.blue"]


def test_a_network_may_be_renamed_and_dropped_twice(zone: Zone) -> None:
    zone.set_network("n1", "azure")
    assert ask(zone, "c1.azure") == ["10.1.0.2"]
    assert ask(zone, "c1.blue") is None
    for _ in range(2):
        zone.drop_network("n1")
        zone.withdraw("n1", "e1")
        assert ask(zone, "c2") is None


def test_names_that_nobody_can_ask_for_do_no_harm(zone: Zone) -> None:
    zone.publish("n1", "e5", ["x" * 64, "", "good", "a..b"], packed("10.1.0.5"))
    assert ask(zone, "good") == ["10.1.0.5"]
    assert ask(zone, "5.0.1.10.in-addr.arpa", PTR) == ["good.blue"]
    zone.withdraw("n1", "e5")
    assert ask(zone, "good") is None


def test_an_endpoint_without_names_has_no_name_but_is_ours(zone: Zone) -> None:
    zone.publish("n1", "e5", [], packed("10.1.0.5"))
    assert ask(zone, "5.0.1.10.in-addr.arpa", PTR) == []


def test_what_is_held_is_what_was_published(zone: Zone) -> None:
    zone.withdraw("n1", "e2")
    assert dict(zone.networks()) == {"n1": "blue", "n2": "My.Green", "n3": "red"}
    assert {h[1]: h for h in zone.holders()}["e1"] == (
        "n1",
        "e1",
        ("C1", "web", "0123456789ab"),
        tuple(packed("10.1.0.2", "fd01::2")),
    )
    assert {h[1] for h in zone.holders()} == {"e1", "e3", "e4"}


ENDPOINTS = st.sampled_from(["a", "b", "c"])
HOLDERS = st.lists(st.sampled_from(["x", "y", "z", "x.y"]), max_size=3)
STEPS = st.lists(st.tuples(ENDPOINTS, st.none() | HOLDERS), max_size=12)


@given(STEPS)
def test_any_history_ends_as_if_only_its_outcome_had_been_said(steps: list[tuple[str, list[str] | None]]) -> None:
    lived, fresh, outcome = Zone(), Zone(), {}
    for number, (endpoint, names) in enumerate(steps):
        outcome.pop(endpoint, None)
        if names is None:
            lived.withdraw("n", endpoint)
        else:
            outcome[endpoint] = (names, [bytes([10, 0, 0, number])])
            lived.publish("n", endpoint, *outcome[endpoint])
    for endpoint, (names, addresses) in outcome.items():
        fresh.publish("n", endpoint, names, addresses)
    for zone in (lived, fresh):
        zone.set_network("n", "net")
    for name in ("x", "y", "z", "x.y", "x.net", "y.net", "nobody.net"):
        assert _answer(lived, name) == _answer(fresh, name)


def _answer(zone: Zone, name: str) -> object:
    local = zone.lookup(to_wire(name), A, ["n"])
    return (local.rcode, sorted(local.rdata)) if isinstance(local, Local) else None


ADDRESSES = st.lists(st.sampled_from(["10.0.0.1", "10.0.0.10", "10.0.0.2", "fd00::1"]), max_size=2)
TOLD = st.lists(st.tuples(st.sampled_from(["n", "m"]), ENDPOINTS, st.none() | HOLDERS, ADDRESSES), max_size=10)
ASKED = [
    *("x", "y", "z", "x.y", "x.net", "y.net", "x.y.net", "x.x.y", "z.x.y", "nobody.net"),
    *("1.0.0.10.in-addr.arpa", "10.0.0.10.in-addr.arpa", "2.0.0.10.in-addr.arpa"),
    ip_address("fd00::1").reverse_pointer,
]


@given(TOLD)
def test_only_the_names_that_are_said_to_change_mean_something_else_afterwards(
    told: list[tuple[str, str, list[str] | None, list[str]]],
) -> None:
    """Answers are kept ready for all others."""
    zone = Zone()
    zone.set_network("n", "net")
    zone.set_network("m", "x.y")
    before = _all_answers(zone)
    for network, endpoint, names, addresses in told:
        if names is None:
            changed = zone.withdraw(network, endpoint)
        else:
            changed = zone.publish(network, endpoint, names, packed(*addresses))
        after = _all_answers(zone)
        assert {asked[0] for asked, answer in after.items() if answer != before[asked]} <= changed
        before = after


def _all_answers(zone: Zone) -> dict[tuple[bytes, int, tuple[str, ...]], object]:
    wires = [to_wire(name) for name in ASKED]
    return {
        (wire, qtype, networks): repr(zone.lookup(wire, qtype, networks))
        for wire in wires
        for qtype in (A, AAAA, PTR)
        for networks in (("n", "m"), ("m", "n"), ("n",))
    }
