"""Whose address we believe behind proxies: only what our own proxies add."""

import pytest

from bot.security.forwarding import client_ip, is_https

OURS = ("10.0.0.0/8", "192.0.2.7")


@pytest.mark.parametrize(
    ("peer", "forwarded", "seen"),
    [
        ("203.0.113.5", "", "203.0.113.5"),
        ("203.0.113.5", "198.51.100.1", "203.0.113.5"),  # a stranger says who he is
        ("10.1.2.3", "198.51.100.1", "198.51.100.1"),
        ("10.1.2.3", "8.8.8.8, 198.51.100.1", "198.51.100.1"),  # the first was written by the stranger
        ("10.1.2.3", "198.51.100.1, 192.0.2.7", "198.51.100.1"),  # two proxies of ours
        ("10.1.2.3", "10.9.9.9", "10.9.9.9"),  # from inside
        ("10.1.2.3", "", "10.1.2.3"),
        ("10.1.2.3", "not an address", "not an address"),  # never trusted further, and cut to what the column holds
        ("", "198.51.100.1", ""),
    ],
)
def test_the_nearest_address_that_is_not_ours(peer: str, forwarded: str, seen: str) -> None:
    assert client_ip(peer, forwarded, OURS) == seen


def test_an_address_fits_its_column() -> None:
    assert len(client_ip("10.1.2.3", "x" * 500, OURS)) == 45


@pytest.mark.parametrize(
    ("scheme", "peer", "proto", "secure"),
    [
        ("https", "203.0.113.5", "", True),
        ("http", "203.0.113.5", "https", False),
        ("http", "10.1.2.3", "https", True),
        ("http", "10.1.2.3", "https, http", False),
        ("http", "10.1.2.3", "", False),
    ],
)
def test_who_may_say_that_it_is_https(scheme: str, peer: str, proto: str, secure: bool) -> None:
    assert is_https(scheme, peer, proto, OURS) is secure
