"""Terraform's provider for Docker, played: its requests, and what it makes of the answers.

From github.com/kreuzwerker/terraform-provider-docker at 83c00e0 (July 2026), internal/provider/config.go,
resource_docker_network.go, resource_docker_network_funcs.go and data_source_docker_network.go. Every attribute of a
network is one that makes it anew if it differs, so an answer that says anything else than what was asked has Terraform
destroy and make the network at each run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.docker.conftest import World
from tests.docker.goclient import GoClient

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("clean")]

Attributes = Mapping[str, Any]

COMPUTED = ("driver", "internal", "options", "ipam_config")
"""What may be anything if nothing is said of it."""
USUAL: Attributes = {
    "attachable": False,
    "ingress": False,
    "ipv6": False,
    "ipam_driver": "default",
    "ipam_options": {},
    "labels": {},
}
"""What is expected of the rest, then."""

# A network with ipv6 and a pool of IPv4 alone is made anew each time by Docker's answers, too, which show both.


@pytest.fixture
def client(world: World) -> Iterator[GoClient]:
    """As the provider begins: a ping, and the version, of which it only warns if it is not there."""
    with GoClient(world.weftd.socket) as client:
        status, document = client.ask("GET", "/version")
        assert (status, document["ApiVersion"]) == (200, "1.52")
        yield client


def create(client: GoClient, wanted: Attributes) -> str:
    """resourceDockerNetworkCreate; the network's id."""
    ipam = {
        "Driver": wanted.get("ipam_driver", "default"),
        "Options": wanted.get("ipam_options"),
        "Config": [_pool(pool) for pool in wanted["ipam_config"]] if "ipam_config" in wanted else None,
    }
    document = {
        "Driver": wanted.get("driver", ""),
        "Scope": "",
        **({"EnableIPv6": True} if wanted.get("ipv6") else {}),  # what is false is not sent
        "IPAM": ipam,
        "Internal": wanted.get("internal", False),
        "Attachable": wanted.get("attachable", False),
        "Ingress": wanted.get("ingress", False),
        "ConfigOnly": False,
        "ConfigFrom": None,
        "Options": wanted.get("options"),
        "Labels": wanted.get("labels"),
        "Name": wanted["name"],
    }
    status, answer = client.ask("POST", "/networks/create", document)
    assert status == 201, answer
    return str(answer["Id"])


def _pool(pool: Attributes) -> dict[str, Any]:
    names = {"subnet": "Subnet", "ip_range": "IPRange", "gateway": "Gateway", "aux_address": "AuxiliaryAddresses"}
    return {names[name]: value for name, value in pool.items() if value}


def read(client: GoClient, ident: str) -> Attributes | None:
    """resourceDockerNetworkRead; None if the network is taken for removed."""
    status, document = client.ask("GET", f"/networks/{ident}")
    if status != 200:
        return None
    return {
        "name": document["Name"],
        "labels": document["Labels"] or {},
        "driver": document["Driver"],
        "internal": document["Internal"],
        "attachable": document["Attachable"],
        "ingress": document["Ingress"],
        "ipv6": document["EnableIPv6"],
        "ipam_driver": document["IPAM"]["Driver"],
        "ipam_options": document["IPAM"]["Options"] or {},
        "scope": document["Scope"],
        "options": document["Options"] or {},
        "ipam_config": [
            {
                "subnet": config.get("Subnet", ""),
                "ip_range": config.get("IPRange", ""),
                "gateway": config.get("Gateway", ""),
                "aux_address": config.get("AuxiliaryAddresses") or {},
            }
            for config in document["IPAM"]["Config"] or ()
        ],
    }


def delete(client: GoClient, ident: str) -> str:
    """resourceDockerNetworkRemoveRefreshFunc, which is called until it does not say "pending"."""
    if client.ask("GET", f"/networks/{ident}")[0] != 200:
        return "removed"
    status, message = client.ask("DELETE", f"/networks/{ident}")
    if status < 400:
        return "removed"
    return "pending" if "has active endpoints" in message else "other"


def differences(wanted: Attributes, state: Attributes) -> list[str]:
    """The attributes for which Terraform would make the network anew. Pools are a set."""
    found = [name for name in wanted if _comparable(name, wanted[name]) != _comparable(name, state[name])]
    return found + [name for name, usual in USUAL.items() if name not in wanted and state[name] != usual]


def _comparable(name: str, value: Any) -> Any:
    if name != "ipam_config":
        return value
    nothing = {"subnet": "", "ip_range": "", "gateway": "", "aux_address": {}}
    return sorted(str({**nothing, **pool}) for pool in value)


