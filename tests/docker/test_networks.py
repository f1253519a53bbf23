"""The stock CLI's network commands: what they show and do, and how they are refused."""

from __future__ import annotations

import re

import pytest

from tests.docker.conftest import World
from tests.waiting import eventually
from weft.drivers.bridge_options import SPELLINGS

KNOWN = sorted(set(SPELLINGS.values()))

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("clean")]


def test_the_list_as_people_see_it(world: World, client: str):
    ident = world.docker("network", "create", "blue", client=client).stdout.strip()
    assert re.fullmatch("[0-9a-f]{64}", ident)
    heading, *rows = (line.split() for line in world.lines("network", "ls", client=client))
    assert heading == "NETWORK ID NAME DRIVER SCOPE".split()
    assert [row[1:] for row in rows] == [
        ["blue", "bridge", "local"],
        ["bridge", "bridge", "local"],
        ["host", "host", "local"],
        ["none", "null", "local"],
    ]
    assert rows[0][0] == ident[:12]
    assert world.lines("network", "ls", "-q", "--no-trunc", "--filter", "name=blue", client=client) == [ident]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour=blue", "invalid filter 'colour'"),
        ("type=odd", "invalid filter: 'type'='odd'"),
        ("dangling=perhaps", "invalid filter 'dangling=[perhaps]'"),
        ("name=(a+)+", "invalid filter: '(a+)+' repeats too much"),
    ],
)
def test_filters_that_mean_nothing(world: World, text: str, message: str, client: str):
    assert world.refusal("network", "ls", "--filter", text, client=client) == message


def test_inspect_by_name_id_and_beginning(world: World, client: str):
    ident = world.docker("network", "create", "blue").stdout.strip()
    for ref in ("blue", ident, ident[:12]):
        assert world.inspect(ref, client)["Id"] == ident


def test_a_name_goes_before_the_beginning_of_an_id(world: World):
    ident = world.docker("network", "create", "blue").stdout.strip()
    other = world.docker("network", "create", ident[:8]).stdout.strip()
    assert world.inspect(ident[:8])["Id"] == other


def test_an_ambiguous_beginning(world: World):
    idents = [world.docker("network", "create", f"n{number}").stdout.strip() for number in range(14)]
    idents += [world.ask("GET", f"/networks/{name}").json["Id"] for name in ("bridge", "host", "none")]
    counts = {start: sum(ident.startswith(start) for ident in idents) for start in "0123456789abcdef"}
    start, count = max(counts.items(), key=lambda item: item[1])
    assert count > 1, "17 ids cannot begin with 16 digits"
    message = f"network {start} is ambiguous ({count} matches found based on ID prefix)"
    answer = world.ask("GET", f"/networks/{start}")
    assert (answer.status, answer.message) == (400, message)
    assert world.ask("DELETE", f"/networks/{start}").status == 400
    assert world.refusal("network", "inspect", start) == message


def test_nothing_of_that_name(world: World, client: str):
    done = world.docker("network", "inspect", "nope", check=False, client=client)
    assert done.returncode == 1
    assert "network nope not found" in done.stderr or "No such network: nope" in done.stderr
    assert world.ask("GET", "/networks/nope").message == "network nope not found"
    assert world.ask("GET", "/networks/nope").status == 404


def test_inspect_within_a_scope(world: World):
    assert world.ask("GET", "/networks/bridge?scope=local").json["Name"] == "bridge"
    assert world.ask("GET", "/networks/bridge?scope=swarm").status == 404


def test_everything_that_can_be_said_of_a_network(world: World, client: str):
    world.docker(
        *("network", "create", "--driver", "bridge", "--internal", "--ipv6", "--attachable"),
        *("--subnet", "10.7.0.0/24", "--ip-range", "10.7.0.128/25", "--gateway", "10.7.0.5"),
        *("--aux-address", "printer=10.7.0.9", "--subnet", "fd07::/64", "--gateway", "fd07::5"),
        *("--opt", "com.docker.network.driver.mtu=1400", "--opt", "com.docker.network.bridge.enable_icc=false"),
        *("--label", "team=a", "--label", "empty", "blue"),
        client=client,
    )
    document = world.inspect("blue", client)
    assert document.pop("Created").startswith("20")
    assert len(document.pop("Id")) == 64
    for late in ("EnableIPv4", "Status"):  # fields that older clients do not know
        document.pop(late, None)
    assert document == {
        "Name": "blue",
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv6": True,
        "IPAM": {
            "Driver": "default",
            "Options": {},
            "Config": [
                {
                    "Subnet": "10.7.0.0/24",
                    "IPRange": "10.7.0.128/25",
                    "Gateway": "10.7.0.5",
                    "AuxiliaryAddresses": {"printer": "10.7.0.9"},
                },
                {"Subnet": "fd07::/64", "Gateway": "fd07::5"},
            ],
        },
        "Internal": True,
        "Attachable": True,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": {
            "com.docker.network.driver.mtu": "1400",
            "com.docker.network.bridge.enable_icc": "false",
        },
        "Labels": {"team": "a", "empty": ""},
    }


