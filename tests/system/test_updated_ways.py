"""Ways into and out of a network, opened and shut while its containers talk: at once, and for nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.audits import assert_consistent, resolve
from tests.daemons import Weftd
from tests.enter import inside, network
from tests.hosts import Namespace
from tests.system.edits import ECHO, connected, echoing, front, talks, update
from tests.system.nameserver import ANSWER, answering
from tests.system.people import (
    HOST4,
    HOST6,
    OUTSIDE4,
    OUTSIDE6,
    REFUSED,
    SECOND4,
    SILENCE,
    Listener,
    Question,
    ask,
    listening,
)
from weft.client import Container
from weft.errors import Conflict

pytestmark = pytest.mark.root

NOBODY = (REFUSED, SILENCE)


@pytest.fixture
def web(weftd: Weftd, outside: Namespace) -> Iterator[Container]:
    with front(weftd, outside) as web:
        yield web


def test_the_outside_sees_under_which_address_containers_leave(weftd: Weftd, web: Container) -> None:
    def seen() -> list[str]:
        questions = [Question(web.netns, address, 80) for address in (OUTSIDE4, OUTSIDE6)]
        return [answer.partition(" ")[2] for answer in ask(weftd.host, *questions)]

    assert seen() == [HOST4, HOST6]
    update(weftd, options={"masquerade": "false"})
    assert seen() == ["10.1.0.11", "fd01::11"]
    update(weftd, options={"masquerade-ipv6": "true"})
    assert seen() == ["10.1.0.11", HOST6]
    update(weftd, options={"masquerade": None, "masquerade-ipv6": None, "snat-ipv4": SECOND4})
    assert seen() == [SECOND4, HOST6]
    update(weftd, options={"snat-ipv4": None})
    assert seen() == [HOST4, HOST6]


def test_a_gateway_mode_opens_and_shuts_what_it_should(weftd: Weftd, web: Container, outside: Namespace) -> None:
    def reached() -> list[bool]:
        """The container's own port that is published, its others, and the host's port; in each family."""
        asked = [
            Question(outside.path, address, port)
            for address, port in (
                *((own, port) for port in (80, 81) for own in ("10.1.0.11", "fd01::11")),
                *((host, 8080) for host in (HOST4, HOST6)),
            )
        ]
        return [answer not in NOBODY for answer in ask(weftd.host, *asked)]

    with listening(weftd, Listener("web81", web.netns, port=81)):
        nat, opened, routed = [0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]
        for mode, wanted in (
            (None, nat),
            ("routed", routed),
            ("nat", nat),
            ("nat-unprotected", opened),
            ("routed", routed),
            ("nat-unprotected", opened),
            ("nat", nat),
        ):
            if mode is not None:
                update(weftd, options={"gateway-mode": mode})
            assert reached() == [bool(one) for one in wanted], mode
            assert_consistent(weftd)
        update(weftd, options={"gateway-mode-ipv6": "routed"})
        assert reached() == [False, True, False, False, True, True], "over IPv6 the relay leads to the IPv4 address"
        update(weftd, options={"gateway-mode-ipv6": None, "trusted-interfaces": "uplink"})
        assert reached() == [True] * 6
        update(weftd, options={"trusted-interfaces": None})
        assert reached() == [bool(one) for one in nat]


def test_what_came_directly_ends_where_that_is_shut(weftd: Weftd, web: Container, outside: Namespace) -> None:
    # Without masquerading it is connection tracking alone that tells answers from what comes in.
    update(weftd, options={"gateway-mode": "nat-unprotected", "masquerade": "false"})

    def talk() -> list[bool]:
        direct, published = connected(outside.path, "10.1.0.11", ECHO), connected(outside.path, HOST4, 7007)
        said = [talks(direct), talks(published)]
        update(weftd, options={"gateway-mode": None})
        return [*said, talks(direct, patience=0.5), talks(published)]

    with echoing(weftd, web.netns):
        assert inside(weftd.host, talk) == [True, True, False, True]


def test_the_host_s_ports_are_free_once_a_network_is_routed_and_taken_again(
    weftd: Weftd, web: Container, outside: Namespace
) -> None:
    update(weftd, options={"gateway-mode": "routed"})
    with listening(weftd, Listener("program", "", port=8080)):
        assert ask(weftd.host, Question(outside.path, HOST4, 8080)) == [f"program {OUTSIDE4}"]
        with pytest.raises(Conflict, match="8080"):
            update(weftd, options={"gateway-mode": "nat"})
        assert ask(weftd.host, Question(outside.path, "10.1.0.11", 80)) == [f"web {OUTSIDE4}"]
    update(weftd, options={"gateway-mode": "nat"})
    assert ask(weftd.host, Question(outside.path, HOST4, 8080)) == [f"web {OUTSIDE4}"]
    assert ask(weftd.host, Question("", "::1", 8080))[0].startswith("web "), "the relay leads there as well"


def test_the_guard_against_false_addresses_is_taken_down_and_put_up(weftd: Weftd, web: Container) -> None:
    weftd.sandbox("web", "ip", "address", "add", "10.1.0.99/24", "dev", "eth0")
    mac = weftd.client.containers.get("near").endpoints[0].mac  # known, or it would be asked for once a second only
    weftd.sandbox("web", *f"ip neigh replace 10.1.0.12 lladdr {mac} dev eth0 nud permanent".split())

    def lies() -> bool:
        ping = ["ping", "-c1", "-W1", "-q", "-I", "10.1.0.99", "10.1.0.12"]
        return weftd.sandbox("web", *ping, check=False).returncode == 0

    assert not lies()
    update(weftd, options={"anti-spoof": "false"})
    assert lies()
    update(weftd, options={"anti-spoof": "true"})
    weftd.sandbox("near", "ip", "neigh", "flush", "all")
    assert not lies()


def test_an_internal_network_leads_nowhere_from_that_moment_on(
    weftd: Weftd, web: Container, outside: Namespace
) -> None:
    inward, outward = Question(outside.path, HOST4, 8080), Question(web.netns, OUTSIDE4, 80)

    def talk() -> list[bool]:
        streams = [connected(outside.path, HOST4, 7007), connected(web.netns, OUTSIDE4, ECHO)]
        said = [talks(stream) for stream in streams]
        update(weftd, internal=True)
        weftd.sandbox("web", "ip", "route", "add", "default", "via", "10.1.0.1")  # as root in there may
        return [*said, *(talks(stream, patience=0.5) for stream in streams)]

    with echoing(weftd, web.netns, outside.path):
        assert inside(weftd.host, talk) == [True, True, False, False]
    said = ask(weftd.host, inward, outward)
    assert said[0] in NOBODY
    assert said[1] == SILENCE
    weftd.sandbox("web", "ip", "route", "del", "default")
    weftd.restart()
    assert weftd.sandbox("web", "ip", "route", "show", "default").stdout == ""
    assert ask(weftd.host, outward) == [SILENCE]
    update(weftd, internal=False)
    assert ask(weftd.host, inward, outward) == [f"web {OUTSIDE4}", f"outside {HOST4}"]


def test_names_of_the_world_are_asked_for_while_the_network_leads_out(
    weftd: Weftd, web: Container, outside: Namespace
) -> None:
    asker = weftd.client.containers.create(name="asker", networks=["front"], dns=[OUTSIDE4])

    def found() -> list[set[str]]:
        def look_up() -> list[set[str]]:
            with network(asker.netns):
                return [resolve(name) for name in ("near", "somewhere.test")]

        return inside(weftd.host, look_up)

    own = {"10.1.0.12"}
    with answering(weftd, outside, OUTSIDE4):
        assert found() == [own, {ANSWER}]
        update(weftd, internal=True)
        assert found() == [own, set()]
        update(weftd, internal=False)
        assert found() == [own, {ANSWER}]


def test_neighbours_are_found_by_the_network_s_new_name_and_not_by_the_old(weftd: Weftd, web: Container) -> None:
    def found() -> list[set[str]]:
        def look_up() -> list[set[str]]:
            with network(web.netns):
                return [resolve(name) for name in ("near", "near.front", "near.shop")]

        return inside(weftd.host, look_up)

    own = {"10.1.0.12"}
    assert found() == [own, own, set()]
    assert weftd.cli("network", "update", "front", "--name", "shop").stdout == "shop\n"
    assert found() == [own, set(), own]
    weftd.restart()
    assert found() == [own, set(), own]
    assert weftd.client.containers.get("web").endpoints[0].network == "shop"
    weftd.client.networks.update("shop", name="front")
    assert found() == [own, own, set()]
