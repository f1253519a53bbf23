"""What may come out of ports, told to the programs on them (`filters`, `programs`) and to whom they hand frames
(`neighbours`)."""

from __future__ import annotations

import errno
import os
import socket
from functools import cache, cached_property
from ipaddress import ip_address
from typing import NamedTuple

from weft.errors import NotFound, WeftError
from weft.firewall.guard_program import NEIGHBOUR, Shape, guard_program, guard_value, port_key, shape_of, value_size
from weft.kernel import filters, links, neighbours, programs
from weft.kernel.neighbours import Neighbours
from weft.kernel.netlink import Failure, Netlink
from weft.kernel.netns import Namespaces, log
from weft.kernel.programs import Table
from weft.kernel.refusal import refusal
from weft.plan import Bridge, Guard


class Ahead(NamedTuple):
    """On the port of a container to come: a program that lets nothing pass until it knows the port's addresses."""

    shape: Shape
    link: int
    """The port's index."""


class _Loaded(NamedTuple):
    program: int
    """Its descriptor."""
    table: Table
    """What it knows of ports."""


class Guards:
    def __init__(self, namespaces: Namespaces | None, *, wanted: bool) -> None:
        """Not `wanted`: ports are to have no programs, whatever the kernel can do.

        `namespaces`: where to try out what it can do; None: it is not asked.
        """
        self._namespaces = namespaces
        self._wanted = wanted
        self._loaded: dict[Shape, _Loaded] = {}
        self._neighbours: Neighbours | None = None
        self._written: dict[str, tuple[Table, int]] = {}
        """Port to the map that knows it, and its index."""
        self._left: frozenset[int] | None = None

    @cached_property
    def in_force(self) -> bool:
        """Whether guards are programs here."""
        if not self._wanted or self._namespaces is None:
            return self._wanted
        refused = self._namespaces.scratch(why_not)
        if refused:
            log.info("containers are kept to their addresses by rules: %s", refused)
        return not refused

    def ensure(self, rtnl: Netlink, item: Guard) -> None:
        """Raises NotFound (port), or what the kernel says."""
        if self.holds(rtnl, item):
            return
        if not self.in_force:
            self.remove(rtnl, item.port)
        else:
            link = links.index_of(rtnl, item.port)
            if not link:
                raise NotFound(f"cannot {deed(item)}: there is no such link")
            self.write(rtnl, Ahead(shape_of(item), link), item)
            self._attach(rtnl, shape_of(item), link, deed(item))
            for failure in rtnl.send([neighbours.know(link, item.mac)] if item.bridge else []):
                if failure.errno != errno.EOPNOTSUPP:  # somebody has unplugged the port: it is told once it is back
                    raise refusal(failure.errno, deed(item), failure.text)

    def holds(self, rtnl: Netlink, item: Guard) -> bool:
        link = links.index_of(rtnl, item.port)
        if not self.in_force and link not in self._with_filters(rtnl):
            return True
        there = filters.found(rtnl, link) if link else None
        if not self.in_force or there is None:
            return not self.in_force and there is None
        return there.tag in _tags(shape_of(item)) and self._knows(rtnl, there.program, link, item)

    def _knows(self, rtnl: Netlink, program: int, link: int, item: Guard) -> bool:
        """Whether what the program finds in its maps is right."""
        try:
            shared = self._shared(rtnl)
            shared.look_again()
            bridge = shared.bridge_of(rtnl, item)
            tables = programs.tables_of(program)
        except OSError:
            return False
        try:
            of_ports = [table for table in tables if table.id != shared.table.id]
            if len(tables) != 2 or len(of_ports) != 1 or of_ports[0].value_size != value_size(shape_of(item)):
                return False
            (own,) = of_ports
            value = programs.read_value(own, port_key(link))
            return value == guard_value(item, bridge) and shared.holds(rtnl, item, link, bridge)
        except OSError:
            return False
        finally:
            programs.close(tables)

    def _with_filters(self, rtnl: Netlink) -> frozenset[int]:
        """Links that a former weftd may have put programs on: asked for once, since this one puts none there."""
        if self._left is None:
            self._left = filters.links_with_filters(rtnl)
        return self._left

    def remove(self, rtnl: Netlink, port: str) -> list[Failure]:
        """What others have at the port's ingress stays."""
        self._forget_port(port)
        link = links.index_of(rtnl, port)
        return filters.detach(rtnl, link) if link else []

    def forget(self, rtnl: Netlink, item: Guard) -> None:
        """Of a port that goes, and its program with it."""
        link = self._forget_port(item.port)
        if self.in_force:
            try:
                self._shared(rtnl).drop(rtnl, item, link)
            except OSError as error:
                log.warning("frames may still be handed to %s: %s", item.port, error)

    def forget_bridge(self, rtnl: Netlink, item: Bridge) -> None:
        """Of a bridge that goes."""
        if self._neighbours is not None:
            self._neighbours.drop_bridge(rtnl, item)

    def _forget_port(self, port: str) -> int:
        """Its index; 0 if nothing was written of it."""
        table, link = self._written.pop(port, (None, 0))
        if table is not None:
            try:
                programs.drop_value(table, port_key(link))
            except OSError as error:
                log.debug("a guard's value was gone: %s", error)
        return link

    def ahead(self, rtnl: Netlink, port: str, shape: Shape) -> Ahead | None:
        """On a port that is not up; None if there are no programs here. Raises WeftError."""
        if not self.in_force:
            return None
        link = links.index_of(rtnl, port)
        self._attach(rtnl, shape, link, f"guard port {port}")
        return Ahead(shape, link)

    def look_again(self) -> None:
        """The host's switches that `Neighbours.look_again` is about may be others now."""
        if self._neighbours is not None:
            self._neighbours.look_again()

    def write(self, rtnl: Netlink, ahead: Ahead, item: Guard) -> None:
        """What may come out of the port from now on, and that it may be reached. Raises WeftError."""
        try:
            table, shared = self._of(rtnl, ahead.shape).table, self._shared(rtnl)
            bridge = shared.bridge_of(rtnl, item)
            programs.write_value(table, port_key(ahead.link), guard_value(item, bridge))
            shared.write(rtnl, item, ahead.link, bridge)
        except OSError as error:
            raise _refused(error, deed(item)) from error
        self._written[item.port] = (table, ahead.link)

    def close(self) -> None:
        """Ports keep their programs."""
        for loaded in self._loaded.values():
            os.close(loaded.program)
            programs.close([loaded.table])
        self._loaded.clear()
        if self._neighbours is not None:
            self._neighbours.close()
            self._neighbours = None

    def _attach(self, rtnl: Netlink, shape: Shape, link: int, deed: str) -> None:
        try:
            program = self._of(rtnl, shape).program
        except OSError as error:
            raise _refused(error, deed) from error
        failure = filters.attach(rtnl, link, program)
        if failure is not None:
            raise refusal(failure.errno, deed, failure.text)

    def _of(self, rtnl: Netlink, shape: Shape) -> _Loaded:
        """Raises OSError."""
        if shape not in self._loaded:
            shared = self._shared(rtnl).table
            table = programs.make_table(len(port_key(0)), value_size(shape), filters.NAME)
            try:
                code = guard_program(shape, table.descriptor, shared.descriptor)
                self._loaded[shape] = _Loaded(programs.load_classifier(code, filters.NAME), table)
            except OSError:
                programs.close([table])
                raise
        return self._loaded[shape]

    def _shared(self, rtnl: Netlink) -> Neighbours:
        """Raises OSError."""
        if self._neighbours is None:
            self._neighbours = Neighbours(rtnl, self._left_table(rtnl))
        return self._neighbours

    def _left_table(self, rtnl: Netlink) -> Table | None:
        """The neighbours of programs that a former weftd put on ports."""
        for link in self._with_filters(rtnl):
            there = filters.found(rtnl, link)
            try:
                tables = programs.tables_of(there.program) if there is not None else []
            except OSError:
                continue  # it went with its port, such as one that weftd had made ahead
            kept = next((table for table in tables if (table.key_size, table.value_size) == NEIGHBOUR), None)
            programs.close(table for table in tables if table is not kept)
            if kept is not None:
                return kept
        return None