def test_families_by_option_as_the_daemons_own_words(world: World):
    options = {"com.docker.network.enable_ipv6": "true", "com.docker.network.enable_ipv4": "false"}
    assert world.ask("POST", "/networks/create", {"Name": "six", "Options": options}).status == 201
    document = world.inspect("six")
    assert (document["EnableIPv4"], document["EnableIPv6"]) == (False, True)
    assert document["Options"] == options  # as they were given: tools compare
    (pool,) = document["IPAM"]["Config"]
    assert ":" in pool["Subnet"]


def test_a_network_is_shown_as_it_was_asked_for_after_a_restart_too(world: World):
    """A gateway that nobody asked for is none to compare with; weft's own API tells of it."""
    world.docker("network", "create", "--subnet", "10.7.0.0/24", "-o", "com.docker.network.enable_ipv4=true", "blue")
    before = world.inspect("blue")
    assert before["IPAM"]["Config"] == [{"Subnet": "10.7.0.0/24"}]
    assert before["Options"] == {"com.docker.network.enable_ipv4": "true"}
    (network,) = world.weftd.client.networks.list()
    assert network.pools[0].gateway == "10.7.0.1"
    world.weftd.restart()
    assert world.inspect("blue") == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("bridge", "operation is not permitted on predefined bridge network"),
        ("default", "operation is not permitted on predefined default network"),
        ("there", "network with name there already exists"),
        ("--driver nope n", "plugin \"nope\" not found: no such network driver: 'nope'"),
        ("--ipam-driver nope n", 'plugin "nope" not found: there are default (weft itself) and dhcp (the LAN)'),
        ("--scope swarm n", "This node is not a swarm manager: weft's networks here have the scope local."),
        ("--ingress n", "This node is not a swarm manager: weft's networks here have the scope local."),
        ("--config-only --internal n", "configuration network can only contain network specific fields"),
        ("--config-from nowhere n", 'configuration network "nowhere" does not exist'),
        ("--opt colour=blue n", f"unknown option 'colour' for driver bridge; it knows {', '.join(KNOWN)}"),
        ("--opt mtu=wide n", "option mtu: 'wide' is not a whole number"),
        (
            "--subnet 10.6.0.0/25 n",
            "invalid pool request: Pool overlaps with other one on this address space: "
            "subnet 10.6.0.0/25 overlaps network 'there' (10.6.0.0/24)",
        ),
    ],
)
def test_networks_that_cannot_be(world: World, words: str, message: str, client: str):
    world.docker("network", "create", "--subnet", "10.6.0.0/24", "there")
    assert world.refusal("network", "create", *words.split(), client=client) == message
    assert world.networks() == ["bridge", "host", "none", "there"]


def test_a_network_of_several_subnets(world: World, client: str):
    subnets = "--subnet 10.7.0.0/24 --subnet 10.8.0.0/24 --ipv6 --subnet fd07::/64 --subnet fd08::/64"
    more = "--gateway 10.8.0.254 --gateway fd08::1 --ip-range 10.8.0.128/25 --aux-address nas=10.8.0.200"
    world.docker("network", "create", *subnets.split(), *more.split(), "blue", client=client)
    config = sorted(world.inspect("blue", client)["IPAM"]["Config"], key=lambda pool: pool["Subnet"])
    assert [(pool["Subnet"], pool.get("Gateway")) for pool in config] == [
        ("10.7.0.0/24", None),  # nobody asked for one
        ("10.8.0.0/24", "10.8.0.254"),
        ("fd07::/64", None),
        ("fd08::/64", "fd08::1"),
    ]
    assert config[1] == {
        "Subnet": "10.8.0.0/24",
        "IPRange": "10.8.0.128/25",
        "Gateway": "10.8.0.254",
        "AuxiliaryAddresses": {"nas": "10.8.0.200"},
    }
    world.container("web")
    world.docker("network", "connect", "--ip", "10.8.0.9", "--ip6", "fd08::9", "blue", "web", client=client)
    shown = world.ask("GET", "/containers/web/json").json["NetworkSettings"]["Networks"]["blue"]
    assert (shown["IPAddress"], shown["Gateway"]) == ("10.8.0.9", "10.8.0.254")
    assert (shown["GlobalIPv6Address"], shown["IPv6Gateway"]) == ("fd08::9", "fd08::1")


