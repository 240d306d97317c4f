"""Find out where a request comes from."""

from ipaddress import IPv6Address, ip_address

from flask import Request

FORWARDED = ("X-Forwarded-For", "X-Real-IP", "Forwarded")
PROXY_FIX = "werkzeug.proxy_fix.orig"
"""The key that ProxyFix adds to the environment of requests whose address it has replaced."""


def asked_here(request: Request) -> bool:
    """Return whether a program on this machine sent the request, not a page of another site.

    The address is that of the peer, or the one that the proxy forwards with PROXY_COUNT.
    """
    if PROXY_FIX not in request.environ and any(name in request.headers for name in FORWARDED):
        return False  # a proxy on this machine forwards a request of another client
    return _is_loopback(request.remote_addr or "") and not _is_foreign_page(request)


def _is_loopback(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _is_foreign_page(request: Request) -> bool:
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return True
    return request.headers.get("Origin", request.host_url.rstrip("/")) != request.host_url.rstrip(
        "/"
    )
