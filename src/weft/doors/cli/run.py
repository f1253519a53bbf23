"""`weft run` and `weft exec`: commands in containers, with this terminal or in the background."""

from __future__ import annotations

import errno
import os

from weft.doors.cli.flags import Command, Flag, Options
from weft.doors.cli.joining import DETAILS, FLAGS, read_joining
from weft.doors.cli.options import read_environment, read_environment_file
from weft.doors.cli.progress import Progress
from weft.doors.cli.session import Session
from weft.errors import Invalid, NotFound, WeftError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from weft.client import Container

OWN_ERROR = 125
NOT_EXECUTABLE = 126
NOT_FOUND = 127


def run(options: Options, session: Session) -> int:
    tty, stdin, detach = options.on("tty"), options.on("interactive"), options.on("detach")
    if tty and stdin and not detach and not os.isatty(0):
        raise Invalid("-t with -i needs a terminal, and the input is none; leave out -t")
    rootfs = options.text("rootfs")
    process = {
        "argv": options.operands,
        "env": _environment(options),
        "cwd": options.text("workdir") or "/",
        "rootfs": None if rootfs is None else os.path.abspath(rootfs),
        "tty": tty,
        "open_stdin": stdin,
    }
    with Progress("making the container"):
        made = session.client.containers.create(process=process, auto_remove=options.on("rm"), **read_joining(options))
    if detach:
        code = _start(made, session)
        if code == 0:
            session.print(made.id)
        return code
    return _foreground(made, session, tty=tty, stdin=stdin)


def _environment(options: Options) -> dict[str, str]:
    texts: list[str] = []
    for path in options.many("env-file"):
        try:
            with open(path, encoding="utf-8") as file:
                texts += read_environment_file(file.read())
        except OSError as error:
            raise NotFound(f"env-file {path}: {error.strerror}") from None
    return read_environment([*texts, *options.many("env")], os.environ)


class _NotStarted(Exception):
    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


def _start(made: Container, session: Session) -> int:
    """0, or, once the container is removed and the reason told, what a shell would return."""
    try:
        session.client.containers.start(made)
    except Invalid as error:  # the command cannot be executed
        _forget(made, session)
        session.complain(error.message)
        missing = error.message.lower().endswith(os.strerror(errno.ENOENT).lower())
        return NOT_FOUND if missing else NOT_EXECUTABLE
    except WeftError:
        _forget(made, session)
        raise
    return 0


def _forget(made: Container, session: Session) -> None:
    try:
        session.client.containers.remove(made, force=True)
    except WeftError:
        pass  # why it did not start is the better news


def _foreground(made: Container, session: Session, *, tty: bool, stdin: bool) -> int:
    from weft.shim import client as shim

    def start() -> None:
        code = _start(made, session)
        if code:
            raise _NotStarted(code)

    try:
        code = shim.attach(made.console or "", log=made.log or "", start=start, tty=tty, stdin=stdin, foreground=True)
    except _NotStarted as error:
        return error.code
    return code or 0


def execute(options: Options, session: Session) -> int:
    ref, *argv = options.operands
    container = session.client.containers.get(ref)
    env = read_environment(options.many("env"), os.environ)
    if options.on("detach") and os.fork():
        os._exit(0)
    if options.on("detach"):
        _to_background()
    if container.console is None:
        return _enter(container, argv, env, options)
    from weft.shim import client as shim

    try:
        return shim.execute(
            container.console,
            argv,
            env=env,
            cwd=options.text("workdir"),
            user=options.text("user"),
            tty=options.on("tty"),
            stdin=options.on("interactive"),
        )
    except shim.CannotExecute as error:
        session.complain(error.message)
        return error.code


def _to_background() -> None:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)


def _enter(container: Container, argv: list[str], env: dict[str, str], options: Options) -> int:
    """Become the command, in the container's network and this system's files: there are no others."""
    from weft.shim import linux

    if options.text("user"):
        raise Invalid(f"--user: weft did not start container {container.name!r}, and knows none of its users")
    try:
        linux.setns(container.netns, linux.CLONE_NEWNET)
        os.chdir(options.text("workdir") or ".")
    except OSError as error:
        raise WeftError(f"cannot enter container {container.name!r}: {error.strerror} ({error.filename})") from error
    try:
        os.execvpe(argv[0], argv, {**os.environ, **env})
    except OSError as error:
        Session().complain(f"{argv[0]}: {error.strerror}")
        return NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE


ENVIRONMENT = Flag(
    "-e --env", "KEY[=VALUE]", "A variable of its environment; KEY alone takes the caller's", repeat=True
)
INTERACTIVE = Flag("-i --interactive", "", "Pass this program's input on")
TTY = Flag("-t --tty", "", "Give it a terminal; with -i, this one")
WORKDIR = Flag("-w --workdir", "DIRECTORY", "Where it starts")

COMMANDS = (
    Command(
        "run",
        "Run a command in a container of its own",
        run,
        operands="[--] COMMAND…",
        least=1,
        most=None,
        takes_command=True,
        completes=("command",),
        own_error=OWN_ERROR,
        flags=(
            Flag("-d --detach", "", "In the background; the container's id is printed"),
            INTERACTIVE,
            TTY,
            Flag("--rm", "", "Remove the container when the command has ended"),
            *FLAGS,
            ENVIRONMENT,
            Flag("--env-file", "FILE", "Read variables from a file, one a line", repeat=True, completes="file"),
            WORKDIR,
            Flag("--rootfs", "DIRECTORY", "Becomes / for the command; without it, the host's files", completes="file"),
        ),
        details=f"""\
The command gets a network namespace of its own, and its own processes, host name and /etc/hosts. By the time it
starts, every neighbour resolves its name.

{DETAILS}

Ends with the command's exit code; 125 if weft could not do it, 126 or 127 if the command cannot be executed.
If this program dies, the container goes on. Ctrl-P Ctrl-Q leaves a terminal without ending the command.""",
        examples=(
            (
                "a server in the background",
                "weft run -d --name web --network front -p 8080:80 -- nginx -g 'daemon off;'",
            ),
            ("a look around, from inside", "weft run --rm -it --network front -- bash"),
            (
                "on two networks, the way out by the first",
                "weft run -d --network front:gw-priority=1 --network back -- app",
            ),
            ("somebody else's root file system", "weft run --rm --rootfs ./alpine -- /bin/sh -c 'ip addr'"),
        ),
    ),
    Command(
        "exec",
        "Run one more command in a container",
        execute,
        operands="CONTAINER COMMAND…",
        least=2,
        most=None,
        takes_command=True,
        completes=("container", "command"),
        own_error=OWN_ERROR,
        flags=(
            Flag("-d --detach", "", "In the background"),
            INTERACTIVE,
            TTY,
            ENVIRONMENT,
            Flag("-u --user", "USER[:GROUP]", "As this user of the container"),
            WORKDIR,
        ),
        details="""\
Ends with the command's exit code; 125 if weft could not do it, 126 or 127 if the command cannot be executed.
In a container that weft did not start, the command has the container's network and the host's files.""",
        examples=(
            ("a shell inside", "weft exec -it web bash"),
            ("does it reach the database?", "weft exec web ping -c 1 db"),
        ),
    ),
)
