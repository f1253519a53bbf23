"""Waiting for what takes seconds, on a thread of its own: neither the loop nor the engine's worker stands still."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from weft.engine.futures import fail, settle

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def aside(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """What the function returns or raises. The thread is the loop's child, and so in the host's namespace.

    Whoever stops waiting leaves it to itself, and so does a daemon that ends.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def run() -> None:
        try:
            done = partial(settle, future, function(*args, **kwargs))
        except BaseException as error:
            done = partial(fail, future, error)
        if not loop.is_closed():
            loop.call_soon_threadsafe(done)

    threading.Thread(target=run, name="weft-aside", daemon=True).start()
    return await future
