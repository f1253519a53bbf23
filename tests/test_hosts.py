"""The private hosts that other tests stand on are private."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.hosts import PrivateHost, in_private_host


def links(text: str) -> list[str]:
    return [link["ifname"] for link in json.loads(text)]


@in_private_host
def test_a_forked_test_is_alone_with_lo():
    assert links(subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True).stdout) == ["lo"]
    subprocess.run(["ip", "link", "add", "here", "type", "bridge"], check=True)


def test_what_a_forked_test_makes_stays_there():
    test_a_forked_test_is_alone_with_lo()
    assert not os.path.exists("/sys/class/net/here")


def test_a_failure_in_the_fork_is_a_failure():
    @in_private_host
    def failing():
        raise AssertionError("told so")

    with pytest.raises(pytest.fail.Exception, match="told so"):
        failing()


def test_a_host_and_its_container_are_private(private_host: PrivateHost):
    private_host.run("ip link add here type bridge")
    with private_host.container() as container:
        assert links(container.run("ip -j link").stdout) == ["lo"]
        assert links(private_host.run("ip -j link").stdout) == ["lo", "here"]
    assert not os.path.exists("/sys/class/net/here")


def test_mounts_of_a_host_stay_there(private_host: PrivateHost, tmp_path):
    private_host.run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path)])
    private_host.run(["touch", f"{tmp_path}/in-there"])
    assert os.listdir(tmp_path) == []
