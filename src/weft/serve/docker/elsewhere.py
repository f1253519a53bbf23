"""What Docker does and weft does not: images, volumes, swarms, plugins, the making of containers.

Lists are empty, so that clients that look at everything stay calm. What would do something is refused with 501 and
a word on what to use instead.
"""

from __future__ import annotations

import re

from weft.serve.docker.dialect import Asked, Refused
from weft.serve.routes import Route

_NO_SWARM = (
    "This node is not a swarm manager. weft joins hosts without one; there is no swarm here to look at or to change."
)
_NO_IMAGES = "weft is no image engine: use `docker` or `podman` itself for images and builds"
_NO_CREATE = (
    "weft makes no containers from images: use `weft run -- COMMAND` for a command of this host's, "
    "or have Docker or Podman make the container and give it to weft with `weft attach`"
)
_NO_VOLUMES = "weft has no volumes: `weft run` works on this host's files or a --rootfs"
_NO_PLUGINS = "weft installs no plugins"

_INSTEAD = (
    (
        re.compile(r"/containers/create|/commit|/containers/[^/]+/(export|archive|changes|update|pause|unpause)"),
        _NO_CREATE,
    ),
    (re.compile(r"/(images|build|distribution|session|auth|grpc)(/.*)?"), _NO_IMAGES),
    (re.compile(r"/volumes(/.*)?"), _NO_VOLUMES),
    (re.compile(r"/plugins(/.*)?"), _NO_PLUGINS),
)
_SWARM = re.compile(r"/(swarm|nodes|services|tasks|secrets|configs)(/.*)?")


_ONE = (
    (re.compile(r"/images/(.+)/json"), "No such image: {}"),
    (re.compile(r"/volumes/([^/]+)"), "get {}: no such volume"),
    (re.compile(r"/plugins/(.+)/json"), 'plugin "{}" not found'),
)
"""What `docker inspect` asks for one after the other, until something bears the name."""


def not_here(method: str, path: str) -> None:
    """Raises Refused for what another engine would do; returns for what nobody knows."""
    for pattern, none in _ONE:
        if method == "GET" and (found := pattern.fullmatch(path)):
            raise Refused(404, none.format(found[1]))
    if _SWARM.fullmatch(path):
        raise Refused(503, _NO_SWARM)
    for pattern, instead in _INSTEAD:
        if pattern.fullmatch(path):
            raise Refused(501, instead)


def empty_lists() -> tuple[Route, ...]:
    return (
        Route(method="GET", path="/images/json", handler=_nothing, summary="No images"),
        Route(method="GET", path="/volumes", handler=_no_volumes, summary="No volumes"),
        Route(method="GET", path="/plugins", handler=_nothing, summary="No plugins"),
    )


async def _nothing(asked: Asked) -> list[object]:
    return []


async def _no_volumes(asked: Asked) -> dict[str, object]:
    return {"Volumes": [], "Warnings": None}
