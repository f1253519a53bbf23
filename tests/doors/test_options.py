"""The flags' small languages, as tables: what is typed, and what the daemon is asked."""

from __future__ import annotations

import pytest

from weft.doors.cli import options
from weft.errors import Invalid


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("front", {"network": "front"}),
        ("front:", None),
        ("front:ip=10.7.0.9", {"network": "front", "ip": "10.7.0.9"}),
        ("front:ip6=fd00::9", {"network": "front", "ip6": "fd00::9"}),
        ("front:ip=10.7.0.9,ip6=fd00::9", {"network": "front", "ip": "10.7.0.9", "ip6": "fd00::9"}),
        ("front:mac=02:42:ac:11:00:02", {"network": "front", "mac": "02:42:ac:11:00:02"}),
        ("front:alias=a,alias=b", {"network": "front", "aliases": ["a", "b"]}),
        ("front:gw-priority=-5", {"network": "front", "gw_priority": -5}),
        ("front:ifname=lan0", {"network": "front", "ifname": "lan0"}),
        ("name=front", {"network": "front"}),
        ("name=front,ip=10.7.0.9,alias=a", {"network": "front", "ip": "10.7.0.9", "aliases": ["a"]}),
        ("alias=a,name=front,ip6=fd00::9", {"network": "front", "aliases": ["a"], "ip6": "fd00::9"}),
        ("name=front,mac-address=02:00:00:00:00:01", {"network": "front", "mac": "02:00:00:00:00:01"}),
        ("", None),
        (":ip=10.7.0.9", None),
        ("ip=10.7.0.9", None),
        ("front:10.7.0.9", None),
        ("front:ip=", None),
        ("front:ip=1.1.1.1,ip=2.2.2.2", None),
        ("front:bandwidth-in=2MB/s", {"network": "front", "options": {"bandwidth-in": "2MB/s"}}),
        (
            "name=front,driver-opt=bandwidth-in=1gbit,alias=a,colour=red",
            {"network": "front", "aliases": ["a"], "options": {"bandwidth-in": "1gbit", "colour": "red"}},
        ),
        ("front:bandwidth-in", None),
        ("front:bandwidth-in=", None),
        ("front:=1mbit", None),
        ("front:driver-opt=bandwidth-in", None),
        ("front:driver-opt==1mbit", None),
        ("front:bandwidth-in=1mbit,driver-opt=bandwidth-in=2mbit", None),
        ("front:name=back", None),
        ("front:gw-priority=high", None),
        ("container:web", {"network": "container:web"}),
        ("container:", {"network": "container:"}),
    ],
)
def test_network(text: str, document: object):
    if document is None:
        with pytest.raises(Invalid, match=r"network |gw-priority"):
            options.read_attachment(text)
    else:
        assert options.read_attachment(text) == document


