"""What this host's IPv6 prefix is made from (`ipam.pools.ula_base`)."""

from __future__ import annotations

from weft import names
from weft.engine.needs import Store

_KEY = "ula-seed"


def ula_seed(store: Store) -> str:
    """Random once, then the same for ever."""
    seed = store.get_meta(_KEY)
    if seed is None:
        seed = names.new_id()
        store.set_meta(_KEY, seed)
    return seed
