"""`weft attach`: give a container that something else made its network, or come back to one's console."""

from __future__ import annotations

from weft.doors.cli.flags import Command, Flag, Options, Usage
from weft.doors.cli.joining import DETAILS, FLAGS, read_joining
from weft.doors.cli.session import Session
from weft.errors import Conflict


def attach(options: Options, session: Session) -> int:
    pid, netns = options.text("pid"), options.text("netns")
    if pid is None and netns is None:
        return _console(options, session)
    if options.operands:
        raise Usage(f"unexpected {options.operands[0]!r}: a container is named by --name")
    if pid is not None and netns is not None:
        raise Usage("--pid or --netns, not both")
    if pid is not None and not pid.isdecimal():
        raise Usage(f"--pid: {pid!r} is not a process id")
    made = session.client.containers.create(pid=None if pid is None else int(pid), netns=netns, **read_joining(options))
    session.print(made.id)
    return 0


def _console(options: Options, session: Session) -> int:
    if not options.operands:
        raise Usage("which namespace? Give --pid or --netns, or a container's name for its console")
    container = session.client.containers.get(options.operands[0])
    if container.console is None or container.process is None:
        raise Conflict(f"container {container.name!r} has no console: weft did not start its process")
    from weft.shim import client as shim

    tty, open_stdin = container.process["tty"], container.process["open_stdin"]
    stdin = open_stdin and not options.on("no-stdin")
    return shim.attach(container.console, tty=tty, stdin=stdin) or 0


COMMANDS = (
    Command(
        "attach",
        "Put a container that something else made on networks; or come back to a console",
        attach,
        operands="[CONTAINER]",
        most=1,
        completes=("container",),
        flags=(
            Flag("--pid", "PID", "The container is this process's network namespace, for as long as it lives"),
            Flag("--netns", "PATH", "The container is the network namespace at this path", completes="file"),
            *FLAGS,
            Flag("--no-stdin", "", "To a console: only look"),
        ),
        details=f"""\
With --pid or --netns: the namespace gets interfaces, addresses, names and published ports, and the new container's id
is printed. 'weft rm' takes them away again; the process and the namespace are left alone.

With a CONTAINER that 'weft run' made: its input and output, from now on. Ctrl-P Ctrl-Q leaves a terminal again.

{DETAILS}""",
        examples=(
            ("a process in a namespace of its own", "weft attach --name job --pid 1234 --network front"),
            (
                "a namespace made by ip netns",
                "weft attach --name lab --netns /run/netns/lab --network front -p 8080:80",
            ),
            ("back to the shell of yesterday", "weft attach shell"),
        ),
    ),
)
