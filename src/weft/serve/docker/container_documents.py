"""Containers as Docker describes them, from what weft's own API says of them.

Everything that stock clients look into is there, whether weft has such a thing or not: a client that finds a field
absent where it expects an object ends in an error of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from weft.engine.networks import DEFAULT_NETWORK
from weft.engine.parts import Parts
from weft.model import Origin, Sandbox
from weft.names import short
from weft.serve import convert, types
from weft.serve.docker.clock import lasting, rfc3339
from weft.serve.docker.dialect import Version
from weft.serve.docker.endpoint_documents import addresses_of, networks_of

Document = dict[str, Any]

EVERYWHERE = ("0.0.0.0", "::")
"""How Docker writes a port that is published on every address."""


# In lists


def summary(sandbox: Sandbox, parts: Parts, version: Version) -> Document:
    shown = convert.container_answer(sandbox, parts)
    return {
        "Id": shown.id,
        "Names": [f"/{shown.name}"],
        "Image": "",
        "ImageID": "",
        "Command": " ".join(shown.process.argv) if shown.process else "",
        "Created": int(shown.created),
        "Ports": list(_ports_in_list(shown)),
        "Labels": shown.labels,
        "State": shown.state,
        "Status": _status(sandbox, shown, parts),
        "HostConfig": {"NetworkMode": _network_mode(sandbox, shown)},
        "NetworkSettings": {"Networks": networks_of(shown, parts, version)},
        "Mounts": [],
    }


def _status(sandbox: Sandbox, shown: types.Container, parts: Parts) -> str:
    now = parts.clock.time()
    if shown.exit is not None:
        return f"Exited ({shown.exit.code}) {lasting(now - shown.exit.at)} ago"
    return f"Up {lasting(now - _started(sandbox, parts))}" if shown.state == "running" else "Created"


def _started(sandbox: Sandbox, parts: Parts) -> float:
    """When it came to life: for a namespace that has no process of weft's, when it was made known."""
    return parts.runtime.started(sandbox.id) if sandbox.process else sandbox.created


def _ports_in_list(shown: types.Container) -> Iterator[Document]:
    for port in shown.ports if shown.exit is None else ():
        if port.host_port == 0:  # reached at the container's own address
            yield {"PrivatePort": port.container_port, "Type": port.proto}
            continue
        for address in _addresses(port):
            yield {
                "IP": address,
                "PrivatePort": port.container_port,
                "PublicPort": port.host_port,
                "Type": port.proto,
            }


def _addresses(port: types.Port) -> tuple[str, ...]:
    return EVERYWHERE if port.host_ip is None else (port.host_ip,)


# By themselves


def inspection(sandbox: Sandbox, parts: Parts, version: Version, execs: Sequence[str]) -> Document:
    """`execs`: the ids of the commands in it that run or have yet to be started."""
    shown = convert.container_answer(sandbox, parts)
    argv = shown.process.argv if shown.process else [""]
    files = f"{parts.config.run_dir}/containers/{short(shown.id)}" if shown.process else ""
    return {
        "Id": shown.id,
        "Created": rfc3339(shown.created),
        "Path": argv[0],
        "Args": argv[1:],
        "State": _state(sandbox, shown, parts),
        "Image": "",
        "ResolvConfPath": f"{files}/resolv.conf" if files else "",
        "HostnamePath": f"{files}/hostname" if files else "",
        "HostsPath": f"{files}/hosts" if files else "",
        "LogPath": shown.log or "",
        "Name": f"/{shown.name}",
        "RestartCount": 0,
        "Driver": "none",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": list(execs) or None,
        "HostConfig": _host_config(sandbox, shown),
        "GraphDriver": {"Name": "none", "Data": None},
        "Mounts": [],
        "Config": _config(shown),
        "NetworkSettings": _network_settings(shown, parts, version),
    }


def _state(sandbox: Sandbox, shown: types.Container, parts: Parts) -> Document:
    return {
        "Status": shown.state,
        "Running": shown.state == "running",
        "Paused": False,
        "Restarting": False,
        "OOMKilled": False,
        "Dead": False,
        "Pid": shown.pid or 0,
        "ExitCode": shown.exit.code if shown.exit else 0,
        "Error": "",
        "StartedAt": rfc3339(_started(sandbox, parts)),
        "FinishedAt": rfc3339(shown.exit.at if shown.exit else 0),
    }