DECLARATIONS: dict[str, Attributes] = {
    "no more than a name": {},
    "the page's example": {"ipam_config": [{"subnet": "10.7.0.0/24"}], "driver": "bridge"},
    "a gateway": {"ipam_config": [{"subnet": "10.7.0.0/24", "gateway": "10.7.0.1"}]},
    "another gateway": {"ipam_config": [{"subnet": "10.7.0.0/24", "gateway": "10.7.0.99"}]},
    "all of a pool": {
        "ipam_config": [
            {
                "subnet": "10.7.0.0/24",
                "ip_range": "10.7.0.128/25",
                "gateway": "10.7.0.5",
                "aux_address": {"printer": "10.7.0.9", "scanner": "10.7.0.10"},
            }
        ]
    },
    "both families": {"ipv6": True, "ipam_config": [{"subnet": "fd07::/64"}, {"subnet": "10.7.0.0/24"}]},
    "IPv6 of weft's choice": {"ipv6": True},
    "internal, with labels": {
        "internal": True,
        "attachable": True,
        "labels": {"com.docker.compose.network": "foo", "empty": ""},
        "ipam_config": [{"subnet": "10.0.1.0/24"}],
    },
    "options": {
        "options": {"com.docker.network.driver.mtu": "1400", "com.docker.network.bridge.enable_icc": "false"},
        "ipam_driver": "default",
    },
    "a family by option": {"options": {"com.docker.network.enable_ipv4": "true"}, "internal": False},
    "the other by option": {"options": {"com.docker.network.enable_ipv6": "true"}, "ipv6": True},
}


@pytest.mark.parametrize("declared", DECLARATIONS.values(), ids=DECLARATIONS)
def test_a_second_run_has_nothing_to_do(client: GoClient, declared: Attributes):
    wanted = {"name": "foo", **declared}
    ident = create(client, wanted)
    state = read(client, ident)
    assert state is not None
    assert differences(wanted, state) == []
    assert (state["driver"], state["scope"]) == ("bridge", "local")
    assert read(client, ident) == state
    assert delete(client, ident) == "removed"
    assert read(client, ident) is None
    assert delete(client, ident) == "removed"


def test_what_is_chosen_is_known_afterwards(client: GoClient):
    """Who asks for no subnet refers to the one there is: `docker_network.foo.ipam_config[0].gateway`."""
    state = read(client, create(client, {"name": "foo", "ipv6": True}))
    assert state is not None
    assert [("." in pool["gateway"], ":" in pool["gateway"]) for pool in state["ipam_config"]] == [
        (True, False),
        (False, True),
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"internal": True},
        {"labels": {"a": "b"}},
        {"ipv6": True, "ipam_config": [{"subnet": "10.7.0.0/24"}, {"subnet": "fd07::/64"}]},
        {"ipam_config": [{"subnet": "10.7.0.0/24", "gateway": "10.7.0.9"}]},
        {"options": {"com.docker.network.driver.mtu": "1300"}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_change_makes_it_anew(client: GoClient, changed: Attributes):
    wanted: Attributes = {"name": "foo", "ipam_config": [{"subnet": "10.7.0.0/24"}]}
    first = create(client, wanted)
    state = read(client, first)
    assert state is not None
    wanted = {**wanted, **changed}
    assert set(differences(wanted, state)) == set(changed)
    assert delete(client, first) == "removed"
    second = create(client, wanted)
    state = read(client, second)
    assert state is not None
    assert (differences(wanted, state), second != first) == ([], True)


def test_a_network_in_use_is_removed_once_it_is_not(client: GoClient, world: World):
    ident = create(client, {"name": "foo"})
    world.container("web", "foo")
    assert [delete(client, ident), delete(client, ident)] == ["pending", "pending"]
    world.docker("network", "disconnect", "foo", "web")
    assert delete(client, ident) == "removed"


def test_what_somebody_else_changed_is_noticed(client: GoClient, world: World):
    ident = create(client, {"name": "foo"})
    world.docker("network", "rm", "foo")
    world.docker("network", "create", "foo")
    assert read(client, ident) is None


def test_a_network_is_found_by_name(client: GoClient, world: World):
    """As a data source."""
    ident = create(client, {"name": "foo", "ipam_config": [{"subnet": "10.7.0.0/24"}]})
    member = world.container("web", "foo")
    _, document = client.ask("GET", "/networks/foo")
    assert document["Id"] == ident
    assert document["Containers"][member]["IPv4Address"] == "10.7.0.2/24"
    assert set(document["Containers"][member]) == {"Name", "EndpointID", "MacAddress", "IPv4Address", "IPv6Address"}
    assert client.ask("GET", "/networks/bar") == (404, "network bar not found")


def test_what_cannot_be_kept_is_refused(client: GoClient):
    """Were it ignored, it would be missing at each run."""
    for wanted in ({"ipam_options": {"a": "b"}}, {"options": {"a": "b"}}):
        with pytest.raises(AssertionError, match="unknown option 'a'"):
            create(client, {"name": "foo", **wanted})
