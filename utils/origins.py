"""Validate origins of web pages, `scheme://host[:port]`, and write them as browsers do."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

ANY = "*"
_ALLOWED = (
    "must be * or origins such as https://dashboard.example.org or http://[::1]:3000, "
    "separated by commas"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Schemes whose pages send a different origin, or that have no pages.
_NEVER_SENT = {"data", "file", "ftp", "mqtt", "mqtts", "null", "ws", "wss"}
_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://"
    r"(?P<host>\[[0-9a-f:.]+\]|[^/?#@:\[\]]+)(?::(?P<port>\d{1,5}))?"
)
_HOST_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PUNYCODE = "xn--"
# Python's codec replaces or removes what browsers keep: sharp s, final sigma, joiners.
_DEVIATING = set("ßς\u200c\u200d")
_MOST_PORTS = 65_535


def checked(text: str) -> list[str]:
    """Return the distinct origins in a comma-separated list, or only `*`.

    Raises ValueError for an origin that no browser sends.
    """
    origins = list(dict.fromkeys(_origin(part.strip()) for part in text.split(",")))
    return [ANY] if ANY in origins else origins


def patterns(origins: list[str]) -> list[str]:
    """Return the origins for flask-cors, which treats a text with a bracket as a pattern."""
    return [rf"{re.escape(origin)}\Z" if "[" in origin else origin for origin in origins]


def _origin(text: str) -> str:
    if text == ANY:
        return text
    found = _ORIGIN.fullmatch(text.removesuffix("/").lower())
    if found is None:
        raise ValueError(f"{_ALLOWED}: {_error(text)}")
    scheme, port = found["scheme"], int(found["port"] or _DEFAULT_PORTS.get(found["scheme"], 0))
    if scheme in _NEVER_SENT:
        raise ValueError(
            f"{_ALLOWED}: {_shown(text)} begins with {scheme}:, which no browser sends as an origin"
        )
    if found["port"] and not 0 < port <= _MOST_PORTS:
        raise ValueError(
            f"{_ALLOWED}: {_shown(text)} has a port that is not within 1 to {_MOST_PORTS}"
        )
    host = _host(text, found["host"])
    origin = f"{scheme}://{host}"
    return origin if port == _DEFAULT_PORTS.get(scheme, 0) else f"{origin}:{port}"


def _host(text: str, host: str) -> str:
    """Return a host as browsers write it: IPv6 compressed, names in ASCII. Raises ValueError."""
    try:
        if host.startswith("["):
            return f"[{IPv6Address(host[1:-1])}]"
        name = _in_ascii(host)
        if _ends_in_number(name):
            return str(IPv4Address(name))
    except (AddressValueError, UnicodeError):
        name = ""
    if not _HOST_NAME.fullmatch(name) or not all(map(_is_decodable, name.split("."))):
        raise ValueError(f"{_ALLOWED}: {_shown(text)} has no host name or address{_hint(host)}")
    return name


def _in_ascii(host: str) -> str:
    """Return a name with its labels in Punycode where needed. Raises UnicodeError."""
    if set(host) & _DEVIATING:
        raise UnicodeError
    return host if host.isascii() else host.encode("idna").decode()


def _ends_in_number(name: str) -> bool:
    """Return whether browsers read a host as an IPv4 address, also where it is none."""
    return _NUMBER.fullmatch(name.removesuffix(".").rpartition(".")[2]) is not None


def _is_decodable(label: str) -> bool:
    """Return whether a label that claims to be Punycode is; browsers decode it."""
    if not label.startswith(_PUNYCODE):
        return True
    try:
        decoded = label.removeprefix(_PUNYCODE).encode().decode("punycode")
    except UnicodeError:
        return False
    return bool(decoded) and decoded.isprintable()


def _hint(host: str) -> str:
    if ANY in host:
        return ": name each host in full, or use * alone"
    if not host.isascii():
        return ": write it in ASCII, as browsers send it (xn--…)"
    if _ends_in_number(host):
        return ": one that ends in a number must be an IPv4 address, such as 192.0.2.1"
    return ""


def _error(text: str) -> str:
    if not text:
        return "one of them is empty"
    if "@" in text:
        return "leave out the user name"
    if "://" not in text:
        return f"{_shown(text)} has no scheme such as https://"
    return f"{_shown(text)} has more than scheme, host and port, or less"


def _shown(text: str) -> str:
    """Return an origin without query and fragment, which may contain a secret."""
    return repr(re.split("[?#]", text, maxsplit=1)[0])
