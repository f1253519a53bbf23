"""The flags that say how a container joins its networks: those that `run` and `attach` share."""

from __future__ import annotations

from weft.doors.cli.flags import Flag, Options
from weft.doors.cli.options import read_attachment, read_host, read_pairs, read_publish
from weft.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FLAGS = (
    Flag("--name", "NAME", "What it is called, on every network; one is made up if none is given"),
    Flag(
        "--net --network",
        "NETWORK[:KEY=VALUE,…]",
        "A network to join (none given: 'bridge'); keys: ip, ip6, mac, alias,\ngw-priority, ifname, and the driver's:\n"
        "bandwidth-in, bandwidth-out. Or none, host, or container:NAME",
        repeat=True,
        completes="network",
    ),
    Flag(
        "-p --publish",
        "[[IP:]HOST:]PORT",
        "Publish a port or a range of them; /udp or /sctp behind it if not tcp",
        repeat=True,
    ),
    Flag("--ip", "ADDRESS", "Its IPv4 address on the (only) network"),
    Flag("--ip6", "ADDRESS", "Its IPv6 address there"),
    Flag("--mac-address", "MAC", "Its MAC address there"),
    Flag("--net-alias --network-alias", "NAME", "One more name for it there", repeat=True),
    Flag("-h --hostname", "NAME", "Its own host name; the short id if none is given"),
    Flag("--dns", "ADDRESS", "Ask this server about names that are not weft's", repeat=True),
    Flag("--dns-search", "DOMAIN", "Complete names with this domain", repeat=True),
    Flag("--dns-opt --dns-option", "OPTION", "An option for resolv.conf", repeat=True),
    Flag("--add-host", "NAME:ADDRESS", "A line for /etc/hosts; the address may be host-gateway", repeat=True),
    Flag("-l --label", "KEY=VALUE", "A label", repeat=True),
)

DETAILS = """\
  --network front:ip=10.7.0.9,alias=db     also name=front,ip=10.7.0.9,alias=db
  --network front:bandwidth-in=10mbit,bandwidth-out=2MB/s
  --network none        no network, until one is connected
  --network host        the host's own: no address, names or ports of its own
  --network container:web                  the network of web, whole
  -p 8080:80            port 8080 of every address of the host, to port 80
  -p 127.0.0.1:9000-9010:9000-9010/udp     a range, of one address
  -p '[::1]:8080:80'    an IPv6 address in brackets
  -p 8000-8099:80       the first free port of a range
  -p 80                 a free port; 'weft port' tells which"""


def read_joining(options: Options) -> dict[str, Any]:
    """Arguments for `client.containers.create`."""
    return {
        "name": options.text("name"),
        "networks": _networks(options),
        "ports": [read_publish(text) for text in options.many("publish")],
        "hostname": options.text("hostname"),
        "dns": options.many("dns"),
        "dns_search": options.many("dns-search"),
        "dns_options": options.many("dns-option"),
        "extra_hosts": [read_host(text) for text in options.many("add-host")],
        "labels": read_pairs("label", options.many("label")),
    }


def _networks(options: Options) -> list[dict[str, object]]:
    networks = [read_attachment(text) for text in options.many("network")]
    alone: dict[str, object] = {
        field: value
        for flag, field in (("ip", "ip"), ("ip6", "ip6"), ("mac-address", "mac"))
        if (value := options.text(flag)) is not None
    }
    if options.many("network-alias"):
        alone["aliases"] = options.many("network-alias")
    if not alone:
        return networks
    if len(networks) > 1:
        raise Invalid("which network are --ip, --ip6, --mac-address, --network-alias for? Write --network NAME:ip=…")
    return [{**(networks or [{"network": "bridge"}])[0], **alone}]
