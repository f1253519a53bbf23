"""What the server does with requests that are wrong, odd, slow or cut short: spoken byte by byte."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest

from tests.serve.house import House, served
from weft.serve import app, http


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One for all tests here: none minds what another has made."""
    with served(tmp_path_factory.mktemp("house")) as running:
        yield running


def exchange(house: House, *sent: bytes, shut: bool = False) -> tuple[int, object]:
    """The status and document that these bytes are answered with."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(10)
        stream.connect(house.config.socket_path)
        for data in sent:
            stream.sendall(data)
        if shut:
            stream.shutdown(socket.SHUT_WR)
        return read_answer(stream)


def read_answer(stream: socket.socket) -> tuple[int, object]:
    received = b""
    while b"\r\n\r\n" not in received:
        data = stream.recv(65536)
        assert data, f"closed after {received!r}"
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    while len(body) < int(headers.get("content-length", 0)):
        body += stream.recv(65536)
    return int(lines[0].split()[1]), json.loads(body) if body else None


def request(method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: w\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def post(house: House, path: str, body: bytes) -> tuple[int, object]:
    return exchange(house, request("POST", f"/weft/v1{path}", body))


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/networks", b"", "the request has no body"),
        ("/networks", b"{", "the request's body is not JSON: Input data was truncated"),
        ("/networks", b"\xff\xfe", "the request's body is not JSON: JSON is malformed: invalid character (byte 0)"),
        ("/networks", b'{"name": "\xff"}', "the request's body is not JSON: "),
        ("/networks", b"[]", "expected 'object', got 'array'"),
        ("/networks", b"{}", "object missing required field 'name'"),
        ("/networks", b'{"name": 3}', "name: expected 'str', got 'int'"),
        ("/networks", b'{"name": "a", "subnet": "x"}', "object contains unknown field 'subnet'"),
        ("/networks", b'{"name": "a", "pools": [{"gw": 1}]}', "pools[0]: object contains unknown field 'gw'"),
        ("/networks", b'{"name": "a", "labels": {"a": 1}}', "labels[...]: expected 'str', got 'int'"),
        ("/networks", b'{"name": "a", "pools": [{"subnet": "10.0.0.1/8"}]}', "pools[0].subnet: '10.0.0.1/8' has host"),
        ("/networks", b'{"name": "a", "pools": [{"gateway": "x"}]}', "pools[0].gateway: 'x' is not an IP address"),
        ("/networks", b'{"name": "../a"}', "network name '../a' is not valid"),
        ("/containers", b'{"networks": [{"network": "n", "ip": "fe80::1"}]}', "networks[0].ip: 'fe80::1' is an IPv6"),
        ("/containers", b'{"networks": [{"network": "n", "ip6": "1.2.3.4"}]}', "networks[0].ip6: '1.2.3.4' is an IPv4"),
        ("/containers", b'{"ports": [{"container_port": "80"}]}', "ports[0].container_port: expected 'int', got 'str'"),
        ("/containers", b'{"ports": [{"container_port": 99999}]}', "container port 99999 is not valid"),
        ("/containers", b'{"ports": [{"container_port": 1e400}]}', ""),
        ("/containers", b'{"ports": [{"container_port": 1, "proto": "icmp"}]}', "ports[0].proto: invalid enum value"),
        ("/containers", b'{"extra_hosts": [["a"]]}', "extra_hosts[0]: expected 'array' of length 2"),
        ("/containers", b'{"process": {"argv": []}}', "process.argv: no command is given"),
        ("/containers", b'{"dns": ["nobody"]}', "dns[0]: 'nobody' is not an IP address"),
    ],
)
def test_a_wrong_body_is_refused_in_one_line_that_names_the_field(house: House, path: str, body: bytes, message: str):
    status, document = post(house, path, body)
    assert status == 400
    assert isinstance(document, dict)
    assert document["kind"] == "invalid"
    assert message in document["message"]
    assert "\n" not in document["message"]
    assert not {network.name for network in house.client.networks.list()} - {"bridge"}


def test_deep_nesting_is_refused(house: House):
    status, document = post(house, "/networks", b"[" * 100_000)
    assert status == 400
    status, document = post(house, "/networks", b'{"name":' + b'{"a":' * 100_000)
    assert (status, document["kind"]) == (400, "invalid")  # type: ignore[index]


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/", 404, "no such route: /; the API begins at /weft/v1"),
        ("GET", "/weft/v1", 404, "no such route"),
        ("GET", "/weft/v1/", 404, "no such route"),
        ("GET", "/weft/v1/nothing", 404, "no such route: /nothing"),
        ("GET", "/weft/v1/networks/a/b/c", 404, "no such route"),
        ("GET", "/weft/v1/networks/", 404, "no such route"),
        ("DELETE", "/weft/v1/networks", 405, "DELETE is not for /networks: it takes GET, POST"),
        ("PUT", "/weft/v1/networks/a", 405, "it takes DELETE, GET"),
        ("GET", "/weft/v1/networks/nix", 404, "no such network: 'nix'"),
        ("GET", "/weft/v1/networks/prune", 404, "no such network: 'prune'"),
        ("GET", "/weft/v1/containers/%00", 404, "no such container: '\\x00'"),
        ("GET", "/weft/v1/containers?alll=1", 400, "unknown query parameter 'alll'; it takes all"),
        ("GET", "/weft/v1/containers?all=perhaps", 400, "all: 'perhaps' is neither true nor false"),
        ("GET", "/weft/v1/events?since=yesterday", 400, "since: 'yesterday' is not a number"),
    ],
)
def test_a_wrong_path_is_refused(house: House, method: str, path: str, status: int, message: str):
    assert_refused(exchange(house, request(method, path)), status, message)


def assert_refused(answer: tuple[int, object], status: int, message: str) -> None:
    assert answer[0] == status
    document = answer[1]
    assert isinstance(document, dict)
    assert set(document) == {"kind", "message"}
    assert message in document["message"]


@pytest.mark.parametrize(
    "noise",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 5, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 100],
)
def test_what_is_not_http_is_refused_and_closed(house: House, noise: bytes):
    assert_refused(exchange(house, noise), 400, "not an HTTP request")


def test_a_body_that_is_too_large_is_refused_while_it_comes(house: House):
    size = app.LARGEST_BODY + 1
    head = f"POST /weft/v1/networks HTTP/1.1\r\nHost: w\r\nContent-Length: {size}\r\n\r\n".encode()
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(10)
        stream.connect(house.config.socket_path)
        stream.sendall(head)
        try:
            stream.sendall(b" " * size)
        except BrokenPipeError:
            pass
        assert_refused(read_answer(stream), 413, "larger than 4 MiB")


def test_a_chunked_body_is_read(house: House):
    body = b'11\r\n{"name": "chunked\r\n2\r\n"}\r\n0\r\n\r\n'
    head = b"POST /weft/v1/networks HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n"
    status, document = exchange(house, head, body)
    assert status == 201
    assert document["name"] == "chunked"  # type: ignore[index]


def test_a_body_that_does_not_come_is_given_up(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(app, "BODY_PATIENCE", 0.2)
    head = b"POST /weft/v1/networks HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\n"
    assert_refused(exchange(house, head, b'{"na'), 408, "body has not come within 0.2 s")


def test_a_head_that_does_not_come_is_given_up(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http, "HEAD_PATIENCE", 0.2)
    assert_refused(exchange(house, b"GET /weft/v1/ping HT"), 408, "head has not come")


def test_a_head_without_end_is_refused(house: House):
    line = b"x-a: " + b"a" * 1000 + b"\r\n"
    assert_refused(exchange(house, b"GET /weft/v1/ping HTTP/1.1\r\n", line * 330), 431, "head is too large")


def test_a_request_that_is_cut_short_changes_nothing_and_harms_nobody(house: House):
    for cut in (b"POST /weft", request("POST", "/weft/v1/networks", b'{"name": "cut"}')[:-5]):
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(house.config.socket_path)
            stream.sendall(cut)
    assert house.client.ping()["ready"]
    assert "cut" not in {network.name for network in house.client.networks.list()}


def test_a_client_that_leaves_before_the_answer_has_still_been_heard(house: House):
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(house.config.socket_path)
        stream.sendall(request("POST", "/weft/v1/networks", b'{"name": "heard"}'))
    deadline = time.monotonic() + 5
    while "heard" not in {network.name for network in house.client.networks.list()}:
        assert time.monotonic() < deadline


def test_requests_in_one_go_are_answered_in_turn(house: House):
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(10)
        stream.connect(house.config.socket_path)
        names = ["one", "two", "three"]  # not the beginning of an id
        stream.sendall(b"".join(request("GET", f"/weft/v1/networks/{name}") for name in names))
        received = b""
        while received.count(b"no such network") < 3:
            received += stream.recv(65536)
        assert [received.index(f"network: '{name}'".encode()) for name in names] == sorted(
            received.index(f"network: '{name}'".encode()) for name in names
        )


def test_an_error_that_nobody_foresaw_is_told_in_one_line_and_logged(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    def fail(*args: object) -> None:
        raise ZeroDivisionError("first\nsecond")

    monkeypatch.setattr(house.parts.kernel, "host_networks", fail, raising=False)
    status, document = post(house, "/networks", b'{"name": "front"}')
    assert status == 500
    assert document == {
        "kind": "internal",
        "message": "weftd failed (ZeroDivisionError: first second); its log has more",
    }
    assert "ZeroDivisionError" in caplog.text


def test_every_kind_of_refusal_has_its_status(house: House):
    from weft.errors import KINDS

    for kind, error in KINDS.items():
        status, body = app.refusal(error("no"))
        assert status == app.STATUS[kind]
        assert json.loads(body) == {"kind": kind, "message": "no"}


def test_several_errors_at_once_are_one_refusal():
    from weft.errors import Conflict, WeftError

    status, body = app.refusal(ExceptionGroup("x", [Conflict("one"), WeftError("two")]))
    assert (status, json.loads(body)) == (409, {"kind": "conflict", "message": "one; two"})
