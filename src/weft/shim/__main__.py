"""python -I -S .../weft/shim/__main__.py PACKAGES DIRECTORY LISTENER READY: the supervisor of one container.

PACKAGES is where the weft package lies, DIRECTORY the container's runtime directory; LISTENER and READY are inherited
descriptors: the console's listening socket, and a pipe that gets "ok" once the command runs, or why it does not.
"""

import os
import sys


def main() -> None:
    packages, directory, listener, ready = sys.argv[1:]
    if os.fork():
        os._exit(0)  # whoever started this is no parent: it may end, and the container goes on
    os.setsid()
    sys.path.append(packages)
    from weft.shim.supervisor import supervise

    supervise(directory, int(listener), int(ready))
    os._exit(0)


if __name__ == "__main__":
    main()
