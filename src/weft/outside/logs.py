"""One line per event on standard error: text for people, JSON for machines.

Under systemd a line of text has no time of its own, since the journal gives it one. A record's `fields` (a mapping
given as `extra={"fields": …}`) become key=value pairs, or members of the object.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
import time


def configure_logging(level: str, style: str) -> None:
    # Nothing that our lines do not have is found out for them: as the logging module's documentation has it.
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if style == "json" else TextLines(stamped=not _is_journal(sys.stderr.fileno())))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # The daemon itself says when it is ready and what clients made it do.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _is_journal(fd: int) -> bool:
    """Whether systemd connected the descriptor to its journal, by the device and inode that it names."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class TextLines(logging.Formatter):
    """2026-11-02T10:11:12.345Z info engine: container create name=db"""

    def __init__(self, *, stamped: bool = True) -> None:
        super().__init__()
        self._stamped = stamped

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        pairs = "".join(f" {key}={_quoted(value)}" for key, value in _fields(record).items())
        stamp = f"{_stamp(record)} " if self._stamped else ""
        line = f"{stamp}{level} {_room(record)}: {record.getMessage()}{pairs}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _stamp(record),
            "level": record.levelname.lower(),
            "room": _room(record),
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def _fields(record: logging.LogRecord) -> dict[str, str]:
    fields: dict[str, str] = getattr(record, "fields", {})
    return fields


def _room(record: logging.LogRecord) -> str:
    return record.name.removeprefix("weft.")


def _stamp(record: logging.LogRecord) -> str:
    return f"{_second(int(record.created))}.{int(record.msecs):03d}Z"


@functools.lru_cache(maxsize=2)
def _second(since_epoch: int) -> str:
    # Joins at full rate write a thousand lines in one second.
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since_epoch))


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text) if not text or " " in text or '"' in text else text
