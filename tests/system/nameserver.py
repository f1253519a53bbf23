"""A name server of the outside world: `python -m tests.system.nameserver ADDRESS` answers every name with `ANSWER`.

Says "ready" once it does; ends when standard input does.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from tests.daemons import Weftd
from tests.hosts import Namespace
from tests.resolver.world import Upstream, answer

ANSWER = "203.0.113.7"


@contextlib.contextmanager
def answering(weftd: Weftd, where: Namespace, address: str) -> Iterator[None]:
    """One in a namespace, which its own `address` is in."""
    with where.popen(
        [sys.executable, "-P", "-m", "tests.system.nameserver", address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=weftd.environment,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        yield
        program.stdin.close()


def main() -> int:
    Upstream(sys.argv[1], lambda asked: answer(asked, ANSWER))
    print("ready", flush=True)
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