def port(
    inside: int,
    host: int | None = None,
    *,
    inside_end: int | None = None,
    host_end: int | None = None,
    ip: str | None = None,
    proto: str = "tcp",
) -> dict[str, object]:
    fields = {
        "proto": proto,
        "container_port": inside,
        "container_port_end": inside_end,
        "host_ip": ip,
        "host_port": host,
        "host_port_end": host_end,
    }
    return {key: value for key, value in fields.items() if value is not None}


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("80", port(80)),
        ("80/udp", port(80, proto="udp")),
        ("80/SCTP", port(80, proto="sctp")),
        ("8080:80", port(80, 8080)),
        ("8080:80/udp", port(80, 8080, proto="udp")),
        ("0:80", port(80)),
        (":80", port(80)),
        ("127.0.0.1:8080:80", port(80, 8080, ip="127.0.0.1")),
        ("127.0.0.1::80", port(80, ip="127.0.0.1")),
        ("127.0.0.1:0:80", port(80, ip="127.0.0.1")),
        ("0.0.0.0:8080:80", port(80, 8080, ip="0.0.0.0")),
        ("[::1]:8080:80", port(80, 8080, ip="::1")),
        ("[::1]::80", port(80, ip="::1")),
        ("[fe80::1%eth0]:8080:80/tcp", port(80, 8080, ip="fe80::1%eth0")),
        ("3000-3005", port(3000, inside_end=3005)),
        ("9000-9010:9000-9010", port(9000, 9000, inside_end=9010, host_end=9010)),
        (
            "127.0.0.1:9000-9010:9000-9010/udp",
            port(9000, 9000, inside_end=9010, host_end=9010, ip="127.0.0.1", proto="udp"),
        ),
        ("[::1]:9000-9001:80-81", port(80, 9000, inside_end=81, host_end=9001, ip="::1")),
        ("8000-8099:80", port(80, 8000, host_end=8099)),
        ("8000-8000:80", port(80, 8000)),
        ("1:65535", port(65535, 1)),
        ("target=80,published=8080", port(80, 8080)),
        ("target=80", port(80)),
        ("target=53,published=5353,protocol=udp,host_ip=127.0.0.1", port(53, 5353, ip="127.0.0.1", proto="udp")),
        ("target=53,published=5353,host_ip=::1", port(53, 5353, ip="::1")),
    ],
)
def test_publish(text: str, document: object):
    assert options.read_publish(text) == document


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a port is missing"),
        ("/tcp", "a port is missing"),
        ("8080:", "a port is missing"),
        ("0", "'0' is not a port"),
        ("65536", "'65536' is not a port"),
        ("-1", "a port is missing"),
        ("http", "'http' is not a port"),
        ("8080:http", "'http' is not a port"),
        ("８０", "'８０' is not a port"),
        ("80/", "protocol '' is not one of tcp, udp, sctp"),
        ("80/icmp", "protocol 'icmp' is not one of tcp, udp, sctp"),
        ("9010-9000:80", "the range 9010-9000 is upside down"),
        ("9000-9001:80-82", "2 ports on the host for 3 ports in the container"),
        ("9000:80-82", "1 port on the host for 3 ports in the container"),
        ("::1:8080:80", "write an IPv6 address in brackets"),
        ("[::1]8080:80", "write an IPv6 address as"),
        ("[::1:8080:80", "write an IPv6 address as"),
        ("[::1]:8080", "which port in the container? Write [::1]:8080:80"),
        ("127.0.0.1:80", "write 127.0.0.1:80:80"),
        ("1:2:3:4", "write an IPv6 address in brackets"),
        ("published=80", "target, the port in the container, is missing"),
        ("target=80,port=8080", "unknown key 'port'"),
    ],
)
def test_publish_refused(text: str, reason: str):
    with pytest.raises(Invalid) as refused:
        options.read_publish(text)
    assert reason in refused.value.message


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("db:10.0.0.1", ("db", "10.0.0.1")),
        ("db=10.0.0.1", ("db", "10.0.0.1")),
        ("db:fd00::1", ("db", "fd00::1")),
        ("db=fd00::1", ("db", "fd00::1")),
        ("db:[fd00::1]", ("db", "fd00::1")),
        ("host:host-gateway", ("host", "host-gateway")),
        ("db", None),
        ("db:", None),
        (":10.0.0.1", None),
        ("", None),
    ],
)
def test_add_host(text: str, pair: object):
    if pair is None:
        with pytest.raises(Invalid, match="add-host"):
            options.read_host(text)
    else:
        assert options.read_host(text) == pair


def test_labels_may_have_no_value_but_options_of_drivers_must():
    assert options.read_pairs("label", ["a=b", "c", "d=e=f", "a=z"]) == {"a": "z", "c": "", "d": "e=f"}
    with pytest.raises(Invalid, match="label '=b'"):
        options.read_pairs("label", ["=b"])
    with pytest.raises(Invalid, match="aux-address 'a'"):
        options.read_pairs("aux-address", ["a"], bare=False)


def test_a_variable_without_value_is_the_callers():
    environ = {"HOME": "/root", "EMPTY": ""}
    given = options.read_environment(["A=b", "HOME", "EMPTY", "ABSENT", "X="], environ)
    assert given == {"A": "b", "HOME": "/root", "EMPTY": "", "X": ""}
    with pytest.raises(Invalid):
        options.read_environment(["=x"], environ)


def test_an_environment_file_has_comments_and_blank_lines():
    assert options.read_environment_file("# a\n\nA=b c\n  D\n") == ["A=b c", "D"]


def pools(subnets: str = "", ranges: str = "", gateways: str = "", aux: str = "") -> list[dict[str, object]]:
    return options.read_pools(
        subnets=subnets.split(), ranges=ranges.split(), gateways=gateways.split(), aux=aux.split()
    )


def test_flags_of_one_family_make_one_pool():
    assert pools() == []
    assert pools("10.7.0.0/24") == [{"subnet": "10.7.0.0/24"}]
    assert pools("fd00::/64 10.7.0.0/24", "10.7.0.128/25", "fd00::1 10.7.0.1", "nas=10.7.0.5 tap=fd00::5") == [
        {"subnet": "10.7.0.0/24", "ip_range": "10.7.0.128/25", "gateway": "10.7.0.1", "aux": {"nas": "10.7.0.5"}},
        {"subnet": "fd00::/64", "gateway": "fd00::1", "aux": {"tap": "fd00::5"}},
    ]


