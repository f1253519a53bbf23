from __future__ import annotations

import pytest

from weft.client.answers import Container, Port
from weft.doors.cli import output
from weft.errors import Invalid


def ports(*given: tuple[str, str | None, int, int]) -> list[Port]:
    return [Port({"proto": p, "host_ip": ip, "host_port": h, "container_port": c}) for p, ip, h, c in given]


def test_ports_are_shown_as_docker_shows_them():
    assert output.ports_text([]) == ""
    assert output.ports_text(ports(("tcp", None, 8080, 80))) == "8080->80/tcp"
    assert output.ports_text(ports(("udp", "::1", 53, 53))) == "[::1]:53->53/udp"


def test_runs_of_ports_are_one():
    run = [("udp", "127.0.0.1", 9000 + i, 9000 + i) for i in range(11)]
    assert output.ports_text(ports(*reversed(run))) == "127.0.0.1:9000-9010->9000-9010/udp"
    apart = [("tcp", None, 80, 80), ("tcp", None, 82, 81), ("tcp", None, 83, 82), ("udp", None, 84, 83)]
    assert output.ports_text(ports(*apart)) == "80->80/tcp, 82-83->81-82/tcp, 84->83/udp"


def test_columns_are_as_wide_as_they_must_be():
    assert output.table(["A", "LONG"], [["abc", "x"], ["", "y"]]) == "A     LONG\nabc   x\n      y"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 seconds"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (3599, "59 minutes"),
        (3600, "1 hour"),
        (86400, "24 hours"),
        (2 * 86400, "2 days"),
        (15 * 86400, "2 weeks"),
    ],
)
def test_ages(seconds: float, text: str):
    assert output.ago(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1234567, "1.23 MB"), (5e12, "5 TB")]
)
def test_sizes(count: float, text: str):
    assert output.bytes_text(count) == text


def test_status():
    document = {"ports": [], "endpoints": [], "state": "running", "created": 100.0, "exit": None}
    assert output.status_text(Container(document), 160.0) == "Up 1 minute"
    assert output.status_text(Container({**document, "state": "created"}), 160.0) == "Created"
    ended = {**document, "state": "exited", "exit": {"code": 137, "at": 150.0}}
    assert output.status_text(Container(ended), 160.0) == "Exited (137) 10 seconds ago"


def test_filters():
    def chosen(*filters: str) -> bool:
        return output.matches(filters, {"name": "web-1", "status": "running"}, {"tier": "front", "x": ""})

    assert chosen()
    assert chosen("name=web")
    assert not chosen("name=db")
    assert chosen("name=db", "name=web")
    assert not chosen("name=web", "status=exited")
    assert chosen("label=tier", "label=tier=front", "label=x")
    assert not chosen("label=tier", "label=tier=back")
    with pytest.raises(Invalid, match="names are name, status, label"):
        chosen("colour=red")
    with pytest.raises(Invalid):
        chosen("name")
