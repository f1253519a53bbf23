"""Requests as no client of good manners sends them: each is answered, or its connection closed, and changes nothing."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from tests.docker.conftest import World
from tests.waiting import eventually
from weft.serve.app import LARGEST_BODY

pytestmark = pytest.mark.root

CREATE = "/networks/create"
DEEP = 100_000


@pytest.fixture(scope="module")
def house(world: World) -> World:
    """A network with a container on it, one without."""
    world.docker("network", "create", "--subnet", "10.7.0.0/24", "blue")
    world.docker("network", "create", "--subnet", "10.8.0.0/24", "red")
    world.container("web", "blue")
    return world


def state(world: World) -> tuple[object, ...]:
    networks = world.ask("GET", "/networks").body
    members = [world.ask("GET", f"/networks/{name}").body for name in ("blue", "red")]
    return networks, members, world.marks()


# Bodies

NOT_OBJECTS = [
    "[]",
    '"blue"',
    "5",
    "true",
    "{",
    "{]",
    "{'Name':'x'}",
    "",
    "   ",
    "\0",
    b"\xff\xfe{}",
    b"\xef\xbb\xbf{}",
]
TOO_DEEP = ["[" * DEEP, f'{{"Name":"x","Other":{"[" * DEEP}{"]" * DEEP}}}', f'{{"Name":{"{" * DEEP}']
TRAILING = ['{"Name":"x"} {}', '{"Name":"x"}x', ' {"Name":"x"}\n,', '{"Name":"x"}]']


@pytest.mark.parametrize("path", [CREATE, "/networks/blue/connect", "/networks/blue/disconnect"])
@pytest.mark.parametrize("body", [*NOT_OBJECTS, *TOO_DEEP, *TRAILING], ids=lambda body: repr(body[:24]))
def test_bodies_that_are_not_a_document(house: World, path: str, body: str | bytes):
    before = state(house)
    answer = house.ask("POST", path, body)
    assert answer.status == 400
    expected = ("invalid JSON: ", "unexpected content after JSON")[body in TRAILING]
    assert answer.message.startswith(expected)
    assert state(house) == before


@pytest.mark.parametrize(
    ("path", "document", "field"),
    [
        (CREATE, {"Name": 5}, "$.Name"),
        (CREATE, {"Name": ["x"]}, "$.Name"),
        (CREATE, {"Name": "x", "Internal": "yes"}, "$.Internal"),
        (CREATE, {"Name": "x", "EnableIPv6": 1}, "$.EnableIPv6"),
        (CREATE, {"Name": "x", "Labels": ["a"]}, "$.Labels"),
        (CREATE, {"Name": "x", "Labels": {"a": 1}}, "$.Labels[...]"),
        (CREATE, {"Name": "x", "Options": {"mtu": 1400}}, "$.Options[...]"),
        (CREATE, {"Name": "x", "IPAM": []}, "$.IPAM"),
        (CREATE, {"Name": "x", "IPAM": {"Config": {}}}, "$.IPAM.Config"),
        (CREATE, {"Name": "x", "IPAM": {"Config": ["10.9.0.0/24"]}}, "$.IPAM.Config[0]"),
        (CREATE, {"Name": "x", "IPAM": {"Config": [{"Subnet": 10}]}}, "$.IPAM.Config[0].Subnet"),
        ("/networks/red/connect", {"Container": 5}, "$.Container"),
        ("/networks/red/connect", {"Container": "web", "EndpointConfig": []}, "$.EndpointConfig"),
        (
            "/networks/red/connect",
            {"Container": "web", "EndpointConfig": {"Aliases": "a"}},
            "$.EndpointConfig.Aliases",
        ),
        (
            "/networks/red/connect",
            {"Container": "web", "EndpointConfig": {"GwPriority": 10**30}},
            "$.EndpointConfig.GwPriority",
        ),
        (
            "/networks/red/connect",
            {"Container": "web", "EndpointConfig": {"GwPriority": "high"}},
            "$.EndpointConfig.GwPriority",
        ),
        ("/networks/blue/disconnect", {"Container": "web", "Force": "yes"}, "$.Force"),
    ],
)
def test_wrong_types_are_named(house: World, path: str, document: object, field: str):
    before = state(house)
    answer = house.ask("POST", path, document)
    assert answer.status == 400
    assert answer.message.startswith("invalid JSON: ")
    assert answer.message.endswith(f"at `{field}`")
    assert state(house) == before


def pool(**fields: object) -> dict[str, object]:
    return {"Name": "x", "IPAM": {"Config": [fields]}}


@pytest.mark.parametrize(
    ("document", "status", "message"),
    [
        ({}, 400, "network name cannot be empty"),
        ({"Name": None}, 400, "network name cannot be empty"),
        ({"Name": " "}, 400, "network name cannot be empty"),
        ({"Name": "blue"}, 409, "network with name blue already exists"),
        ({"Name": "host"}, 403, "operation is not permitted on predefined host network"),
        ({"Name": "x", "Driver": "nope"}, 404, "plugin \"nope\" not found: no such network driver: 'nope'"),
        ({"Name": "x", "IPAM": {"Driver": "nope"}}, 404, 'plugin "nope" not found: there are default'),
        (pool(Subnet="10.7.0.0/25"), 403, "invalid pool request: Pool overlaps with other one on this address space"),
        (pool(Subnet="10.9.0.1/24"), 400, "subnet: '10.9.0.1/24' has host bits set; did you mean 10.9.0.0/24?"),
        (pool(Subnet="ten"), 400, "subnet: 'ten' is not a subnet such as 10.1.0.0/24"),
        (pool(Subnet="fd00::/64"), 400, "an IPv6 subnet needs --ipv6"),
        (pool(Gateway="10.9.0.1"), 400, "--ip-range, --gateway and --aux-address need a --subnet that they lie in"),
        (pool(Subnet="10.9.0.0/24", Gateway="10.7.0.1"), 400, "gateway 10.7.0.1 is not inside the subnet 10.9.0.0/24"),
        (pool(Subnet="10.9.0.0/24", IPRange="10.7.0.0/25"), 400, "ip-range 10.7.0.0/25 is not inside the subnet"),
        (pool(Subnet="10.9.0.0/24", AuxiliaryAddresses={"a": "b"}), 400, "aux-address a: 'b' is not an IP address"),
        ({"Name": "x", "EnableIPv4": False}, 400, "network 'x' would have neither IPv4 nor IPv6"),
        (
            {"Name": "x", "Options": {"com.docker.network.enable_ipv6": "maybe"}},
            400,
            "option com.docker.network.enable",
        ),
        ({"Name": "x", "Options": {"colour": "blue"}}, 400, "unknown option 'colour' for driver bridge"),
    ],
)
def test_documents_that_make_no_network(house: World, document: object, status: int, message: str):
    before = state(house)
    answer = house.ask("POST", CREATE, document)
    assert answer.status == status
    assert answer.message.startswith(message)
    assert state(house) == before


def test_names_that_are_no_names(house: World):
    for name in ("a b", "a/b", "-a", "é", "x" * 64, "a\nb", "a\0b"):
        answer = house.ask("POST", CREATE, {"Name": name})
        assert answer.status == 400
        assert "is not valid" in answer.message


def test_null_is_as_good_as_absent(house: World):
    nothing = dict.fromkeys(
        "Driver Scope Internal Attachable Ingress ConfigOnly ConfigFrom EnableIPv4 EnableIPv6 Options Labels".split()
    )
    pool = dict.fromkeys(("Subnet", "IPRange", "Gateway", "AuxiliaryAddresses"))
    for ipam in (None, dict.fromkeys(("Driver", "Config", "Options")), {"Config": [pool]}):
        assert house.ask("POST", CREATE, {**nothing, "Name": "x", "IPAM": ipam}).status == 201
        assert house.ask("DELETE", "/networks/x").status == 204


def test_what_docker_ignores(house: World):
    document = {"Name": "x", "CheckDuplicate": True, "Colour": {"deep": [1, {"er": None}]}}
    assert house.ask("POST", CREATE, document).json["Warning"] == ""
    assert house.ask("DELETE", "/networks/x").body == b""


@pytest.mark.parametrize("kind", ["", "text/plain", "application/jsonx", "application/x-www-form-urlencoded"])
def test_bodies_of_another_type(house: World, kind: str):
    before = state(house)
    answer = house.ask("POST", CREATE, {"Name": "x"}, kind=kind)
    message = f"unsupported Content-Type header ({kind}): must be 'application/json'"
    assert (answer.status, answer.message) == (400, message)
    assert state(house) == before


def test_bodies_of_the_right_type_however_written(house: World):
    for kind in ("application/json; charset=utf-8", "Application/JSON"):
        assert house.ask("POST", CREATE, {"Name": "x"}, kind=kind).status == 201
        assert house.ask("DELETE", "/networks/x").status == 204


def test_how_large_a_body_may_be(house: World):
    document = '{"Name":"x"}'
    assert house.ask("POST", CREATE, document.rjust(LARGEST_BODY)).status == 201
    assert house.ask("DELETE", "/networks/x").status == 204
    before = state(house)
    answer = house.ask("POST", CREATE, document.rjust(LARGEST_BODY + 1))
    assert (answer.status, answer.message) == (413, "the request's body is larger than 4 MiB")
    assert answer.headers["connection"] == "close"
    assert state(house) == before


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "5",
        '"name"',
        '{"name":"blue"}',
        '{"name":[1]}',
        '{"name":{"blue":"yes"}}',
        '{"name":[["blue"]]}',
        '{"colour":["blue"]}',
        '{"\\ud800":["x"]}',
        "%5B" * 10_000,
        "%7B%22name%22:" * 3_000,
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/networks"), ("POST", "/networks/prune"), ("GET", "/events")])
def test_filters_that_are_none(house: World, method: str, path: str, text: str):
    before = state(house)
    quoted = text if text.startswith("%") else json.dumps(text)[1:-1].replace('\\"', "%22").replace("\\\\", "%5C")
    answer = house.ask(method, f"{path}?filters={quoted}")
    assert answer.status == 400
    assert answer.message.startswith("invalid filter")
    assert len(answer.message) < 200
    assert state(house) == before


def test_no_filters_at_all(house: World):
    everything = house.ask("GET", "/networks").json
    for text in ("", "null", "{}", '{"name":[]}', '{"name":{"blue":false}}'):
        assert house.ask("GET", f"/networks?filters={text}").json == everything


# Connections

WHOLE = b"POST /networks/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n"


@pytest.mark.parametrize("size", range(1, len(WHOLE) + 12, 7))
def test_half_a_request(house: World, size: int):
    before = state(house)
    assert house.send((WHOLE + b'{"Name":"x"}')[:size]) == b""
    assert state(house) == before


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"GET /networks/\xff\xfe HTTP/1.1\r\nHost: d\r\n\r\n",
        b"GET /networks HTTP/9.9\r\nHost: d\r\n\r\n",
        b"GET /networks HTTP/1.1\r\nHost d\r\n\r\n",
        b"CONNECT d:80 HTTP/1.1\r\nHost: d\r\n\r\n",
        b"POST /networks/create HTTP/1.1\r\nHost: d\r\nContent-Length: many\r\n\r\n{}",
        b"POST /networks/create HTTP/1.1\r\nHost: d\r\nContent-Length: -5\r\n\r\n{}",
        b"POST /networks/create HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"POST /networks/create HTTP/1.1\r\nHost: d\r\nContent-Type: \xff\xfe\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_what_is_not_http(house: World, raw: bytes):
    before = state(house)
    answer = house.send(raw)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 40")
    assert state(house) == before


def test_two_requests_in_one_go(house: World):
    one = b"GET /networks/blue HTTP/1.1\r\nHost: d\r\n\r\n"
    last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert house.send(one + one + last, hang_up=False).count(b"HTTP/1.1 200 OK") == 3


def test_who_hangs_up_does_not_stop_what_was_asked(house: World):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(house.weftd.socket)
        connection.sendall(WHOLE + b'{"Name":"x"}')
    assert house.ask("GET", "/_ping").status == 200
    eventually(lambda: house.ask("GET", "/networks/x").status == 200, within=10)
    assert house.ask("DELETE", "/networks/x").status == 204


def test_nobody_is_kept(house: World):
    """Connections that ended, in whatever way, are not held open."""
    fds = Path(f"/proc/{house.weftd.pid}/fd")
    before = len(os.listdir(fds))
    for _ in range(50):
        house.send(WHOLE[:40])
        house.ask("GET", "/networks/nope")
    eventually(lambda: len(os.listdir(fds)) <= before + 2, within=10)
