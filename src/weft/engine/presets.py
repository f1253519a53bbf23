"""Presets: what networks to come have in common, under a name. Docker calls them config-only networks.

A preset is a record and nothing else: no subnet is taken for it, and the kernel knows nothing of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Any

from weft import names
from weft.engine.parts import Parts
from weft.engine.specs import NetworkSpec, PoolSpec
from weft.engine.wanted import check_name
from weft.errors import Conflict, Forbidden, Invalid, NotFound

_KEY = "preset:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    id: str
    created: float
    spec: NetworkSpec

    @property
    def name(self) -> str:
        return self.spec.name


class Presets:
    """Changed on the engine's worker thread; read anywhere."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._known = {preset.name: preset for preset in map(_read, parts.store.metas(_KEY).values())}
        parts.records.preset_names.update(self._known)

    def all(self) -> list[Preset]:
        return list(self._known.values())

    def named(self, name: str) -> Preset | None:
        return self._known.get(name)

    def create(self, spec: NetworkSpec) -> Preset:
        """Raises Invalid or Conflict (name)."""
        check_name("network", spec.name)
        if spec.name in self._known or self._parts.records.has_network(spec.name):
            raise Conflict(f"network {spec.name!r} already exists")
        preset = Preset(id=names.new_id(), created=self._parts.clock.time(), spec=spec)
        self._parts.store.set_meta(_KEY + spec.name, _write(preset))
        self._known[spec.name] = preset
        self._parts.records.preset_names.add(spec.name)
        self._parts.events.emit("network", "create", preset.id, spec.name, driver="null")
        return preset

    def remove(self, name: str) -> None:
        """Raises NotFound, or Forbidden while a network made from it is there."""
        preset = self._known.get(name)
        if preset is None:
            raise NotFound.named("preset", name, list(self._known))
        users = [network.name for network in list(self._parts.records.networks.values()) if network.preset == name]
        if users:
            raise Forbidden(f"configuration network {name!r} is in use by {', '.join(users)}")
        self._parts.store.drop_meta(_KEY + name)
        del self._known[name]
        self._parts.records.preset_names.discard(name)
        self._parts.events.emit("network", "destroy", preset.id, name, driver="null")

    def applied(self, spec: NetworkSpec) -> NetworkSpec:
        """The spec with what its preset says. Raises NotFound, or Invalid where both say something."""
        preset = self._known.get(spec.preset)
        if preset is None:
            raise NotFound.named("preset", spec.preset, list(self._known))
        if spec.pools or spec.options or spec.labels or spec.ipv6 or not spec.ipv4:
            raise Invalid(
                f"network {spec.name!r} is to have the configuration of {spec.preset!r}: give it no subnets, options, "
                "labels or families of its own"
            )
        common = preset.spec
        return replace(
            spec,
            pools=common.pools,
            options=common.options,
            shown_options=common.shown_options,
            ipam=common.ipam,
            ipv4=common.ipv4,
            ipv6=common.ipv6,
        )


def _write(preset: Preset) -> str:
    spec = preset.spec
    return json.dumps(
        {
            "id": preset.id,
            "created": preset.created,
            "name": spec.name,
            "pools": [_write_pool(pool) for pool in spec.pools],
            "ipv4": spec.ipv4,
            "ipv6": spec.ipv6,
            "options": dict(spec.options),
            "shown_options": dict(spec.shown_options),
            "labels": dict(spec.labels),
            "ipam": spec.ipam,
        }
    )


def _write_pool(pool: PoolSpec) -> dict[str, Any]:
    given = {"subnet": pool.subnet, "ip_range": pool.ip_range, "gateway": pool.gateway}
    texts = {name: str(value) for name, value in given.items() if value is not None}
    return {**texts, "aux": {name: str(address) for name, address in pool.aux.items()}}


def _read(text: str) -> Preset:
    raw = json.loads(text)
    ident, created = raw.pop("id"), raw.pop("created")
    return Preset(id=ident, created=created, spec=NetworkSpec(**{**raw, "pools": tuple(map(_read_pool, raw["pools"]))}))


def _read_pool(raw: dict[str, Any]) -> PoolSpec:
    return PoolSpec(
        subnet=ip_network(raw["subnet"]) if "subnet" in raw else None,
        ip_range=ip_network(raw["ip_range"]) if "ip_range" in raw else None,
        gateway=ip_address(raw["gateway"]) if "gateway" in raw else None,
        aux={name: ip_address(address) for name, address in raw["aux"].items()},
    )
