"""libnftables in-process: whole rulesets in nft's own language. Never forks."""

from __future__ import annotations

import ctypes
import os

from weft.errors import Invalid, Unsupported

_LIBRARY = "libnftables.so.1"


class Nft:
    """A context of libnftables. It speaks to the namespace of the thread that made it."""

    def __init__(self) -> None:
        try:
            self._library = _load()
        except OSError as error:
            raise Unsupported(f"{_LIBRARY} is not to be had ({error}); install nftables") from error
        self._context = self._library.nft_ctx_new(0)
        if not self._context:
            raise Unsupported("libnftables cannot be started")
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def close(self) -> None:
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None

    def run(self, commands: str) -> str:
        """Carry out commands in one transaction; what they print. Raises Invalid with nft's own first words."""
        # From a file, even one in memory: then nft's complaints quote the line that they are about.
        with open(os.memfd_create("ruleset"), "wb") as file:
            file.write(commands.encode())
            file.flush()
            path = f"/proc/self/fd/{file.fileno()}"
            status = self._library.nft_run_cmd_from_filename(self._context, path.encode())
        said = self._library.nft_ctx_get_output_buffer(self._context).decode(errors="replace")
        complaint = self._library.nft_ctx_get_error_buffer(self._context).decode(errors="replace")
        if status:
            lines = [line.replace(path, "line").strip() for line in complaint.splitlines() if line.strip(" ^~\t")]
            raise Invalid(f"nft refuses: {' | '.join(lines[:4]) or 'without a word'}")
        return str(said)


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(_LIBRARY)
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    for name in ("nft_ctx_free", "nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
        getattr(library, name).restype = ctypes.c_char_p
    library.nft_run_cmd_from_filename.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library