def test_pools_may_be_listed_with_commas_and_be_without_a_subnet():
    assert pools("10.7.0.0/24,fd00::/64") == [{"subnet": "10.7.0.0/24"}, {"subnet": "fd00::/64"}]
    assert pools(gateways="10.7.0.1", aux="nas=fd00::5") == [{"gateway": "10.7.0.1"}, {"aux": {"nas": "fd00::5"}}]


def test_two_subnets_of_one_family_stay_two():
    assert pools("10.7.0.0/24 10.8.0.0/24", gateways="10.7.0.1 10.8.0.1") == [
        {"subnet": "10.7.0.0/24", "gateway": "10.7.0.1"},
        {"subnet": "10.8.0.0/24", "gateway": "10.8.0.1"},
    ]


def test_what_is_said_of_a_subnet_belongs_to_the_one_it_lies_in():
    assert pools(
        "10.7.0.0/24 10.8.0.0/24 fd07::/64 fd08::/64",
        ranges="10.8.0.128/25 fd08::8000/113",
        gateways="10.8.0.254 fd08::1 10.7.0.254",
        aux="nas=10.8.0.5 tap=10.8.0.6 lamp=fd08::5 host=10.7.0.5",
    ) == [
        {"subnet": "10.7.0.0/24", "gateway": "10.7.0.254", "aux": {"host": "10.7.0.5"}},
        {
            "subnet": "10.8.0.0/24",
            "ip_range": "10.8.0.128/25",
            "gateway": "10.8.0.254",
            "aux": {"nas": "10.8.0.5", "tap": "10.8.0.6"},
        },
        {"subnet": "fd07::/64"},
        {"subnet": "fd08::/64", "ip_range": "fd08::8000/113", "gateway": "fd08::1", "aux": {"lamp": "fd08::5"}},
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gateways": "10.9.0.1"}, "gateway 10.9.0.1 lies in none of the subnets 10.7.0.0/24, 10.8.0.0/24"),
        ({"ranges": "10.9.0.0/25"}, "ip-range 10.9.0.0/25 lies in none of the subnets 10.7.0.0/24, 10.8.0.0/24"),
        ({"aux": "nas=10.9.0.1"}, "aux-address nas 10.9.0.1 lies in none of the subnets 10.7.0.0/24, 10.8.0.0/24"),
        ({"gateways": "10.7.0.1 10.7.0.2"}, "gateway 10.7.0.2: its subnet has one already, 10.7.0.1"),
        ({"gateways": "10.7.0"}, "gateway 10.7.0: '10.7.0' does not appear to be an IPv4 or IPv6 network"),
    ],
)
def test_what_belongs_to_no_subnet_is_refused(given: dict[str, str], said: str):
    with pytest.raises(Invalid) as refused:
        pools("10.7.0.0/24 10.8.0.0/24", **given)
    assert str(refused.value) == said


def test_routes():
    assert options.read_route("10.9.0.0/16,10.7.0.5") == ("10.9.0.0/16", "10.7.0.5")
    for text in ("10.9.0.0/16", "10.9.0.0/16,", ",10.7.0.5", ""):
        with pytest.raises(Invalid, match="write DESTINATION,GATEWAY"):
            options.read_route(text)
    with pytest.raises(Invalid, match="no metric"):
        options.read_route("10.9.0.0/16,10.7.0.5,100")


def test_signals():
    assert [options.read_signal(text) for text in ("TERM", "SIGTERM", "sigterm", "15", "kill")] == [15, 15, 15, 15, 9]
    with pytest.raises(Invalid):
        options.read_signal("SIGNONE")


def test_signals_are_the_systems():
    import signal

    assert {name: signal.Signals[f"SIG{name}"].value for name in options.SIGNALS} == options.SIGNALS


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1500.5", 1500.5),
        ("10s", 9990),
        ("10m", 9400),
        ("1h30m", 4600),
        ("0.5h", 8200),
        ("1970-01-01T01:00:00+00:00", 3600),
        ("1970-01-01T01:00:00Z", 3600),
        ("10", 10),
        ("10x", None),
        ("m", None),
        ("", None),
        ("yesterday", None),
    ],
)
def test_times(text: str, seconds: float | None):
    if seconds is None:
        with pytest.raises(Invalid, match="since: "):
            options.read_time("since", text, now=10_000)
    else:
        assert options.read_time("since", text, now=10_000) == seconds
