"""Whether frames between containers of one network meet the host's rules."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.hosts import in_private_host
from weft.kernel.linux import LinuxKernel

SWITCH = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")

pytestmark = pytest.mark.root


def set_switch(value: str) -> None:
    if not SWITCH.exists():
        pytest.skip("this kernel has no br_netfilter loaded")
    SWITCH.write_text(value)


@in_private_host
def test_they_are_kept_apart_where_nobody_else_has_rules(tmp_path: Path) -> None:
    set_switch("1")
    kernel = LinuxKernel(str(tmp_path))
    kernel.keep_bridged_frames_apart()
    assert SWITCH.read_text() == "0\n"
    kernel.keep_bridged_frames_apart()
    assert SWITCH.read_text() == "0\n"
    kernel.close()


@in_private_host
def test_another_tools_rules_go_on_seeing_them(tmp_path: Path) -> None:
    set_switch("1")
    chain = "add chain ip other forward { type filter hook forward priority 0; }"
    subprocess.run(["nft", f"add table ip other; {chain}"], check=True)
    kernel = LinuxKernel(str(tmp_path))
    kernel.keep_bridged_frames_apart()
    assert SWITCH.read_text() == "1\n"
    kernel.close()
