"""A published port is held on the host: by one, for both families, and told from whom it could not be taken."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from ipaddress import ip_address

import pytest

from tests.hosts import in_private_host
from tests.kernel.world import sh
from tests.kinds import needs_protocol
from weft.errors import Conflict, Exhausted, Invalid, Unsupported
from weft.kernel.ports import HostPortSockets
from weft.model import PortBinding, Proto


def port(number: int, proto: str = "tcp", address: str | None = None) -> PortBinding:
    host_ip = ip_address(address) if address else None
    return PortBinding(proto=Proto(proto), container_port=80, host_port=number, host_ip=host_ip)


@in_private_host
def test_a_held_port_is_in_use_for_everybody_else():
    ports = HostPortSockets()
    held = [port(8080), port(8081, "tcp", "127.0.0.1"), port(8082, "tcp", "::1")]
    ports.reserve(held)
    ports.reserve(held)
    for family, host, number in ((2, "0.0.0.0", 8080), (10, "::", 8080), (2, "127.0.0.1", 8081), (10, "::1", 8082)):
        with socket.socket(family) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                other.bind((host, number))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 8080))
    for _ in range(2):
        ports.release(held)
    for number in (8080, 8081, 8082):
        with socket.create_server(("", number)):
            pass


@in_private_host
def test_the_same_port_on_different_addresses_and_protocols():
    ports = HostPortSockets()
    ports.reserve([port(53, "tcp", "127.0.0.1"), port(53, "tcp", "127.0.0.2"), port(53, "tcp", "::1"), port(53, "udp")])
    with pytest.raises(Conflict, match="port 53/tcp is published already"):
        ports.reserve([port(53)])


@in_private_host
def test_all_or_none():
    ports = HostPortSockets()
    with pytest.raises(Invalid, match=r"no address 192\.0\.2\.9"):
        ports.reserve([port(80), port(81, "tcp", "192.0.2.9")])
    with socket.create_server(("", 80)):
        pass


@in_private_host
def test_the_holder_is_named():
    with subprocess.Popen(["nc", "-lp", "7000"]) as holder:
        try:
            while not sh("ss -Hltn sport = 7000"):
                time.sleep(0.01)
            with pytest.raises(Conflict, match=rf"port 7000/tcp is taken on this host by nc.* \(pid {holder.pid}\)"):
                HostPortSockets().reserve([port(7000)])
            with pytest.raises(Conflict, match=rf"7000/tcp of 127\.0\.0\.1 is taken .* \(pid {holder.pid}\)"):
                HostPortSockets().reserve([port(7000, "tcp", "127.0.0.1")])
        finally:
            holder.kill()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other:
        other.bind(("::1", 7001))
        with pytest.raises(Conflict, match="port 7001/udp of ::1 is taken on this host by weft itself"):
            HostPortSockets().reserve([port(7001, "udp", "::1")])


@in_private_host
def test_connections_that_ended_do_not_keep_a_port():
    server = socket.create_server(("127.0.0.1", 7000))
    client = socket.create_connection(("127.0.0.1", 7000))
    accepted, _ = server.accept()
    for ended in (accepted, client, server):
        ended.close()
    with socket.socket() as strict, pytest.raises(OSError, match="in use"):
        strict.bind(("127.0.0.1", 7000))
    HostPortSockets().reserve([port(7000)])


@in_private_host
def test_a_port_held_in_spite_of_ended_connections_is_held():
    test_ports = HostPortSockets()
    server = socket.create_server(("127.0.0.1", 7000))
    client = socket.create_connection(("127.0.0.1", 7000))
    accepted, _ = server.accept()
    for ended in (accepted, client, server):
        ended.close()
    test_ports.reserve([port(7000)])
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", 7000))


@in_private_host
def test_udp_that_strays_in_is_dropped():
    ports = HostPortSockets()
    ports.reserve([port(7000, "udp")])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(100):
            sender.sendto(bytes(1000), ("127.0.0.1", 7000))
    held = ports.socket_of(port(7000, "udp"))
    assert held is not None
    with pytest.raises(BlockingIOError):
        held.recv(10)


@in_private_host
def test_sctp_is_held_or_said_to_be_unknown():
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).close()
    except OSError:
        with pytest.raises(Unsupported, match="does not speak sctp"):
            HostPortSockets().reserve([port(7000, "sctp")])
    else:
        HostPortSockets().reserve([port(7000, "sctp")])


@pytest.mark.full_kernel
@in_private_host
def test_the_holder_of_an_sctp_port_is_named():
    needs_protocol("sctp")
    serve = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 132)\n"
        "s.bind((sys.argv[1], 7000)); s.listen(); print(flush=True); sys.stdin.read()"
    )
    for address in ("::", "::1"):
        with subprocess.Popen([sys.executable, "-c", serve, address], stdin=-1, stdout=-1) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == b"\n"
            with pytest.raises(
                Conflict, match=rf"port 7000/sctp is taken on this host by python.* \(pid {server.pid}\)"
            ):
                HostPortSockets().reserve([port(7000, "sctp")])
            HostPortSockets().reserve([port(7001, "sctp")])
            server.communicate()
    HostPortSockets().reserve([port(7000, "sctp")])


@in_private_host
def test_free_ports():
    ports = HostPortSockets()
    ports.reserve([port(7000)])
    with socket.create_server(("127.0.0.1", 7001)):
        assert ports.free_port(Proto.TCP, None, 7000, 7005) == 7002
        assert ports.free_port(Proto.UDP, None, 7000, 7005) == 7000
        assert ports.free_port(Proto.TCP, ip_address("127.0.0.2"), 7001, 7001) == 7001
        with pytest.raises(Exhausted, match="no free tcp port from 7000 to 7001"):
            ports.free_port(Proto.TCP, None, 7000, 7001)
    with pytest.raises(Invalid, match=r"no address 192\.0\.2\.9"):
        ports.free_port(Proto.TCP, ip_address("192.0.2.9"), 0, 0)


@in_private_host
def test_ephemeral_ports_keep_out_of_reserved_ones():
    sh("sysctl -qw net.ipv4.ip_local_port_range='40000 40003' net.ipv4.ip_local_reserved_ports=40000-40001,40003")
    ports = HostPortSockets()
    assert ports.free_port(Proto.TCP, None, 0, 0) == 40002
    ports.reserve([port(40002)])
    with pytest.raises(Exhausted, match="from 40000 to 40003"):
        ports.free_port(Proto.TCP, None, 0, 0)
