"""Ansible's modules for Docker, which say what there is to be and change what is not so: a second run changes nothing.

The modules are run as Ansible runs them on a host, as programs with their arguments on standard input.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.docker.conftest import World
from tests.docker.packages import collection, installed

pytestmark = [pytest.mark.root, pytest.mark.system, pytest.mark.slow, pytest.mark.usefixtures("clean")]

BUNDLE, CORE = "ansible==11.13.0", "ansible-core==2.18.19"
COLLECTION = "community/docker"

Module = Callable[..., dict[str, Any]]


@pytest.fixture
def module(world: World) -> Module:
    """Runs a module; what it returns."""
    place = installed(BUNDLE.replace("==", "-"), collection(COLLECTION, bundle=BUNDLE, core=CORE))

    def run(name: str, /, **arguments: Any) -> dict[str, Any]:
        command = [sys.executable, "-m", f"ansible_collections.community.docker.plugins.modules.{name}"]
        wanted = {"ANSIBLE_MODULE_ARGS": {"docker_host": f"unix://{world.weftd.socket}", **arguments}}
        environment = {"PYTHONPATH": str(place)}
        done = world.host.run(command, stdin=json.dumps(wanted), check=False, timeout=60, env=environment)
        result = json.loads(done.stdout.strip().splitlines()[-1])
        assert isinstance(result, dict)
        return result

    return run


def succeeds(result: dict[str, Any], *, changed: bool) -> dict[str, Any]:
    assert not result.get("failed"), result["msg"]
    assert result["changed"] is changed, result
    return result


DECLARATIONS: dict[str, dict[str, Any]] = {
    "no more than a name": {},
    "a driver": {"driver": "bridge", "scope": "local", "attachable": True, "internal": True, "ingress": False},
    "a subnet": {"ipam_config": [{"subnet": "10.7.0.0/24"}]},
    "a subnet with its gateway": {"ipam_config": [{"subnet": "10.7.0.0/24", "gateway": "10.7.0.5"}]},
    "a subnet and more": {
        "ipam_driver": "default",
        "ipam_driver_options": {},
        "ipam_config": [
            {"subnet": "10.7.0.0/24", "iprange": "10.7.0.128/25", "aux_addresses": {"a": "10.7.0.9", "b": "10.7.0.10"}}
        ],
    },
    "both families": {
        "enable_ipv6": True,
        "ipam_config": [{"subnet": "10.7.0.0/24"}, {"subnet": "FD07:0:0:0::/64", "gateway": "fd07:0::5"}],
    },
    "IPv6 alone": {"enable_ipv4": False, "enable_ipv6": True},
    "options": {
        "driver_options": {
            "com.docker.network.driver.mtu": 1400,
            "com.docker.network.bridge.enable_icc": False,
            "com.docker.network.bridge.enable_ip_masquerade": True,
        }
    },
    "labels": {"labels": {"team": "a", "empty": ""}},
    "a preset": {"config_only": True, "ipam_config": [{"subnet": "10.7.0.0/24"}]},
}


@pytest.mark.parametrize("declared", DECLARATIONS.values(), ids=DECLARATIONS)
def test_what_is_declared_is_there_and_stays(module: Module, declared: dict[str, Any]):
    first = succeeds(module("docker_network", name="blue", **declared), changed=True)["network"]
    assert first["Name"] == "blue"
    again = succeeds(module("docker_network", name="blue", **declared), changed=False)["network"]
    assert again == first
    succeeds(module("docker_network", name="blue", state="absent"), changed=True)
    succeeds(module("docker_network", name="blue", state="absent"), changed=False)


@pytest.mark.parametrize(
    "changed",
    [
        {"ipam_config": [{"subnet": "10.8.0.0/24"}]},
        {"internal": True},
        {"labels": {"team": "b"}},
        {"driver_options": {"com.docker.network.driver.mtu": "1300"}},
        {"enable_ipv6": True},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_is_declared_otherwise_is_made_anew(module: Module, world: World, changed: dict[str, Any]):
    world.container("web")
    declared = {"ipam_config": [{"subnet": "10.7.0.0/24"}], "labels": {"team": "a"}, "connected": ["web"]}
    first = succeeds(module("docker_network", name="blue", **declared), changed=True)["network"]
    declared |= changed
    tried = succeeds(module("docker_network", name="blue", _ansible_check_mode=True, **declared), changed=True)
    assert tried["network"]["Id"] == first["Id"]
    second = succeeds(module("docker_network", name="blue", **declared), changed=True)["network"]
    assert second["Id"] != first["Id"]
    assert [member["Name"] for member in second["Containers"].values()] == ["web"]
    succeeds(module("docker_network", name="blue", **declared), changed=False)


def test_a_network_from_a_preset(module: Module):
    pools = [{"subnet": "10.7.0.0/24"}]
    succeeds(module("docker_network", name="common", config_only=True, ipam_config=pools), changed=True)
    one = succeeds(module("docker_network", name="one", config_from="common"), changed=True)["network"]
    assert one["IPAM"]["Config"][0]["Subnet"] == "10.7.0.0/24"
    succeeds(module("docker_network", name="one", config_from="common"), changed=False)
    for name in ("one", "common"):
        succeeds(module("docker_network", name=name, state="absent"), changed=True)


def test_who_is_on_a_network(module: Module, world: World):
    for name in ("web", "db", "cache"):
        world.container(name)

    def members(*, changed: bool, **wanted: Any) -> set[str]:
        network = succeeds(module("docker_network", name="blue", **wanted), changed=changed)["network"]
        return {member["Name"] for member in network["Containers"].values()}

    assert members(connected=["web"], changed=True) == {"web"}
    assert members(connected=["db"], appends=True, changed=True) == {"web", "db"}
    assert members(connected=["db", "cache"], changed=True) == {"db", "cache"}
    assert members(connected=["cache", "db"], changed=False) == {"db", "cache"}
    succeeds(module("docker_network", name="blue", state="absent"), changed=True)
    assert world.networks() == ["bridge", "host", "none"]


def test_what_cannot_be_is_said(module: Module):
    refused = module("docker_network", name="blue", ipam_config=[{"subnet": "10.7.0.1/24"}])
    assert refused["failed"]
    assert "did you mean 10.7.0.0/24?" in refused["msg"]
    refused = module("docker_network", name="blue", ipam_driver_options={"a": "b"})
    assert "unknown option 'a'" in refused["msg"]


# Looking


def test_what_the_others_tell(module: Module, world: World):
    ident = world.weftd.client.containers.run(["sleep", "60"], name="web", labels={"team": "a"}).id
    network = succeeds(module("docker_network", name="blue", connected=["web"]), changed=True)["network"]
    info = succeeds(module("docker_network_info", name="blue"), changed=False)
    assert (info["exists"], info["network"]) == (True, network)
    assert succeeds(module("docker_network_info", name="red"), changed=False)["exists"] is False

    container = succeeds(module("docker_container_info", name="web"), changed=False)["container"]
    assert (container["Id"], sorted(container["NetworkSettings"]["Networks"])) == (ident, ["blue", "bridge"])

    host = succeeds(
        module("docker_host_info", networks=True, containers=True, containers_all=True, images=True, volumes=True),
        changed=False,
    )
    assert {network["Name"] for network in host["networks"]} == {"blue", "bridge", "host", "none"}
    assert [container["Id"] for container in host["containers"]] == [ident]
    assert (host["images"], host["volumes"]) == ([], [])
    assert host["host_info"]["OSType"] == "linux"
    assert succeeds(module("docker_host_info", disk_usage=True), changed=False)["disk_usage"]["LayersSize"] == 0
    chosen = module("docker_host_info", networks=True, networks_filters={"label": "nothing"})
    assert succeeds(chosen, changed=False)["networks"] == []


def test_commands_in_containers(module: Module, world: World):
    world.weftd.client.containers.run(["sleep", "60"], name="web")
    done = module("docker_container_exec", container="web", argv=["sh", "-c", "cat; echo err >&2; exit 3"], stdin="in")
    assert (done["stdout"], done["stderr"], done["rc"]) == ("in", "err", 3)


def test_prune(module: Module, world: World):
    world.docker("network", "create", "--label", "team=a", "blue")
    world.docker("network", "create", "red")
    asked = {"networks": True, "networks_filters": {"label": "team=a"}, "containers": True}
    assert succeeds(module("docker_prune", **asked), changed=True)["networks"] == ["blue"]
    succeeds(module("docker_prune", **asked), changed=False)
