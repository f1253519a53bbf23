"""What this machine's kernel can make, where tests cannot go on without it."""

from __future__ import annotations

import functools
import subprocess

import pytest

from tests.hosts import needs_namespaces


def needs_link(kind: str, options: str, what: str) -> None:
    """Skip the running test where the kernel has no links of a kind. `options` as ip(8) has them; eth1 is a veth."""
    needs_namespaces()
    reason = _why_not(kind, options)
    if reason:
        pytest.skip(f"this kernel has no {what}: {reason}")


@functools.cache
def _why_not(kind: str, options: str) -> str:
    before, _, after = options.partition(" id ")
    words = f"{before} name probe type {kind}" + (f" id {after}" if after else "")
    script = f"ip link add eth1 type veth peer name far && ip link add {words}"
    done = subprocess.run(["unshare", "-r", "--net", "sh", "-c", script], capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""
