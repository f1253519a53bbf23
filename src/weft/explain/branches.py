"""Links that branch off from others, in words."""

from __future__ import annotations

from weft.plan import HOST, Child, Dummy, Parent, Vlan

_MODES = {
    ("macvlan", "bridge"): "Containers on the same parent reach each other within the host.",
    ("macvlan", "private"): "Containers on the same parent do not reach each other.",
    (
        "macvlan",
        "vepa",
    ): "What is for a container on the same parent goes out, and comes back if the switch reflects it.",
    ("macvlan", "passthru"): "The container has the parent, and its MAC, to itself.",
    ("ipvlan", "l2"): "It shares the parent's MAC; who is next door is asked for over the wire.",
    ("ipvlan", "l3"): "It shares the parent's MAC; the host routes between it and the wire, past its own firewall.",
    ("ipvlan", "l3s"): "It shares the parent's MAC; the host routes between it and the wire, through its own firewall.",
}
_FLAGS = {
    "private": " Containers on the same parent do not reach each other.",
    "vepa": " What is for a container on the same parent goes out, and comes back if the router sends it.",
}


def branch_wording(item: Parent | Vlan | Dummy | Child) -> tuple[str, str]:
    """What an item is, and what for."""
    match item:
        case Parent(name=name, kind=kind):
            return (
                f"{name} is the parent of {kind} links",
                "A link of the host. What containers send leaves through it as it is: no bridge, no NAT, no rules of "
                "weft's. The kernel passes nothing between it and them, so the host does not reach them by it.",
            )
        case Vlan(name=name, parent=parent, tag=tag):
            return (
                f"{name}, VLAN {tag} of {parent}",
                f"What passes through it bears the tag {tag} on {parent}. weft makes it where it is not there.",
            )
        case Dummy(name=name):
            return (
                f"{name}, a link that leads nowhere",
                "The network was given no parent: its containers reach each other only.",
            )
        case Child():
            return _child(item)


def _child(item: Child) -> tuple[str, str]:
    words = ", ".join(word for word in (f"mode {item.mode}", item.flag and f"flag {item.flag}", _values(item)) if word)
    text = f"{item.name}, {item.kind} of {item.parent} ({words})"
    if item.netns == HOST:
        return text, (
            "The host's own link among the containers: it lets them and the host talk, which the kernel does not do "
            "between a parent and what branches off from it."
        )
    return text, (
        f"An interface that branches off from {item.parent}: the container is on the same wire as the host. "
        + _MODES[item.kind, item.mode]
        + _FLAGS.get(item.flag, "")
    )


def _values(item: Child) -> str:
    return ", ".join([f"MAC {item.mac}"] * bool(item.mac) + [f"MTU {item.mtu}"] * bool(item.mtu))
