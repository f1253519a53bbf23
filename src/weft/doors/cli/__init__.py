"""The command line, `weft`. Thin: it reads what was typed, asks the daemon, and shows the answer.

What a command does not use is not imported: start-up is most of what a command costs.
"""

from __future__ import annotations


def main() -> None:
    """The console script."""
    import sys

    from weft.doors.cli.main import run

    sys.exit(run(sys.argv[1:]))
