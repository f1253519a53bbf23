"""The routes of the native API as methods, grouped by what they act on.

Wherever a container or network is asked for, its name, its id, the beginning of its id, or the answer that describes
it will do.
"""

from __future__ import annotations

from weft.client.answers import Answer, Container, Endpoint, Interface, Network, Policy, Port
from weft.client.requests import document
from weft.client.wire import Wire, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from weft.client.requests import Attachment, Publish, Subnet


class Networks:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def create(
        self,
        name: str,
        *,
        driver: str = "bridge",
        pools: Sequence[str | Subnet | Mapping[str, object]] = (),
        ipv4: bool = True,
        ipv6: bool = False,
        internal: bool = False,
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        routes: Sequence[tuple[str, str]] = (),
        ipam: str = "default",
    ) -> Network:
        """Make a network. The daemon chooses what is not given. `routes`: (destination, gateway). `ipam`: "dhcp" for
        IPv4 addresses from a server of the LAN (macvlan, ipvlan).

        Raises Conflict where the name or a subnet is taken.
        """
        body = {
            "name": name,
            "driver": driver,
            "pools": [document("pools", p, "subnet") for p in pools],
            "ipv4": ipv4,
            "ipv6": ipv6,
            "internal": internal,
            "options": options or {},
            "labels": labels or {},
            "routes": [{"destination": destination, "gateway": gateway} for destination, gateway in routes],
            "ipam": ipam,
        }
        return Network(self._wire.call("POST", "/networks", body))

    def update(
        self,
        network: str | Network,
        *,
        name: str | None = None,
        labels: Mapping[str, str | None] | None = None,
        options: Mapping[str, str | None] | None = None,
        internal: bool | None = None,
        ipv4: bool = False,
        ipv6: bool = False,
        add_pools: Sequence[str | Subnet | Mapping[str, object]] = (),
        remove_pools: Sequence[str] = (),
        add_routes: Sequence[tuple[str, str]] = (),
        remove_routes: Sequence[str] = (),
    ) -> Network:
        """Change a network in place, all or nothing. What is not given stays; a label or option that is None goes.

        `ipv4` and `ipv6` give it the family, if it has none. Containers that are on it get addresses of a family or
        subnet that is added when they are connected anew. Raises Conflict for what cannot change while it is there.
        """
        body = {
            "name": name,
            "labels": labels or {},
            "options": options or {},
            "internal": internal,
            "ipv4": ipv4,
            "ipv6": ipv6,
            "add_pools": [document("add_pools", p, "subnet") for p in add_pools],
            "remove_pools": [*remove_pools],
            "add_routes": [{"destination": destination, "gateway": gateway} for destination, gateway in add_routes],
            "remove_routes": [*remove_routes],
        }
        return Network(self._wire.call("PATCH", f"/networks/{_ref(network)}", body))

    def list(self) -> tuple[Network, ...]:
        return tuple(Network(d) for d in self._wire.call("GET", "/networks"))

    def get(self, network: str | Network) -> Network:
        """With its endpoints."""
        return Network(self._wire.call("GET", f"/networks/{_ref(network)}"))

    def remove(self, network: str | Network) -> None:
        """Raises Conflict while containers are on it."""
        self._wire.call("DELETE", f"/networks/{_ref(network)}")

    def prune(self) -> tuple[str, ...]:
        """Remove the networks that no container is on; their names."""
        return tuple(self._wire.call("POST", "/networks/prune")["deleted"])

    def connect(
        self,
        network: str | Network,
        container: str | Container,
        *,
        ip: str | None = None,
        ip6: str | None = None,
        mac: str | None = None,
        aliases: Sequence[str] = (),
        gw_priority: int = 0,
        ifname: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Endpoint:
        """Put a container on one more network. When this returns, its neighbours resolve its name there."""
        body = {
            "container": _name(container),
            "ip": ip,
            "ip6": ip6,
            "mac": mac,
            "aliases": [*aliases],
            "gw_priority": gw_priority,
            "ifname": ifname,
            "options": {**(options or {})},
        }
        return Endpoint(self._wire.call("POST", f"/networks/{_ref(network)}/connect", body))

    def adjust(self, network: str | Network, container: str | Container, options: Mapping[str, str | None]) -> Endpoint:
        """Change options of the network's driver for a container that is on it, such as {"bandwidth-in": "10mbit"}.

        None: as the network has it. What is not named stays as it is.
        """
        body = {"container": _name(container), "options": {**options}}
        return Endpoint(self._wire.call("POST", f"/networks/{_ref(network)}/adjust", body))

    def disconnect(self, network: str | Network, container: str | Container, *, force: bool = False) -> None:
        body = {"container": _name(container), "force": force}
        self._wire.call("POST", f"/networks/{_ref(network)}/disconnect", body)

    def policy(self, network: str | Network, *, container: str | Container | None = None) -> Policy:
        """Where its containers may send to; `container`: one of them, by rules of its own."""
        query = "" if container is None else f"?container={_ref(container)}"
        return Policy(self._wire.call("GET", f"/networks/{_ref(network)}/policy{query}"))

    def set_policy(
        self,
        network: str | Network,
        rules: Sequence[tuple[str, str]] = (),
        *,
        default: str | None = None,
        container: str | Container | None = None,
    ) -> Policy:
        """Replace it as a whole. `rules`: ("allow" or "deny", destination such as "10.1.0.0/16:443/tcp")."""
        body = {"rules": _policy_rules(rules), "default": default, "container": container and _name(container)}
        return Policy(self._wire.call("PUT", f"/networks/{_ref(network)}/policy", body))

    def change_policy(
        self,
        network: str | Network,
        *,
        add: Sequence[tuple[str, str]] = (),
        remove: Sequence[str] = (),
        default: str | None = None,
        container: str | Container | None = None,
    ) -> Policy:
        """Add rules, remove those for some destinations, set the default (None: as it was); all or nothing."""
        body = {
            "add": _policy_rules(add),
            "remove": [*remove],
            "default": default,
            "container": container and _name(container),
        }
        return Policy(self._wire.call("POST", f"/networks/{_ref(network)}/policy", body))


def _policy_rules(rules: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"verdict": verdict, "to": to} for verdict, to in rules]


