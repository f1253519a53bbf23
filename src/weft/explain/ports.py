"""Published ports explained: the map elements that lead them in, and what no map can do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from weft.explain.explanation import Drift, Line
from weft.explain.items import item_line
from weft.model import PortBinding, Proto
from weft.plan import NftElement, Plan


def port_lines(bindings: Sequence[PortBinding], plan: Plan, drift: Drift, *, held: bool) -> Iterator[Line]:
    """`held`: the ports are ports of the host, and not (or not only) opened at the container's own addresses."""
    elements = [item for item in plan if isinstance(item, NftElement)]
    yield from (item_line(element, drift) for element in elements if element.name.startswith("routed_ports"))
    if not held:
        return
    for binding in bindings:
        own = [element for element in elements if _leads(element, binding)]
        yield from (item_line(element, drift) for element in own)
        relayed = _relayed(binding, own)
        if relayed:
            yield Line(
                text=f"{relayed} → port {binding.container_port} of the container, through weftd",
                why="The kernel cannot rewrite these connections: not from ::1 to another interface, nor from one "
                "family to the other. weftd listens and passes the bytes on, as long as it runs.",
            )


def _leads(element: NftElement, binding: PortBinding) -> bool:
    service = (str(binding.proto), binding.host_port)
    key = service if binding.host_ip is None else (binding.host_ip, *service)
    return element.key == key


def _relayed(binding: PortBinding, elements: Sequence[NftElement]) -> str:
    """The host's addresses whose connections to the port the relay serves; empty if there are none."""
    if binding.proto is Proto.SCTP:
        return ""
    port = f"{binding.host_port}/{binding.proto}"
    families = {element.name[-1] for element in elements}
    host = binding.host_ip
    if host is None:
        return f"[::1]:{port}" if "6" in families else f"[::]:{port} (every IPv6 address of the host)"
    if elements:
        return ""
    return f"[{host}]:{port}" if host.version == 6 else f"{host}:{port}"
