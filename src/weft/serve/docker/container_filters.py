"""Which containers a list shows: the `filters` of `docker ps` and of `docker container prune`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from weft.engine.parts import Parts
from weft.model import PortBinding, Sandbox
from weft.serve.docker import filters
from weft.serve.docker.dialect import Refused
from weft.serve.docker.filters import Filters
from weft.serve.docker.finding import find_container
from weft.serve.lives import state_of

PRUNE_FILTERS = ("label", "label!", "until")

_STATES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
_HEALTH = ("none", "starting", "healthy", "unhealthy")

Fits = Callable[[Sandbox], bool]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a request for a list asks for."""

    fits: Fits
    ended_too: bool
    """Some filters make sense for those alone that have ended: they ask for them by themselves."""


def read_choice(text: str | None, parts: Parts) -> Choice:
    """Raises Refused for a filter that Docker does not know either, and for values that mean nothing."""
    known = {**_checks(parts), "before": None, "since": None, "label": None}
    wanted = filters.read_filters(text, known)
    _refuse_nonsense(wanted)
    after = [find_container(parts, ref).created for ref in wanted.get("since", ())]
    before = [find_container(parts, ref).created for ref in wanted.get("before", ())]
    checks = {name: check for name, check in _checks(parts).items() if wanted.get(name)}

    def fits(sandbox: Sandbox) -> bool:
        return (
            all(any(check(sandbox, value) for value in wanted[name]) for name, check in checks.items())
            and filters.labels_fit(sandbox.labels, wanted.get("label", ()))
            and all(sandbox.created > moment for moment in after)
            and all(sandbox.created < moment for moment in before)
        )

    return Choice(fits, ended_too=any(wanted.get(name) for name in ("status", "exited", "before", "since")))


def read_prunable(text: str | None, parts: Parts) -> Fits:
    """What prune may take of those that do not run. Raises Refused."""
    wanted = filters.read_filters(text, PRUNE_FILTERS)
    now = parts.clock.time()
    before = min((filters.read_time(text, now) for text in wanted.get("until", ())), default=now)

    def fits(sandbox: Sandbox) -> bool:
        return (
            state_of(sandbox, parts) != "running"
            and sandbox.created <= before
            and filters.labels_fit(sandbox.labels, wanted.get("label", ()))
            and not any(filters.labels_fit(sandbox.labels, (label,)) for label in wanted.get("label!", ()))
        )

    return fits


def _refuse_nonsense(wanted: Filters) -> None:
    for name, meaningful in (("status", _STATES), ("health", _HEALTH)):
        for value in wanted.get(name, ()):
            if value not in meaningful:
                raise Refused(400, f"invalid filter '{name}={value}'")
    for value in wanted.get("name", ()):
        if not _is_quick(value):
            raise Refused(
                400, f"invalid filter 'name={value}': at most three of *, +, ?, {{, and none behind a bracket"
            )
    for value in wanted.get("exited", ()):
        if not re.fullmatch("-?[0-9]{1,9}", value):
            raise Refused(400, f"invalid filter 'exited={value}'")
    for name in ("publish", "expose"):
        for value in wanted.get(name, ()):
            if not _PORTS.fullmatch(value):
                raise Refused(400, f"invalid filter '{name}={value}'")
    filters.read_bool("is-task", wanted.get("is-task", ()))


def _checks(parts: Parts) -> Mapping[str, Callable[[Sandbox, str], bool]]:
    return {
        "ancestor": lambda sandbox, value: False,
        "exited": lambda sandbox, value: sandbox.exit is not None and sandbox.exit.code == int(value),
        "expose": lambda sandbox, value: _has_port(sandbox, value, lambda binding: binding.container_port),
        "health": lambda sandbox, value: value == "none",
        "id": lambda sandbox, value: value in sandbox.id,
        "is-task": lambda sandbox, value: not filters.read_bool("is-task", (value,)),
        "isolation": lambda sandbox, value: value in ("", "default"),
        "name": lambda sandbox, value: _name_fits(sandbox.name, value),
        "network": lambda sandbox, value: value in _networks(sandbox, parts),
        "publish": lambda sandbox, value: _has_port(sandbox, value, lambda binding: binding.host_port),
        "status": lambda sandbox, value: state_of(sandbox, parts) == value,
        "volume": lambda sandbox, value: False,
    }


def _name_fits(name: str, pattern: str) -> bool:
    """A regular expression, with or without the slash that names have in Docker's API."""
    try:
        return any(re.search(pattern, text) for text in (name, f"/{name}"))
    except (re.error, OverflowError, RecursionError):
        return pattern in name


def _is_quick(pattern: str) -> bool:
    """Whether a match cannot take for ever: unlike Go's, Python's expressions can, and everybody would wait for it."""
    return len(re.findall(r"[*+?{]", pattern)) <= 3 and not re.search(r"\)[*+?{]", pattern)


def _networks(sandbox: Sandbox, parts: Parts) -> Iterable[str]:
    """The names and ids of the networks that it is on."""
    for endpoint in parts.records.endpoints_of(sandbox.id):
        yield endpoint.network
        if (network := parts.records.networks.get(endpoint.network)) is not None:
            yield network.name


_PORTS = re.compile("([0-9]{1,9})(?:-([0-9]{1,9}))?(?:/(tcp|udp|sctp))?")


def _has_port(sandbox: Sandbox, value: str, port_of: Callable[[PortBinding], int]) -> bool:
    found = _PORTS.fullmatch(value)
    assert found is not None, "refused before"
    first, last, proto = int(found[1]), int(found[2] or found[1]), found[3] or "tcp"
    return any(binding.proto == proto and first <= port_of(binding) <= last for binding in sandbox.ports)
