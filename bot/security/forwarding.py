"""Who is really at the other end: the headers of a proxy count only when the proxy is one of ours."""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network


def is_trusted(peer: str, trusted_proxies: Sequence[str]) -> bool:
    """Whether `peer` is in one of the networks; a peer without an IP address (a unix socket) is in none."""
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return any(address in ip_network(network, strict=False) for network in trusted_proxies)


def client_ip(peer: str, forwarded_for: str, trusted_proxies: Sequence[str]) -> str:
    """The address nearest to us that is not one of our proxies; what a stranger put before it is not believed."""
    hops = [hop.strip() for hop in forwarded_for.split(",") if hop.strip()]
    while hops and is_trusted(peer, trusted_proxies):
        peer = hops.pop()
    return peer[:45]


def is_https(scheme: str, peer: str, forwarded_proto: str, trusted_proxies: Sequence[str]) -> bool:
    """Whether the person's own connection is encrypted."""
    if is_trusted(peer, trusted_proxies) and forwarded_proto:
        return forwarded_proto.split(",")[-1].strip() == "https"
    return scheme == "https"
