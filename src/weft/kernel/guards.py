"""Programs on ports: put there, told from others, replaced without a gap, taken away.

A program is a filter of the port's ingress (tc's, with direct action). That costs a frame some 60 ns more than the
newer way, tcx, but is put there and taken away in no time. With tcx the kernel waits for a grace period of RCU (5 to
28 ms, measured) at each container's start and again at its end, and meanwhile nobody can change any link.

Numbers and layouts as in linux/pkt_sched.h and linux/pkt_cls.h (TCA_BPF_*).
"""

from __future__ import annotations

import errno
import os
import socket
from functools import cache, cached_property
from ipaddress import ip_address
from typing import NamedTuple

from weft.errors import NotFound, WeftError
from weft.firewall.guard_program import Shape, guard_program, guard_value, shape_of, value_size
from weft.kernel import links, programs
from weft.kernel.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    Failure,
    Message,
    Netlink,
    Request,
    attribute_map,
    nest,
    text,
    u32,
    zero_terminated,
)
from weft.kernel.netns import Namespaces, log
from weft.kernel.refusal import refusal
from weft.kernel.tcmsg import (
    FIRST,
    FIRST_OF_ALL,
    RTM_DELQDISC,
    RTM_DELTFILTER,
    RTM_GETQDISC,
    RTM_GETTFILTER,
    RTM_NEWQDISC,
    RTM_NEWTFILTER,
    TCA_KIND,
    TCA_OPTIONS,
    TCMSG,
    ingress_of,
    link_of,
)
from weft.plan import Guard

_NAME = "weft_guard"
_INGRESS = 0xFFFFFFF2
"""Of a link with the qdisc ingress, or clsact."""
_OURS = 1
"""The handle of our filter, at priority 1."""
_BPF_FD, _BPF_NAME, _BPF_FLAGS, _BPF_TAG, _BPF_ID = 6, 7, 8, 10, 11
_DIRECT_ACTION = 1


class Ahead(NamedTuple):
    """On the port of a container to come: a program that lets nothing pass until it knows the port's addresses."""

    shape: Shape
    link: int
    """The port's index."""


class _Loaded(NamedTuple):
    """Descriptors of a program and of its map."""

    program: int
    table: int


class _Found(NamedTuple):
    """A filter at priority 1 of a port."""

    ours: bool
    tag: bytes
    program: int
    """Its id."""


class Guards:
    def __init__(self, namespaces: Namespaces, *, wanted: bool) -> None:
        """Not `wanted`: ports are to have no programs, whatever the kernel can do."""
        self._namespaces = namespaces
        self._wanted = wanted
        self._loaded: dict[Shape, _Loaded] = {}
        self._written: dict[str, tuple[int, int]] = {}
        """Port to the map that knows it, and its index."""
        self._left: frozenset[int] | None = None

    @cached_property
    def in_force(self) -> bool:
        """Whether guards are programs here."""
        if not self._wanted:
            return False
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
            self.write(Ahead(shape_of(item), link), item)
            self._attach(rtnl, shape_of(item), link, deed(item))

    def holds(self, rtnl: Netlink, item: Guard) -> bool:
        link = links.index_of(rtnl, item.port)
        if not self.in_force and link not in self._with_filters(rtnl):
            return True
        found = _found(rtnl, link) if link else []
        if not self.in_force:
            return not any(one.ours for one in found)
        return any(one.ours and _is_right(one, link, item) for one in found)

    def _with_filters(self, rtnl: Netlink) -> frozenset[int]:
        """Links that a former weftd may have put programs on: asked for once, since this one puts none there."""
        if self._left is None:
            listed = rtnl.dump(Request(RTM_GETQDISC, 0, TCMSG.pack(0, 0, 0, 0, 0)))
            self._left = frozenset(link_of(message) for message in listed if _is_for_filters(message))
        return self._left

    def remove(self, rtnl: Netlink, port: str) -> list[Failure]:
        """What others have at the port's ingress stays."""
        self.forget(port)
        link = links.index_of(rtnl, port)
        if not link or not any(one.ours for one in _found(rtnl, link)):
            return []
        filter_ = TCMSG.pack(0, link, _OURS, _INGRESS, FIRST_OF_ALL) + text(TCA_KIND, "bpf")
        failures = rtnl.send([Request(RTM_DELTFILTER, 0, filter_)])
        if not failures and not _listed(rtnl, link):
            failures = rtnl.send([Request(RTM_DELQDISC, 0, ingress_of(link))])
        return list(failures)

    def forget(self, port: str) -> None:
        """Of a port that goes, and its program with it."""
        table, link = self._written.pop(port, (-1, 0))
        if link:
            try:
                programs.drop_value(table, link)
            except OSError as error:
                log.debug("a guard's value was gone: %s", error)

    def ahead(self, rtnl: Netlink, port: str, shape: Shape) -> Ahead | None:
        """On a port that is not up; None if there are no programs here. Raises WeftError."""
        if not self.in_force:
            return None
        link = links.index_of(rtnl, port)
        self._attach(rtnl, shape, link, f"guard port {port}")
        return Ahead(shape, link)

    def write(self, ahead: Ahead, item: Guard) -> None:
        """What may come out of the port from now on. Raises WeftError."""
        try:
            table = self._of(ahead.shape).table
            programs.write_value(table, ahead.link, guard_value(item))
        except OSError as error:
            raise _refused(error, deed(item)) from error
        self._written[item.port] = (table, ahead.link)

    def close(self) -> None:
        """Ports keep their programs."""
        for loaded in self._loaded.values():
            for descriptor in loaded:
                os.close(descriptor)
        self._loaded.clear()

    def _attach(self, rtnl: Netlink, shape: Shape, link: int, deed: str) -> None:
        """In place of what program there was, if any: a frame meets the one or the other."""
        try:
            program = self._of(shape).program
        except OSError as error:
            raise _refused(error, deed) from error
        options = nest(TCA_OPTIONS, u32(_BPF_FD, program), text(_BPF_NAME, _NAME), u32(_BPF_FLAGS, _DIRECT_ACTION))
        filter_ = TCMSG.pack(0, link, _OURS, _INGRESS, FIRST_OF_ALL) + text(TCA_KIND, "bpf") + options
        requests = [
            Request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, ingress_of(link) + text(TCA_KIND, "ingress")),
            Request(RTM_NEWTFILTER, NLM_F_CREATE, filter_),
        ]
        for failure in rtnl.send(requests):
            if failure.at or failure.errno != errno.EEXIST:  # somebody else's qdisc will do
                raise refusal(failure.errno, deed, failure.text)

    def _of(self, shape: Shape) -> _Loaded:
        """Raises OSError."""
        if shape not in self._loaded:
            table = programs.make_table(value_size(shape), _NAME)
            try:
                self._loaded[shape] = _Loaded(programs.load_classifier(guard_program(shape, table), _NAME), table)
            except OSError:
                os.close(table)
                raise
        return self._loaded[shape]


