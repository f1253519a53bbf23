"""What is known of a container's run, in one small JSON file that is always whole.

shim_pid, shim_start    the supervisor, with its start time in clock ticks since boot
pid, pid_start          the container's first process as the host sees it
started                 seconds since the epoch
exit_code, finished     once it has ended
"""

from __future__ import annotations

import os

NAME = "status.json"

Status = dict[str, int | float]


def write(directory: str, status: Status) -> None:
    """Replace the file. No sync: it describes processes, which a crash of the machine ends too."""
    text = ", ".join(f'"{key}": {value!r}' for key, value in status.items())
    temporary = f"{directory}/{NAME}.new"
    with open(temporary, "w") as file:
        file.write(f"{{{text}}}\n")
    os.replace(temporary, f"{directory}/{NAME}")


def read(directory: str) -> Status:
    """What the file says; nothing if there is none."""
    try:
        with open(f"{directory}/{NAME}") as file:
            text = file.read()
    except FileNotFoundError:
        return {}
    pairs = (pair.split(": ") for pair in text.strip("{}\n").split(", "))
    return {key.strip('"'): float(value) if "." in value else int(value) for key, value in pairs}
