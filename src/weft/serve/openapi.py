"""The OpenAPI document, from the routes and the types they name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from weft import __version__
from weft.serve import types
from weft.serve.routes import Route

_QUERY: dict[str, dict[str, Any]] = {
    "all": {"type": "boolean"},
    "force": {"type": "boolean"},
    "follow": {"type": "boolean"},
    "since": {"type": "number", "description": "seconds since the epoch"},
    "until": {"type": "number", "description": "seconds since the epoch"},
    "container": {"type": "string", "description": "one of the network's containers: what holds for it alone"},
    "from": {"type": "string", "description": "a container, or the word host or outside"},
    "to": {"type": "string", "description": "a name or address, with or without a port: db, db:5432, [fd00::2]:53/udp"},
}

_REF = {
    "name": "ref",
    "in": "path",
    "required": True,
    "description": "name, id, or unambiguous beginning of an id",
    "schema": {"type": "string"},
}


def document(routes: Sequence[Route], *, prefix: str) -> dict[str, Any]:
    named = [types.Error, *(t for route in routes for t in (route.request, route.answer) if t is not None)]
    schemas, components = msgspec.json.schema_components(named, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip((_key(t) for t in named), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(prefix + route.path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "weft", "version": __version__, "description": "Networks for containers."},
        "servers": [{"url": "http://localhost", "description": "over the Unix socket /run/weft/weft.sock"}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(route: Route, schema_of: dict[str, dict[str, Any]]) -> dict[str, Any]:
    function = route.handler or route.streamer
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": getattr(function, "__name__", ""),
        "parameters": [
            *([_REF] if "{ref}" in route.path else []),
            *({"name": name, "in": "query", "schema": _QUERY[name]} for name in route.query),
        ],
        "responses": {
            str(route.status): _success(route, schema_of),
            "default": {
                "description": "A refusal or failure",
                "content": {"application/json": {"schema": schema_of[_key(types.Error)]}},
            },
        },
    }
    if route.request is not None:
        operation["requestBody"] = {
            "required": not route.optional,
            "content": {"application/json": {"schema": schema_of[_key(route.request)]}},
        }
    return operation


def _success(route: Route, schema_of: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if route.answer is None:
        return {"description": "Done" if route.status == 204 else "OK"}
    media = "application/json" if route.streamer is None else "application/x-ndjson"
    return {"description": "OK", "content": {media: {"schema": schema_of[_key(route.answer)]}}}


def _key(named: Any) -> str:
    return repr(named)
