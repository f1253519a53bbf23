"""What a caller asks for. Each value knows its JSON document; the daemon checks it."""

from __future__ import annotations

from weft.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


class Request:
    def __init__(self, **fields: object) -> None:
        self.document: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in self.document.items())})"


class Subnet(Request):
    """A subnet for a new network; without one, or as "0.0.0.0/24" or "::/64", the daemon chooses a free one."""

    def __init__(
        self,
        subnet: str | None = None,
        *,
        ip_range: str | None = None,
        gateway: str | None = None,
        aux: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(subnet=subnet, ip_range=ip_range, gateway=gateway, aux=aux)


class Attachment(Request):
    """A network to join, and how. What is left out, the daemon chooses."""

    def __init__(
        self,
        network: str,
        *,
        ip: str | None = None,
        ip6: str | None = None,
        mac: str | None = None,
        aliases: Sequence[str] | None = None,
        gw_priority: int | None = None,
        ifname: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        """`options` are for the network's driver, such as {"bandwidth-in": "10mbit"}."""
        super().__init__(
            network=network,
            ip=ip,
            ip6=ip6,
            mac=mac,
            aliases=aliases,
            gw_priority=gw_priority,
            ifname=ifname,
            options=options,
        )


class Publish(Request):
    """A port of the container to publish on the host, or a range of them.

    Without `host_port` the daemon chooses one. A range of host ports for a single container port means the first free.
    """

    def __init__(
        self,
        container_port: int,
        host_port: int | None = None,
        *,
        proto: str | None = None,
        host_ip: str | None = None,
        container_port_end: int | None = None,
        host_port_end: int | None = None,
    ) -> None:
        super().__init__(
            container_port=container_port,
            host_port=host_port,
            proto=proto,
            host_ip=host_ip,
            container_port_end=container_port_end,
            host_port_end=host_port_end,
        )


def document(field: str, value: object, sole: str, kind: type[str | int] = str) -> Mapping[str, object]:
    """A request's document. A bare value of the kind stands for a request with only the field `sole`."""
    if isinstance(value, Request):
        return value.document
    if isinstance(value, dict):
        return value
    if isinstance(value, kind) and not isinstance(value, bool):
        return {sole: value}
    raise Invalid(f"{field}: {value!r} is not understood")