def found(rtnl: Netlink, item: Guard) -> str:
    """What is there in its place, in a few words for people."""
    link = links.index_of(rtnl, item.port)
    there = filters.found(rtnl, link) if link else None
    if there is None:
        return ""
    return "a program that lets other addresses pass" if there.tag in _tags(shape_of(item)) else "another program"


def deed(item: Guard) -> str:
    """What making the item is called, after "cannot"."""
    return f"guard port {item.port}"


def why_not() -> str:
    """Why programs cannot be had; empty if they can. To be called in a namespace that is thrown away."""
    rtnl = Netlink(socket.NETLINK_ROUTE)
    trial = Guard("lo", "02:00:00:00:00:01", (ip_address("127.0.0.1"), ip_address("::1")))
    guards = Guards(None, wanted=True)
    try:
        guards.ensure(rtnl, trial)
        return "" if guards.holds(rtnl, trial) else "the kernel does not show programs as they were loaded"
    except WeftError as error:
        return error.message
    finally:
        guards.close()
        rtnl.close()


def _refused(error: OSError, deed: str) -> WeftError:
    return refusal(error.errno or 0, deed, error.strerror or "")


@cache
def _tags(shape: Shape) -> tuple[bytes, ...]:
    return programs.tags(guard_program(shape, 0, 0))
