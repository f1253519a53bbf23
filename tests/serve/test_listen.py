from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemons import SOURCE
from weft.errors import Conflict, Unavailable
from weft.serve.http import listen


def test_a_socket_that_a_dead_daemon_left_is_replaced(tmp_path: Path):
    path = f"{tmp_path}/weft.sock"
    listen(path).close()
    with listen(path) as listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        listener.accept()[0].close()


def test_a_living_daemon_is_not_robbed(tmp_path: Path):
    path = f"{tmp_path}/weft.sock"
    with listen(path), pytest.raises(Conflict, match="another weftd answers"):
        listen(path)


def test_the_socket_is_not_for_everybody(tmp_path: Path):
    path = tmp_path / "weft.sock"
    with listen(str(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


IN_A_USER_NAMESPACE = ("unshare", "--user", "--map-root-user")
LISTEN = """
import os, sys
from weft.serve import http

http.GROUP = "nogroup"
http.listen(sys.argv[1]).close()
print(oct(os.stat(sys.argv[1]).st_mode & 0o777))
"""


def test_a_group_that_is_not_in_this_user_namespace_gets_nothing(tmp_path: Path):
    if subprocess.run([*IN_A_USER_NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces")
    command = [*IN_A_USER_NAMESPACE, sys.executable, "-c", LISTEN, f"{tmp_path}/weft.sock"]
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    assert subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout == "0o660\n"


def test_a_place_where_no_socket_can_be_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot listen"):
        listen(f"{tmp_path}/file/weft.sock")
