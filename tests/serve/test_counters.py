from __future__ import annotations

from weft.serve.counters import read_counters

TEXT = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier
    lo:     100       2    0    0    0     0          0         0      100       2    0    0    0     0       0    0
wv-0123456789ab: 1500      11    1    2    0     0          0         0     2700      22    3    4    0     0   0  0
"""


def test_each_interface_has_its_sixteen_numbers():
    counted = read_counters(TEXT)
    assert counted["lo"][:2] == [100, 2]
    assert counted["wv-0123456789ab"] == [1500, 11, 1, 2, 0, 0, 0, 0, 2700, 22, 3, 4, 0, 0, 0, 0]
