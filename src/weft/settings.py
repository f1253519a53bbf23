"""Where weftd's settings come from: its command line, the environment and a file, in this order of precedence."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields

from weft import __version__
from weft.config import Config, configure
from weft.errors import Unavailable

CONFIG_FILE = "/etc/weft/weft.toml"


def load_config(argv: Sequence[str] | None, environ: Mapping[str, str]) -> Config:
    """Raises Invalid, which names the setting and where it was read, or Unavailable (the file). `--help` exits."""
    arguments = _arguments(argv)
    file = arguments.pop("config", None)
    names = {f"WEFT_{field.name.upper()}": field.name for field in fields(Config)}
    return configure(
        (file or CONFIG_FILE, _toml(file or CONFIG_FILE, required=file is not None)),
        ("the environment", {names[key]: value for key, value in environ.items() if key in names}),
        ("the command line", arguments),
    )


def _toml(path: str, *, required: bool) -> dict[str, object]:
    try:
        with open(path, "rb") as file:
            return {key.replace("-", "_"): value for key, value in tomllib.load(file).items()}
    except FileNotFoundError:
        if required:
            raise Unavailable(f"no configuration file {path}") from None
        return {}
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Unavailable(f"cannot read {path}: {error}") from None


def _arguments(argv: Sequence[str] | None) -> dict[str, str]:
    parser = argparse.ArgumentParser(
        prog="weftd",
        description="Gives containers their network: addresses, names, ports and a firewall.",
        epilog=f"Settings are read from {CONFIG_FILE} (or --config), then WEFT_… in the environment, then here.",
    )
    parser.add_argument("--version", action="version", version=f"weftd {__version__}")
    parser.add_argument("--config", metavar="FILE", help=f"settings in TOML (default {CONFIG_FILE}, if it is there)")
    for name, text in _HELP.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", dest=name, help=text, metavar=name.rpartition("_")[2].upper()
        )
    return {name: value for name, value in vars(parser.parse_args(argv)).items() if value is not None}


_HELP = {
    "state_dir": "what outlives a reboot (default /var/lib/weft)",
    "run_dir": "what does not: sockets, namespaces (default /run/weft)",
    "socket": "where the API listens (default weft.sock in the run directory)",
    "tcp": "where it listens beside, with TLS and for certificates of tls-ca alone: 10.0.0.1:2376 (default: nowhere)",
    "tls_cert": "weftd's certificate, in PEM",
    "tls_key": "its key",
    "tls_ca": "who signs the certificates of those who may come in",
    "log_level": "debug, info, warning or error (default info)",
    "log_format": "text or json",
    "address_pools": "where subnets come from: 172.18.0.0/16,10.0.0.0/8:24 (the second cut in /24s)",
    "host_binding": "host address for published ports that name none (default: every address)",
    "mtu": "of networks that name none (default 1500)",
    "network_options": "of networks that do not say otherwise: bridge:icc=false,bridge:masquerade=false",
    "dns": "upstream servers instead of those in resolv.conf",
    "resolv_conf": "the host's resolver configuration (default /etc/resolv.conf)",
    "forward_rules": "nft rules that decide on forwarded packets before weft does (default /etc/weft/forward.nft)",
    "accept_mark": "let packets with this mark through to containers: 0x2 or 0x2/0xff (default: none)",
    "guard": "what keeps containers to their addresses: programs (default), where the kernel takes them, or rules",
    "spares": "namespaces made ahead for containers to come (default 3)",
    "audit_seconds": "how often kernel and records are compared (default 30)",
}
