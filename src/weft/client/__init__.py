"""The library: a client of the running daemon.

    import weft

    with weft.connect() as client:
        client.networks.create("front", pools=["10.7.0.0/24"])
        db = client.containers.run(["redis-server"], name="db", networks=["front"])
        print(db.endpoints[0].ipv4)

Standard library only, and little of it: the command line and the exec'd doors import this module, and what it costs
is paid by every command.
"""

from __future__ import annotations

from weft.client.answers import (
    Answer,
    Container,
    Endpoint,
    Event,
    Exit,
    Member,
    Network,
    Policy,
    PolicyRule,
    Pool,
    Port,
)
from weft.client.calls import Containers, Networks
from weft.client.requests import Attachment, Publish, Subnet
from weft.client.wire import DEFAULT_HOST, Wire, socket_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Self

__all__ = [
    "DEFAULT_HOST",
    "Answer",
    "Attachment",
    "Client",
    "Container",
    "Endpoint",
    "Event",
    "Exit",
    "Member",
    "Network",
    "Policy",
    "PolicyRule",
    "Pool",
    "Port",
    "Publish",
    "StaticRoute",
    "Subnet",
    "connect",
]


def connect(host: str | None = None) -> Client:
    """A client of the daemon at `host`, else at $WEFT_HOST, else at unix:///run/weft/weft.sock.

    Nothing is sent before the first call; a daemon that does not answer raises `Unavailable` then.
    """
    return Client(Wire(socket_path(host)))


class Client:
    """May be shared between threads; each call has a connection to itself while it lasts."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.networks = Networks(wire)
        self.containers = Containers(wire)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the idle connections. The client may be used again."""
        self.wire.close()

    def ping(self) -> dict[str, Any]:
        """{"version", "pid", "ready"} of the daemon."""
        answer: dict[str, Any] = self.wire.call("GET", "/ping")
        return answer

    def events(self, *, since: float | None = None, until: float | None = None, follow: bool = True) -> Iterator[Event]:
        """What happens, as it happens. `since` and `until` are seconds since the epoch.

        With `since`, what the daemon remembers comes first; without `follow`, only that.
        """
        for document in self.wire.lines("/events", since=since, until=until, follow=int(follow)):
            yield Event(document)
