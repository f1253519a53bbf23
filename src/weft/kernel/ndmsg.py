"""What all messages about neighbours (of hosts and of bridges) have in common: linux/neighbour.h, struct ndmsg."""

from __future__ import annotations

import struct

RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30

NDMSG = struct.Struct("=BxHiHBB")
"""Family, padding, index, state, flags, type."""
