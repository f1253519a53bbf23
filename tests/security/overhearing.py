"""`python -m tests.security.overhearing ADDRESS`: a name server that answers every name, and tells at its end which it
was asked for. Says "ready" once it listens; ends when standard input does."""

from __future__ import annotations

import sys

from tests.resolver.world import Upstream, answer


def main() -> int:
    asked: list[str] = []

    def hear(query: bytes) -> bytes:
        asked.append(_name(query))
        return answer(query, "203.0.113.7")

    Upstream(sys.argv[1], hear)
    print("ready", flush=True)
    sys.stdin.read()
    print(*asked, flush=True)
    return 0


def _name(query: bytes) -> str:
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode(errors="replace").lower())
        at += 1 + query[at]
    return ".".join(labels)


if __name__ == "__main__":
    sys.exit(main())
