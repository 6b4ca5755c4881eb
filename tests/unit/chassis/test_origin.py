"""The client address of a request: only the configured proxies can name an address other than their own."""

from ipaddress import ip_network

import pytest

from shared.chassis.http.client_address import client_address
from shared.chassis.settings import ServiceSettings

PROXIES = [ip_network("10.0.0.0/24"), ip_network("fd00::/64")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("8.8.8.8", [], "8.8.8.8"),
        ("8.8.8.8", ["6.6.6.6"], "8.8.8.8"),
        ("127.0.0.1", ["6.6.6.6"], "127.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["7.7.7.7"], "7.7.7.7"),
        ("10.0.0.1", ["6.6.6.6, 7.7.7.7"], "7.7.7.7"),
        ("10.0.0.1", ["6.6.6.6", "7.7.7.7"], "7.7.7.7"),
        ("10.0.0.1", ["6.6.6.6, 7.7.7.7, 10.0.0.9"], "7.7.7.7"),
        ("10.0.0.1", ["10.0.0.8, 10.0.0.9"], "10.0.0.8"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["7.7.7.7"], "7.7.7.7"),
        ("10.0.0.1", ["::ffff:7.7.7.7"], "7.7.7.7"),
        ("10.0.0.1", ["fe80::7%eth0"], "fe80::7"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["7.7.7.7:80"], "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, "], "10.0.0.1"),
        ("10.0.0.1", ["", ",,,"], "10.0.0.1"),
        ("10.0.0.1", ["\udcff"], "10.0.0.1"),
        ("10.0.0.1", ["9" * 5_000], "10.0.0.1"),
        ("10.0.0.1", ["007.7.7.7"], "10.0.0.1"),
        (None, ["6.6.6.6"], None),
        ("a unix socket", ["6.6.6.6"], None),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_not_our_proxy(
    peer: str | None, forwarded: list[str], expected: str | None
) -> None:
    assert client_address(peer, forwarded, PROXIES) == expected


def test_no_proxy_is_trusted_by_default() -> None:
    default = ServiceSettings.model_fields["trusted_proxies"].default
    assert client_address("127.0.0.1", ["6.6.6.6"], default) == "127.0.0.1"
