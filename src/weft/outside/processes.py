"""Other people's processes, named for good by pid and start time."""

from __future__ import annotations


class HostProcesses:
    """Implements `engine.needs.Processes` from /proc."""

    def start_time(self, pid: int) -> int | None:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                stat = file.read()
        except OSError:
            return None
        # The command, field 2, is in brackets and may hold anything, brackets included: count from the last one.
        fields = stat[stat.rindex(b")") + 2 :].split()
        state = fields[0]
        return None if state in (b"Z", b"X") else int(fields[19])