def test_a_container_comes_and_goes(world: World, client: str):
    world.docker("network", "create", "--subnet", "10.7.0.0/24", "--ipv6", "--subnet", "fd07::/64", "blue")
    ident = world.container("web")
    words = ("--ip", "10.7.0.77", "--ip6", "fd07::77", "--alias", "www", "--alias", "site")
    world.docker("network", "connect", *words, "blue", "web", client=client)
    (member,) = world.inspect("blue", client)["Containers"].items()
    endpoint = member[1].pop("EndpointID")
    assert len(endpoint) == 64
    mac = member[1].pop("MacAddress")
    assert member == (ident, {"Name": "web", "IPv4Address": "10.7.0.77/24", "IPv6Address": "fd07::77/64"})
    shown = world.weftd.sandbox("web", "ip", "-br", "addr").stdout
    assert "10.7.0.77/24" in shown
    assert "fd07::77/64" in shown
    assert mac in world.weftd.sandbox("web", "ip", "-br", "link").stdout
    aliases = {each.network: each.aliases for each in world.weftd.client.containers.get("web").endpoints}
    assert [*aliases["blue"]] == ["www", "site"]
    world.docker("network", "disconnect", "blue", "web", client=client)
    assert world.inspect("blue", client)["Containers"] == {}
    eventually(lambda: "10.7.0.77/24" not in world.weftd.sandbox("web", "ip", "-br", "addr").stdout, within=10)


def test_the_way_out_and_the_interfaces_name(world: World):
    world.docker("network", "create", "blue")
    world.docker("network", "create", "red")
    world.container("web", "blue")
    wish = {"GwPriority": 5, "DriverOpts": {"com.docker.network.endpoint.ifname": "up0"}}
    answer = world.ask("POST", "/networks/red/connect", {"Container": "web", "EndpointConfig": wish})
    assert (answer.status, answer.body) == (200, b"")
    assert "dev up0" in world.weftd.sandbox("web", "ip", "route", "show", "default").stdout


def test_the_default_network_is_made_when_somebody_comes(world: World):
    assert world.inspect("bridge")["IPAM"]["Config"] == []
    world.docker("network", "create", "blue")
    ident = world.inspect("bridge")["Id"]
    world.container("web", "blue")
    world.docker("network", "connect", "bridge", "web")
    document = world.inspect("bridge")
    assert document["Id"] == ident
    assert [member["Name"] for member in document["Containers"].values()] == ["web"]
    assert document["IPAM"]["Config"][0]["Gateway"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("connect blue web", "endpoint with name web already exists in network blue"),
        ("connect blue nobody", "No such container: nobody"),
        ("connect nowhere web", "network nowhere not found"),
        ("connect host web", "container cannot be disconnected from host network or connected to host network"),
        ("connect --ip 10.9.0.1 red web", "address 10.9.0.1 is not in the subnet 10.8.0.0/24"),
        ("connect --ip 10.8.0.1 red web", "address 10.8.0.1 is reserved: it is the network's gateway"),
        ("connect --ip6 fd00::1 red web", "address fd00::1: network 'red' has no IPv6"),
        ("connect --link db:db red web", "no such container: 'db'"),
        (
            "connect --driver-opt colour=blue red web",
            "unknown option 'colour' for an endpoint of driver bridge; it knows bandwidth-in, bandwidth-in-burst, "
            "bandwidth-out, bandwidth-out-burst",
        ),
        ("disconnect red web", "container web is not connected to network red"),
        ("disconnect blue nobody", "No such container: nobody"),
        ("disconnect nowhere web", "network nowhere not found"),
        ("rm nowhere", "network nowhere not found"),
        ("rm bridge", "bridge is a pre-defined network and cannot be removed"),
        ("rm host", "host is a pre-defined network and cannot be removed"),
    ],
)
def test_refusals(world: World, words: str, message: str, client: str):
    world.docker("network", "create", "--subnet", "10.7.0.0/24", "blue")
    world.docker("network", "create", "--subnet", "10.8.0.0/24", "red")
    world.container("web", "blue")
    before, marks = world.ask("GET", "/networks").body, world.marks()
    said = world.refusal("network", *words.split(), client=client)
    assert said.replace("No such network: nowhere", "network nowhere not found") == message
    assert world.ask("GET", "/networks").body == before
    assert world.marks() <= marks  # what a test before this one took away may go now


