"""Where a request comes from."""

from ipaddress import IPv4Network

from shared.chassis.origin import client_address

PROXIES = (IPv4Network("127.0.0.0/8"),)


def test_without_a_proxy_it_is_the_peer() -> None:
    assert client_address("203.0.113.7", "198.51.100.1", PROXIES) == "203.0.113.7"


def test_behind_our_proxy_it_is_the_last_address_it_names() -> None:
    assert client_address("127.0.0.1", "6.6.6.6, 198.51.100.1", PROXIES) == "198.51.100.1"


def test_our_proxy_without_the_header_is_itself() -> None:
    assert client_address("127.0.0.1", "", PROXIES) == "127.0.0.1"


def test_what_is_no_address_is_none() -> None:
    assert client_address(None, "", PROXIES) is None
    assert client_address("127.0.0.1", "'; DROP TABLE users", PROXIES) is None


def test_the_zone_of_a_link_local_address_is_dropped() -> None:
    assert client_address("fe80::1%eth0", "", PROXIES) == "fe80::1"
