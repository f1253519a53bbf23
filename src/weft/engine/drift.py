"""From what was noticed in the kernel to what must be looked at.

Much of what is noticed is weft's own doing: those changes name links and namespaces that no record asks for any more,
and are dropped here at the cost of a look-up. The rest is gathered for a moment, since drift comes in swarms (one
deleted bridge takes its address, its routes and the carrier of every port along), and looked at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable

from weft import names
from weft.drivers import claim_on_parent, driver_named, leans_on
from weft.engine.converge import Converge
from weft.engine.parts import Parts
from weft.errors import NotFound

GATHER_SECONDS = 0.03
_AT_A_TIME = 16


class Drift:
    """`notice` is called on the engine's worker thread; `learn_later` anywhere."""

    def __init__(self, parts: Parts, converge: Converge, when_idle: Callable[[Callable[[], object]], None]) -> None:
        self._records = parts.records
        self._kernel = parts.kernel
        self._converge = converge
        self._when_idle = when_idle
        self._namespaces: dict[int, str] = {}
        self._to_learn: deque[str] = deque()

    def learn_later(self, sandbox_id: str) -> None:
        """Remember, once nobody waits, by what number the kernel's messages call a sandbox's namespace."""
        self._to_learn.append(sandbox_id)
        if len(self._to_learn) == 1:
            self._when_idle(self._learn_some)

    def _learn_some(self) -> None:
        for _ in range(min(_AT_A_TIME, len(self._to_learn))):
            self._learn(self._to_learn.popleft())
        if self._to_learn:
            self._when_idle(self._learn_some)

    def _learn(self, sandbox_id: str) -> None:
        sandbox = self._records.sandboxes.get(sandbox_id)
        if sandbox is None or sandbox.exit is not None or not sandbox.origin.own:
            return
        try:
            number = self._kernel.nsid(sandbox.key)
        except NotFound:  # it has just ended
            return
        if number >= 0:
            self._namespaces[number] = sandbox_id

    def notice(self, *, firewall: bool, everything: bool, links: Iterable[str], namespaces: Iterable[int]) -> None:
        """`links` are names of the host's links that changed, `namespaces` numbers of namespaces in which something
        did; `everything`: messages were lost."""
        if firewall or everything:
            self._converge.heal_firewall()
        if everything:
            self._converge.audit()
            return
        for network_id, leaning in self._networks_of(set(links)):
            if self._converge.heal_network(network_id) or leaning:  # whose members may have routes on the host
                for sandbox_id in self._converge.members(network_id):
                    self._converge.heal_sandbox(sandbox_id)
        for sandbox_id in {*self._sandboxes_of(links), *self._sandboxes_in(namespaces)}:
            self._converge.heal_sandbox(sandbox_id)

    def _networks_of(self, changed: Collection[str]) -> list[tuple[str, bool]]:
        """The networks that links of the host belong to, and whether it is one that weft only leans on."""
        found: list[tuple[str, bool]] = []
        if all(link.startswith("wv-") for link in changed):
            return found  # as with every join: to ask all networks would cost the more, the more there are
        for ident, network in list(self._records.networks.items()):
            leaning, driver = any(link in changed for link in leans_on(network)), driver_named(network.driver)
            if leaning or any(link in changed for link in (driver.link(network), *driver.links(network))):
                found.append((ident, leaning or claim_on_parent(network) is not None))
        return found

    def _sandboxes_of(self, links: Iterable[str]) -> set[str]:
        wanted = {link for link in links if link.startswith("wv-")}
        if not wanted:
            return set()
        return {e.sandbox for e in self._records.endpoints.values() if names.veth(e.id) in wanted}

    def _sandboxes_in(self, namespaces: Iterable[int]) -> set[str]:
        numbers = set(namespaces)
        if not numbers <= self._namespaces.keys():
            while self._to_learn:  # the news is of somebody who has just come
                self._learn(self._to_learn.popleft())
        found = {self._namespaces.get(number, "") for number in numbers}
        return {sandbox_id for sandbox_id in found if sandbox_id in self._records.sandboxes}