class Containers:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def create(
        self,
        *,
        name: str | None = None,
        networks: Sequence[str | Attachment | Mapping[str, object]] = (),
        ports: Sequence[int | Publish | Mapping[str, object]] = (),
        hostname: str | None = None,
        dns: Sequence[str] = (),
        dns_search: Sequence[str] = (),
        dns_options: Sequence[str] = (),
        extra_hosts: Sequence[tuple[str, str]] = (),
        labels: Mapping[str, str] | None = None,
        pid: int | None = None,
        netns: str | None = None,
        process: Mapping[str, object] | None = None,
        auto_remove: bool = False,
    ) -> Container:
        """Make a container: a network namespace on these networks (none given: the default network).

        `pid` or `netns` adopt a namespace that something else made; `process` ({"argv", "env", "cwd", "rootfs",
        "tty", "open_stdin"}) is what `start` will run; with none of the three the namespace is yours to use, at
        `Container.netns`. `extra_hosts` is name to address, or to "host-gateway". All is done or nothing.
        """
        body: dict[str, Any] = {
            "name": name,
            "networks": [document("networks", n, "network") for n in networks],
            "ports": [document("ports", p, "container_port", int) for p in ports],
            "hostname": hostname,
            "dns": [*dns],
            "dns_search": [*dns_search],
            "dns_options": [*dns_options],
            "extra_hosts": [[*pair] for pair in extra_hosts],
            "labels": labels or {},
            "pid": pid,
            "netns": netns,
            "process": process,
            "auto_remove": auto_remove,
        }
        sent = {field: value for field, value in body.items() if value not in (None, [], {}, False)}
        return Container(self._wire.call("POST", "/containers", sent))

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        rootfs: str | None = None,
        tty: bool = False,
        open_stdin: bool = False,
        name: str | None = None,
        networks: Sequence[str | Attachment | Mapping[str, object]] = (),
        ports: Sequence[int | Publish | Mapping[str, object]] = (),
        hostname: str | None = None,
        dns: Sequence[str] = (),
        dns_search: Sequence[str] = (),
        extra_hosts: Sequence[tuple[str, str]] = (),
        labels: Mapping[str, str] | None = None,
        auto_remove: bool = False,
    ) -> Container:
        """Make a container with a command of its own and start it in the background.

        A command that cannot be executed raises Invalid and leaves no container behind.
        """
        process = {
            "argv": [*argv],
            "env": env or {},
            "cwd": cwd,
            "rootfs": rootfs,
            "tty": tty,
            "open_stdin": open_stdin,
        }
        made = self.create(
            name=name,
            networks=networks,
            ports=ports,
            hostname=hostname,
            dns=dns,
            dns_search=dns_search,
            extra_hosts=extra_hosts,
            labels=labels,
            process=process,
            auto_remove=auto_remove,
        )
        try:
            return self.start(made)
        except BaseException:
            self.remove(made, force=True)
            raise

    def start(self, container: str | Container) -> Container:
        return Container(self._wire.call("POST", f"/containers/{_ref(container)}/start"))

    def list(self, *, all: bool = False) -> tuple[Container, ...]:  # noqa: A002
        """Those that live; `all`: those that ended as well."""
        return tuple(Container(d) for d in self._wire.call("GET", "/containers" + ("?all=1" if all else "")))

    def get(self, container: str | Container) -> Container:
        return Container(self._wire.call("GET", f"/containers/{_ref(container)}"))

    def remove(self, container: str | Container, *, force: bool = False) -> None:
        """Take it off its networks and forget it. `force`: also if its process still runs, which is killed."""
        self._wire.call("DELETE", f"/containers/{_ref(container)}" + ("?force=1" if force else ""))

    def kill(self, container: str | Container, *, signal: int = 9) -> None:
        self._wire.call("POST", f"/containers/{_ref(container)}/kill", {"signal": signal})

    def stop(self, container: str | Container, *, timeout: float = 10) -> None:
        """SIGTERM, then SIGKILL once `timeout` seconds have passed."""
        body = {"timeout": timeout}
        self._wire.call("POST", f"/containers/{_ref(container)}/stop", body, timeout=timeout + 60)

    def wait(self, container: str | Container, *, timeout: float | None = None) -> int:
        """The exit code, once it has ended. Raises TimeoutError after `timeout` seconds."""
        code: int = self._wire.call("POST", f"/containers/{_ref(container)}/wait", timeout=timeout)["code"]
        return code

    def rename(self, container: str | Container, name: str) -> Container:
        """Neighbours find it by the new name from then on."""
        return Container(self._wire.call("POST", f"/containers/{_ref(container)}/rename", {"name": name}))

    def publish(
        self, container: str | Container, ports: Sequence[int | Publish | Mapping[str, object]]
    ) -> tuple[Port, ...]:
        """Publish more ports of a container that is there already, all or none; those that were added."""
        body = {"ports": [document("ports", port, "container_port", int) for port in ports]}
        return tuple(Port(d) for d in self._wire.call("POST", f"/containers/{_ref(container)}/ports/publish", body))

    def unpublish(
        self, container: str | Container, ports: Sequence[int | Mapping[str, object]] | None = None
    ) -> tuple[Port, ...]:
        """Take published ports back, all if none are named; those that went. Connections through them end.

        A port is named by its number in the container, or by a document with container_port, proto, host_ip, host_port.
        """
        chosen = None if ports is None else [document("ports", port, "container_port", int) for port in ports]
        body = {} if chosen is None else {"ports": chosen}
        return tuple(Port(d) for d in self._wire.call("POST", f"/containers/{_ref(container)}/ports/unpublish", body))

    def stats(self, container: str | Container) -> tuple[Interface, ...]:
        answer = self._wire.call("GET", f"/containers/{_ref(container)}/stats")
        return tuple(Interface(d) for d in answer["interfaces"])


def _name(what: str | Answer) -> str:
    if isinstance(what, str):
        return what
    ident: str = what.document["id"]
    return ident


def _ref(what: str | Answer) -> str:
    return quote(_name(what))