def found(rtnl: Netlink, item: Guard) -> str:
    """What is there in its place, in a few words for people."""
    link = links.index_of(rtnl, item.port)
    ours = next((one for one in _found(rtnl, link) if one.ours), None) if link else None
    if ours is None:
        return ""
    return "a program that lets other addresses pass" if ours.tag in _tags(shape_of(item)) else "another program"


def deed(item: Guard) -> str:
    """What making the item is called, after "cannot"."""
    return f"guard port {item.port}"


def why_not() -> str:
    """Why programs cannot be had; empty if they can. To be called in a namespace that is thrown away."""
    rtnl = Netlink(socket.NETLINK_ROUTE)
    trial = Guard("lo", "02:00:00:00:00:01", (ip_address("127.0.0.1"), ip_address("::1")))
    guards = _InForce()
    try:
        guards.ensure(rtnl, trial)
        return "" if guards.holds(rtnl, trial) else "the kernel does not show programs as they were loaded"
    except WeftError as error:
        return error.message
    finally:
        guards.close()
        rtnl.close()


class _InForce(Guards):
    """As if it were known that there are programs."""

    in_force = True

    def __init__(self) -> None:
        self._loaded = {}
        self._written = {}
        self._left = None


def _refused(error: OSError, deed: str) -> WeftError:
    return refusal(error.errno or 0, deed, error.strerror or "")


def _is_for_filters(message: Message) -> bool:
    return attribute_map(message.body, TCMSG.size).get(TCA_KIND) in (b"ingress\0", b"clsact\0")


def _found(rtnl: Netlink, link: int) -> list[_Found]:
    return [one for message in _listed(rtnl, link) if (one := _parse(message)) is not None]


def _listed(rtnl: Netlink, link: int) -> list[Message]:
    """The filters at a link's ingress."""
    messages = rtnl.dump(Request(RTM_GETTFILTER, 0, TCMSG.pack(0, link, 0, _INGRESS, 0)))
    return [message for message in messages if TCMSG.unpack_from(message.body)[2]]  # not those that hold others


def _parse(message: Message) -> _Found | None:
    _, _, handle, _, info = TCMSG.unpack_from(message.body)
    attrs = attribute_map(message.body, TCMSG.size)
    if info & ~0xFFFF != FIRST or attrs.get(TCA_KIND) != b"bpf\0":
        return None
    options = attribute_map(attrs.get(TCA_OPTIONS, b""))
    direct = options.get(_BPF_FLAGS, b"\0")[0] & _DIRECT_ACTION
    name = zero_terminated(options.get(_BPF_NAME, b""))
    program = int.from_bytes(options.get(_BPF_ID, b""), "little")
    return _Found(handle == _OURS and name == _NAME and bool(direct), options.get(_BPF_TAG, b""), program)


def _is_right(found: _Found, link: int, item: Guard) -> bool:
    shape = shape_of(item)
    if found.tag not in _tags(shape):
        return False
    try:
        return programs.value_of(found.program, link, value_size(shape)) == guard_value(item)
    except OSError:
        return False


@cache
def _tags(shape: Shape) -> tuple[bytes, ...]:
    return programs.tags(guard_program(shape, 0))
