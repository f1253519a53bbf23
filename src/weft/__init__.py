"""weft gives containers their network. `weft.connect()` returns a client of the running daemon."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from weft.client import Client

__version__ = "0.1.0"


def connect(host: str | None = None) -> Client:
    """A client of the daemon at `host` ("unix:///path"), else at $WEFT_HOST, else at unix:///run/weft/weft.sock."""
    # Imported here because every program of weft imports this package, and most need no client.
    from weft.client import connect as connect_client

    return connect_client(host)
