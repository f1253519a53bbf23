"""`weft port`: the published ports of a container that is there: shown, added, taken back."""

from __future__ import annotations

from weft.doors.cli.flags import Command, Flag, Options, Usage
from weft.doors.cli.options import read_publish
from weft.doors.cli.output import host_text, ports_text
from weft.doors.cli.session import Session
from weft.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from weft.client import Container, Port


def show(options: Options, session: Session) -> int:
    ref, *wanted = options.operands
    container = session.client.containers.get(ref)
    number, _, proto = wanted[0].partition("/") if wanted else ("", "", "")
    found = [
        port
        for port in container.ports
        if not wanted or (str(port.container_port) == number and port.proto == (proto or "tcp"))
    ]
    if wanted and not found:
        raise NotFound(f"container {container.name!r} publishes no port {number}/{proto or 'tcp'}")
    for each_port in found:
        inside = "" if wanted else f"{each_port.container_port}/{each_port.proto} -> "
        for place in _places(each_port, container):
            session.print(f"{inside}{place}")
    return 0


def _places(published: Port, container: Container) -> list[str]:
    if published.host_port == 0:  # it is reached at the container's own addresses
        own = [address for e in container.endpoints for address in (e.ipv4, e.ipv6) if address]
        return [f"{host_text(address.partition('/')[0])}{published.container_port}" for address in own]
    hosts = ["0.0.0.0:", "[::]:"] if published.host_ip is None else [host_text(published.host_ip)]
    return [f"{host}{published.host_port}" for host in hosts]


def add(options: Options, session: Session) -> int:
    ref, *ports = options.operands
    _tell(session.client.containers.publish(ref, [read_publish(text) for text in ports]), session)
    return 0


def rm(options: Options, session: Session) -> int:
    ref, *ports = options.operands
    if bool(ports) == options.on("all"):
        raise Usage("which ports? Name some, or say --all")
    chosen = None if options.on("all") else [choice for text in ports for choice in _choices(text)]
    _tell(session.client.containers.unpublish(ref, chosen), session)
    return 0


def _choices(text: str) -> list[dict[str, object]]:
    """What -p takes, as a choice among published ports: a range is one choice for each of its ports."""
    asked = read_publish(text)
    inside, host = asked["container_port"], asked.get("host_port")
    assert isinstance(inside, int)
    last = asked.get("container_port_end", inside)
    assert isinstance(last, int)
    if asked.get("host_port_end") is not None and last == inside:
        host = None  # the first free one of a range was taken, whichever that was
    kept: dict[str, object] = {field: asked[field] for field in ("proto", "host_ip") if field in asked}
    return [
        {**kept, "container_port": inside + i, **({"host_port": host + i} if isinstance(host, int) else {})}
        for i in range(last - inside + 1)
    ]


def _tell(ports: tuple[Port, ...], session: Session) -> None:
    for line in filter(None, ports_text(ports).split(", ")):
        session.print(line)


COMMANDS = (
    Command(
        "port",
        "Show a container's published ports",
        show,
        operands="CONTAINER [PORT[/PROTO]]",
        least=1,
        most=2,
        completes=("container",),
        details="'weft port add' and 'weft port rm' change them while the container runs.",
        examples=(("where port 80 is to be found", "curl http://$(weft port web 80 | head -1)"),),
    ),
    Command(
        "port add",
        "Publish more ports of a container that is there already",
        add,
        operands="CONTAINER [[IP:]HOST:]PORT…",
        least=2,
        most=None,
        completes=("container",),
        details="""\
As -p of 'weft run' has them: ranges, one address of the host, /udp, or PORT alone for a free port of the host. All of
them or none. What was added is printed; connections through other ports are not disturbed.""",
        examples=(
            ("one more door", "weft port add web 8443:443"),
            ("a debugger, for this host alone", "weft port add web 127.0.0.1:9229:9229"),
            ("a free port", "weft port add web 80"),
        ),
    ),
    Command(
        "port rm",
        "Take published ports of a container back",
        rm,
        operands="CONTAINER [[IP:]HOST:]PORT…",
        least=1,
        most=None,
        completes=("container",),
        flags=(Flag("--all", "", "All of them"),),
        details="""\
PORT is the container's; with HOST, or IP and HOST, only what is published there. Connections through these ports
end.""",
        examples=(
            ("whatever leads to port 443", "weft port rm web 443"),
            ("one of two", "weft port rm web 8080:80"),
            ("all", "weft port rm --all web"),
        ),
    ),
)
