"""How text may look where standard output goes."""

from __future__ import annotations

import os
import sys

from weft.explain.text import Look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from weft.doors.cli.flags import Options


def look_of(options: Options) -> Look:
    """Colours on a terminal only (and never with NO_COLOR set); as wide as it is; ASCII unless the locale is UTF-8."""
    terminal = sys.stdout.isatty()
    colour = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return Look(width=_width() if terminal else 90, colour=colour, unicode=unicode)


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        return 80
