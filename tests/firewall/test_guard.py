"""What elements say of ports, said once more port by port."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

from weft.firewall.guard import guards, sender_elements, unguarded_elements
from weft.plan import Guard, NftElement

MAC, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02"


def test_a_port_s_elements_of_both_families_are_one_guard():
    found = guards(
        (
            *sender_elements("wv-1", MAC, (ip_interface("10.0.0.2/24"), ip_interface("fd00::2/64"))),
            NftElement("bridges", ("wb-1",)),
            *sender_elements("wv-2", OTHER, (ip_interface("10.0.1.2/24"),)),
            *sender_elements("wv-1", MAC, (ip_interface("10.0.1.2/24"), ip_interface("10.0.0.2/24"))),
        )
    )
    own = tuple(map(ip_address, ("10.0.0.2", "fd00::2", "10.0.1.2")))
    assert found == (Guard("wv-1", MAC, own), Guard("wv-2", OTHER, (ip_address("10.0.1.2"),)))


def test_a_port_that_may_send_what_it_likes_has_none():
    also = sender_elements("wv-1", MAC, (ip_interface("10.0.1.2/24"),))
    assert guards((*also, *unguarded_elements("wv-1"))) == ()