def _config(shown: types.Container) -> Document:
    process = shown.process
    open_stdin = process is not None and process.open_stdin
    return {
        "Hostname": shown.hostname,
        "Domainname": "",
        "User": "",
        "AttachStdin": open_stdin,
        "AttachStdout": True,
        "AttachStderr": True,
        "ExposedPorts": {_inside(port): {} for port in shown.ports},
        "Tty": process is not None and process.tty,
        "OpenStdin": open_stdin,
        "StdinOnce": open_stdin,
        "Env": [f"{name}={value}" for name, value in process.env.items()] if process else [],
        "Cmd": process.argv if process else [],
        "Image": "",
        "Volumes": None,
        "WorkingDir": process.cwd if process else "",
        "Entrypoint": None,
        "OnBuild": None,
        "Labels": shown.labels,
    }


def _host_config(sandbox: Sandbox, shown: types.Container) -> Document:
    return {
        "Binds": None,
        "ContainerIDFile": "",
        "LogConfig": {"Type": "json-file", "Config": {}},
        "NetworkMode": _network_mode(sandbox, shown),
        "PortBindings": _bindings(shown, lambda port: (port.host_ip or "",)),
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "AutoRemove": shown.auto_remove,
        "VolumeDriver": "",
        "VolumesFrom": None,
        "CapAdd": None,
        "CapDrop": None,
        "CgroupnsMode": "host",
        "Dns": [str(address) for address in sandbox.dns],
        "DnsOptions": list(sandbox.dns_options),
        "DnsSearch": list(sandbox.dns_search),
        "ExtraHosts": [f"{name}:{address}" for name, address in sandbox.extra_hosts],
        "GroupAdd": None,
        "IpcMode": "private",
        "Cgroup": "",
        "Links": None,
        "OomScoreAdj": 0,
        "PidMode": "",
        "Privileged": False,
        "PublishAllPorts": False,
        "ReadonlyRootfs": False,
        "SecurityOpt": None,
        "UTSMode": "",
        "UsernsMode": "",
        "ShmSize": 0,
        "Runtime": "weft",
        "Isolation": "",
        "Memory": 0,
        "NanoCpus": 0,
        "Ulimits": None,
        "Mounts": [],
    }


def _network_mode(sandbox: Sandbox, shown: types.Container) -> str:
    """The network of the default route, by name; one that has ended is on none any more."""
    if sandbox.origin is Origin.SHARED:
        return f"container:{sandbox.source}"
    if sandbox.origin is Origin.HOST:
        return "host"
    return shown.endpoints[0].network if shown.endpoints else "none" if shown.state == "running" else "default"


def _network_settings(shown: types.Container, parts: Parts, version: Version) -> Document:
    lives = shown.state != "exited"
    settings: Document = {
        "SandboxID": shown.id if lives else "",
        "SandboxKey": shown.netns if lives else "",
        "Ports": _bindings(shown, _addresses) if lives else {},
        "Networks": networks_of(shown, parts, version),
    }
    if version >= (1, 52):
        return settings
    default = next((e for e in shown.endpoints if e.network == DEFAULT_NETWORK), None)
    return {
        **settings,
        "Bridge": "",
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": default.id if default else "",
        "MacAddress": default.mac if default else "",
        **addresses_of(default),
    }


def _bindings(shown: types.Container, addresses: Callable[[types.Port], tuple[str, ...]]) -> dict[str, list[Document]]:
    """Port inside to where it is found on the host."""
    bindings: dict[str, list[Document]] = {}
    for port in shown.ports:
        hosts = addresses(port) if port.host_port else ()
        places = [{"HostIp": address, "HostPort": str(port.host_port)} for address in hosts]
        bindings.setdefault(_inside(port), []).extend(places)
    return bindings


def _inside(port: types.Port) -> str:
    return f"{port.container_port}/{port.proto}"
