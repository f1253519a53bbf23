"""What clients ask first: is somebody there, which version, what is this host."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from typing import Any

from weft import __version__
from weft.config import Config
from weft.drivers import DRIVERS
from weft.engine.parts import Parts
from weft.serve.docker.clock import rfc3339
from weft.serve.docker.dialect import NEWEST, OLDEST, Asked, Reply
from weft.serve.lives import state_of
from weft.serve.routes import Route

_FRESH = {"cache-control": "no-cache, no-store, must-revalidate", "pragma": "no-cache"}
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_NEVER = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class System:
    parts: Parts

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(method="GET", path="/_ping", handler=self.ping, summary="Whether somebody is there"),
            Route(method="GET", path="/version", handler=self.version, summary="Versions"),
            Route(method="GET", path="/info", handler=self.info, summary="The host"),
            Route(method="GET", path="/system/df", handler=self.df, summary="What is kept on disk"),
        )

    async def ping(self, asked: Asked) -> Reply:
        headers = {**_FRESH, "builder-version": "1", "swarm": "inactive"}
        return Reply(body=b"OK", headers=headers)

    async def version(self, asked: Asked) -> dict[str, Any]:
        kernel, arch = platform.release(), _arch()
        versions = {
            "Version": __version__,
            "ApiVersion": str(NEWEST),
            "MinAPIVersion": str(OLDEST),
            "Os": "linux",
            "Arch": arch,
            "KernelVersion": kernel,
        }
        details = {**versions, "BuildTime": _NEVER, "GitCommit": "", "GoVersion": ""}
        return {
            "Platform": {"Name": "weft"},
            "Components": [{"Name": "Engine", "Version": __version__, "Details": details}],
            **versions,
            "GitCommit": "",
            "GoVersion": "",
            "BuildTime": _NEVER,
        }

    async def info(self, asked: Asked) -> dict[str, Any]:
        records, config = self.parts.records, self.parts.config
        sandboxes = list(records.sandboxes.values())
        running = sum(1 for sandbox in sandboxes if state_of(sandbox, self.parts) == "running")
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return {
            "ID": config.state_dir,
            "Name": platform.node(),
            "ServerVersion": __version__,
            "Containers": len(sandboxes),
            "ContainersRunning": running,
            "ContainersPaused": 0,
            "ContainersStopped": len(sandboxes) - running,
            "Images": 0,
            "Driver": "none",
            "DriverStatus": [],
            "Plugins": {
                "Volume": [],
                "Network": sorted({*(driver.name for driver in DRIVERS), "host", "null"}),
                "Authorization": None,
                "Log": ["json-file"],
            },
            "FirewallBackend": {"Driver": "nftables", "Info": [["Table", "inet weft"]]},
            "DefaultAddressPools": _pools(config),
            "Swarm": {"NodeID": "", "LocalNodeState": "inactive", "ControlAvailable": False, "Error": ""},
            "LoggingDriver": "json-file",
            "CgroupDriver": "none",
            "DefaultRuntime": "weft",
            "Runtimes": {"weft": {"path": "weft"}},
            "SecurityOptions": [],
            "Warnings": [],
            "MemoryLimit": False,
            "IPv4Forwarding": True,
            "BridgeNfIptables": False,
            "BridgeNfIp6tables": False,
            "Debug": config.log_level == "debug",
            "NFd": len(os.listdir("/proc/self/fd")),
            "NGoroutines": 0,
            "NEventsListener": self.parts.events.listeners,
            "SystemTime": rfc3339(self.parts.clock.time()),
            "KernelVersion": platform.release(),
            "OperatingSystem": _operating_system(),
            "OSType": "linux",
            "Architecture": platform.machine(),
            "NCPU": os.cpu_count() or 1,
            "MemTotal": pages,
            "DockerRootDir": config.state_dir,
            "IndexServerAddress": "",
            "RegistryConfig": None,
            "Labels": [],
            "ExperimentalBuild": False,
            "LiveRestoreEnabled": True,
        }

    async def df(self, asked: Asked) -> dict[str, Any]:
        return {"LayersSize": 0, "Images": [], "Containers": [], "Volumes": [], "BuildCache": []}


def _arch() -> str:
    machine = platform.machine()
    return _MACHINES.get(machine, machine)


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _pools(config: Config) -> list[dict[str, Any]]:
    return [{"Base": str(base), "Size": size} for base, size in config.address_pools]
