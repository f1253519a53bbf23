"""Who is given what another had a moment ago, an address or a port, is reached, and the other never again."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.audits import assert_consistent
from tests.daemons import Weftd
from tests.enter import inside, network
from weft.client import Attachment, Container, Publish

pytestmark = pytest.mark.root

ADDRESS, PORT = "10.5.0.77", 8060


@pytest.fixture(scope="module")
def neighbour(weftd: Weftd) -> Iterator[Container]:
    weftd.client.networks.create("front", pools=["10.5.0.0/24"])
    yield weftd.client.containers.create(name="neighbour", networks=["front"])
    assert_consistent(weftd)


def _replace_often(weftd: Weftd, neighbour: Container) -> list[str]:
    """Remove and create a container with the same address and port, without pause, and ask at once; what was said.

    The namespace of each is kept alive by a listener in it, as by a process that has not ended yet.
    """
    said, kept = [], []

    def listen(container: Container) -> None:
        with network(container.netns):
            listener = socket.create_server(("0.0.0.0", 80))
            listener.settimeout(0)
            kept.append((container.id, listener))

    def who_answers(path: str, address: str, port: int) -> str:
        with network(path):
            asker = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with asker:
            asker.settimeout(1)
            try:
                asker.connect((address, port))
            except OSError as error:
                return str(error)
        for ident, listener in kept:
            try:
                listener.accept()[0].close()
            except BlockingIOError:
                continue
            return ident
        return "nobody"

    for _ in range(20):
        for container in weftd.client.containers.list():
            if container.name == "x":
                weftd.client.containers.remove("x")
        made = weftd.client.containers.create(
            name="x", networks=[Attachment("front", ip=ADDRESS)], ports=[Publish(80, PORT)]
        )
        listen(made)
        said.append(who_answers(neighbour.netns, ADDRESS, 80).replace(made.id, "the new one"))
        said.append(who_answers("/proc/self/ns/net", "127.0.0.1", PORT).replace(made.id, "the new one"))
    weftd.client.containers.remove("x")
    return said


def test_the_new_holder_of_an_address_and_port_is_reached_at_once(weftd: Weftd, neighbour: Container) -> None:
    said = inside(weftd.host, lambda: _replace_often(weftd, neighbour))
    assert said == ["the new one"] * 40


@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_a_port_can_be_published_and_taken_back_without_pause(weftd: Weftd, neighbour: Container, proto: str) -> None:
    for _ in range(150):
        weftd.client.containers.create(name="x", networks=["front"], ports=[Publish(80, PORT, proto=proto)])
        weftd.client.containers.remove("x")
    assert weftd.alive


def test_a_flow_to_the_former_holder_of_a_port_does_not_reach_the_new_one(weftd: Weftd, neighbour: Container) -> None:
    """A client that goes on sending from the same port, as UDP clients do, is served by the new container."""

    def talk() -> list[str]:
        heard = []
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for number in range(5):
            address = f"10.5.0.{100 + number}"
            made = weftd.client.containers.create(
                name="x", networks=[Attachment("front", ip=address)], ports=[Publish(80, PORT, proto="udp")]
            )
            with network(made.netns):
                server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with server:
                server.bind(("0.0.0.0", 80))
                server.settimeout(1)
                client.sendto(b"?", ("127.0.0.1", PORT))
                try:
                    server.recv(10)
                    heard.append(address)
                except TimeoutError:
                    heard.append("nothing")
            weftd.client.containers.remove("x")
        return heard

    assert inside(weftd.host, talk) == [f"10.5.0.{100 + number}" for number in range(5)]
