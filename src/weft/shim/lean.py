"""Standard modules without their wrappers: `signal` and `socket` would bring `enum` and `selectors` along, which
double the time that a supervisor takes to start, and cost each container half a megabyte."""

from __future__ import annotations

import _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signal
else:
    import _signal as signal

__all__ = ["accept", "signal"]


def accept(listener: _socket.socket) -> _socket.socket:
    """What socket.socket.accept does. Raises OSError."""
    fd, _ = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001
    return _socket.socket(fileno=fd)
