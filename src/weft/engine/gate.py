"""The host's firewall as a whole: the table's text, its elements, and what the host was before weft came.

A network's and a port's own elements come and go with their plans. The table itself is replaced, in one transaction,
only when its text must change or the kernel no longer holds what it should.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network

from weft.drivers import driver_named
from weft.engine import plans
from weft.engine.forward_rules import ForwardRules
from weft.engine.parts import Parts
from weft.errors import NotFound, WeftError
from weft.firewall.ruleset import ruleset
from weft.model import Endpoint, IPNetwork, Network
from weft.plan import HOST, Guard, NftElement, Sysctl

_log = logging.getLogger("weft.engine")

_FORWARDING = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}


def forwarded(network: Network) -> tuple[int, ...]:
    """The IP versions that the host is to forward for a network."""
    switched_on = {item.key for item in plans.network_plan(network) if isinstance(item, Sysctl) and item.value == "1"}
    return tuple(version for version, switch in _FORWARDING.items() if switch in switched_on)


def _frees_some(network: Network) -> bool:
    """Whether a container on a bridge may send what it likes: every one, or one that the network knows as a router."""
    driver = driver_named(network.driver)
    return driver.link(network) is not None and (not driver.guards(network) or bool(network.routes))


class Gate:
    def __init__(self, parts: Parts, user_rules: Callable[[], Sequence[str]]) -> None:
        self._parts = parts
        self._user_rules = ForwardRules(parts, user_rules)
        self._applied: str | None = None
        self._rules_too = False
        """Some port could not be given its program: the chains stay."""

    def prepare(self, network: Network) -> None:
        """Before a network's own elements: the table is there, and forwarding is shut to others where it was off."""
        if driver_named(network.driver).link(network) is not None:
            self._parts.kernel.keep_bridged_frames_apart()
        for version, switch in _FORWARDING.items():
            if version in forwarded(network):
                self._note_forwarding(version, switch)
        if self._text(network) != self._applied:
            self.replace(network)

    def _note_forwarding(self, version: int, switch: str) -> None:
        # A host that routed nothing must not become everybody's router because containers need forwarding.
        store, key = self._parts.store, f"closed-{version}"
        if store.get_meta(key) is None:
            was_off = bool(self._parts.kernel.missing((Sysctl(HOST, switch, "1", ""),)))
            store.set_meta(key, "1" if was_off else "0")

    def forget_host(self) -> None:
        """After a reboot: look anew at what the host does by itself."""
        for version in _FORWARDING:
            if self._parts.store.get_meta(f"closed-{version}") is not None:
                switch = Sysctl(HOST, _FORWARDING[version], "1", "")
                was_off = bool(self._parts.kernel.missing((switch,)))
                self._parts.store.set_meta(f"closed-{version}", "1" if was_off else "0")

    def replace(self, coming: Network | None = None) -> None:
        if self._applied is None:
            self._guard_ports()
        text = self._text(coming)
        self._parts.kernel.replace_firewall(text, self.elements())
        self._applied = text

    def forget_policies(self, gone: Sequence[Network] | Sequence[Endpoint]) -> None:
        """One by one it takes the kernel seconds to remove a thousand elements of the sets that hold them."""
        if any(record.policy is not None for record in gone):
            self.replace()

    def _guard_ports(self) -> None:
        """Before rules go that a former weftd may have left to guard in place of programs."""
        records, kernel = self._parts.records, self._parts.kernel
        for sandbox in records.sandboxes.values() if kernel.guards_by_programs() else ():
            if sandbox.exit is not None:
                continue
            plan = plans.sandbox_plan(sandbox, records.endpoints_of(sandbox.id), records.networks)
            for guard in (item for item in plan if isinstance(item, Guard)):
                try:
                    kernel.ensure((guard,))
                except NotFound:
                    pass  # without the port nothing is sent
                except WeftError as error:
                    self._rules_too = True
                    _log.error("%s; rules do it until weftd starts anew", error.message)

    def settle(self) -> None:
        """After a network has gone: what only it needed goes too."""
        if self._applied is not None and self._text() != self._applied:
            self.replace()

    def intact(self) -> bool:
        return self._parts.kernel.firewall_intact(self._text(), self.elements())

    def ensure(self) -> bool:
        """Whether it had to be put back."""
        text = self._text()
        if self._parts.kernel.firewall_intact(text, self.elements()):
            self._applied = text
            return False
        self.replace()
        return True

    def guarded_by(self) -> str:
        """What keeps containers to their own addresses, in words; empty where no network asks for it."""
        if not any(driver_named(network.driver).guards(network) for network in self._parts.records.networks.values()):
            return ""
        return "programs on their ports" if self.by_programs() else "rules (table bridge weft)"

    def by_programs(self) -> bool:
        """Whether every port has its program, so that no chains are needed."""
        return self._parts.kernel.guards_by_programs() and not self._rules_too

    def text(self) -> str:
        """The table as it should be, for nft to read; without elements."""
        return self._text()

    def kept_in(self) -> list[IPNetwork]:
        """The subnets whose addresses are never seen outside."""
        found = [
            atom for element in self.elements() if element.name in ("subnets4", "subnets6") for atom in element.key
        ]
        return [atom for atom in found if isinstance(atom, IPv4Network | IPv6Network)]

    def closed(self) -> tuple[int, ...]:
        """The IP versions that are forwarded for containers of weft's alone."""
        return tuple(version for version in _FORWARDING if self._parts.store.get_meta(f"closed-{version}") == "1")

    def has_user_rules(self) -> bool:
        return bool(self._user_rules.in_force())

    def refused_rules(self) -> str:
        """Why the user's rules as they are now are not in force; empty if they are."""
        self._user_rules.in_force()
        return self._user_rules.refusal

    def elements(self) -> list[NftElement]:
        """Every element that the records ask for."""
        records = self._parts.records
        found = [
            item
            for network in records.networks.values()
            for item in plans.network_plan(network)
            if isinstance(item, NftElement)
        ]
        for sandbox in records.sandboxes.values():
            if sandbox.exit is None:
                endpoints = records.endpoints_of(sandbox.id)
                found.extend(plans.sandbox_elements(sandbox, endpoints, records.networks))
        return found

    def _text(self, coming: Network | None = None) -> str:
        records = self._parts.records
        networks = [*records.networks.values(), *([coming] if coming else [])]
        programs = self.by_programs()
        return ruleset(
            closed=self.closed(),
            user_rules=self._user_rules.in_force(),
            ipv6=any(network.pools_of(6) and (not programs or _frees_some(network)) for network in networks),
            accept_mark=self._parts.config.accept_mark,
            guard=not programs and any(driver_named(network.driver).guards(network) for network in networks),
        )