def test_addresses_that_are_taken_or_used_up(world: World, client: str):
    world.docker("network", "create", "--subnet", "10.7.0.0/30", "tiny")
    world.container("web", "tiny")
    for name in ("late", "later"):
        world.container(name)
    said = world.refusal("network", "connect", "--ip", "10.7.0.2", "tiny", "late", client=client)
    assert said == "address 10.7.0.2 is already in use by container 'web' on network 'tiny'"
    body = {"Container": "late", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.7.0.2"}}}
    assert world.ask("POST", "/networks/tiny/connect", body).status == 403
    assert world.ask("POST", "/networks/tiny/connect", {"Container": "later"}).status == 503
    assert "10.7.0.0/30" in world.refusal("network", "connect", "tiny", "later", client=client)


def test_leaving_by_force(world: World, client: str):
    world.docker("network", "create", "blue")
    world.container("web", "blue")
    world.docker("network", "disconnect", "-f", "blue", "web", client=client)
    assert world.inspect("blue")["Containers"] == {}
    world.docker("network", "disconnect", "-f", "blue", "web", client=client)
    world.docker("network", "disconnect", "-f", "blue", "nobody", client=client)


def test_remove(world: World, client: str):
    for name in ("blue", "red"):
        world.docker("network", "create", name)
    assert world.lines("network", "rm", "blue", "red", client=client) == ["blue", "red"]
    assert world.networks() == ["bridge", "host", "none"]
    eventually(lambda: world.marks() == set(), within=10)


def test_what_is_used_stays(world: World, client: str):
    world.docker("network", "create", "blue")
    world.container("web", "blue")
    said = world.refusal("network", "rm", "blue", client=client)
    assert re.search(r'network blue has active endpoints \(name:"web" id:"[0-9a-f]{12}"\)', said)
    assert "blue" in world.networks()


DOCKERS_OPTIONS = {
    "com.docker.network.bridge.gateway_mode_ipv4": "routed",
    "com.docker.network.bridge.gateway_mode_ipv6": "nat-unprotected",
    "com.docker.network.bridge.name": "lan0",
    "com.docker.network.bridge.inhibit_ipv4": "false",
    "com.docker.network.bridge.host_binding_ipv4": "127.0.0.1",
    "com.docker.network.bridge.trusted_host_interfaces": "eth7:eth8",
    "com.docker.network.bridge.enable_ip_masquerade": "true",
    "com.docker.network.bridge.default_bridge": "false",
    "com.docker.network.host_ipv4": "192.0.2.9",
    "com.docker.network.host_ipv6": "2001:db8::9",
    "com.docker.network.container_iface_prefix": "lan",
    "com.docker.network.advertise_addr_nmsgs": "1",
    "com.docker.network.advertise_addr_ms": "500",
}


def test_every_option_of_docker_s_bridge_driver_comes_back_as_it_was_given(world: World, client: str):
    options = [part for name, value in DOCKERS_OPTIONS.items() for part in ("--opt", f"{name}={value}")]
    world.docker("network", "create", "--ipv6", *options, "blue", client=client)
    assert world.inspect("blue", client)["Options"] == DOCKERS_OPTIONS
    assert world.weftd.host.run("ip -br link show lan0").stdout.startswith("lan0 ")
    listed = world.weftd.host.run("nft list set inet weft routed").stdout
    assert 'ipv4 . "lan0"' in listed


def test_an_isolated_network_has_no_gateway(world: World):
    isolated = ("--opt", "com.docker.network.bridge.gateway_mode_ipv4=isolated")
    assert "isolated is for internal networks" in world.refusal("network", "create", *isolated, "blue")
    world.docker("network", "create", "--internal", "--subnet", "10.7.0.0/24", *isolated, "blue")
    assert world.inspect("blue")["IPAM"]["Config"] == [{"Subnet": "10.7.0.0/24"}]


def test_a_routed_port_is_none_of_the_host_s(world: World):
    world.docker("network", "create", "--opt", "com.docker.network.bridge.gateway_mode_ipv4=routed", "blue")
    world.weftd.cli("run", "-d", "--name", "web", "--network", "blue", "-p", "8080:80", "--", "sleep", "60")
    assert world.weftd.cli("ps", "--format", "{{.Ports}}").stdout.strip() == "80/tcp"
    assert world.docker("ps", "--format", "{{.Ports}}").stdout.strip() == "80/tcp"
    assert world.weftd.cli("port", "web").stdout.startswith("80/tcp -> 172.")
