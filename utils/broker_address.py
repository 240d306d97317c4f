"""Validate and parse the address of an MQTT broker."""

import re
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv6Address
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

_SCHEMES = {
    "mqtt": ("tcp", False, 1883),
    "mqtts": ("tcp", True, 8883),
    "ws": ("websockets", False, 80),
    "wss": ("websockets", True, 443),
}
_HOST = "must be a host name, or a URL such as mqtts://host:8883 (the port goes into MQTT_PORT)"
_URL = "must be a host name or mqtt://, mqtts://, ws:// or wss://host:port/path"
_BRACKETS = "must have brackets around an IPv6 address: [::1], or mqtt://[::1]:1883 with a port"
_UNBRACKETED = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%[\w.-]+)?")
_HOST_NAME = re.compile(r"[^\s/:@#?\[\]]+")


@dataclass(frozen=True)
class BrokerAddress:
    """The address of the MQTT broker and how to connect."""

    host: str
    port: int
    transport: Literal["tcp", "websockets"] = "tcp"
    tls: bool = False
    path: str = field(default="/mqtt", repr=False)
    """For WebSocket; it includes the query, which may contain a secret."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def netloc(self) -> str:
        """Host and port as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        scheme = {("tcp", False): "mqtt", ("tcp", True): "mqtts", ("websockets", False): "ws"}
        return f"{scheme.get((self.transport, self.tls), 'wss')}://{self.netloc}"


def checked(text: str) -> str:
    """Return a valid host name or URL unchanged. Raises ValueError, whose text does not show it."""
    _require(not lacks_brackets(text), _BRACKETS)
    if "://" not in text:
        bracketed = text.startswith("[") and text.endswith("]")
        _require(_is_host(text[1:-1] if bracketed else text, bracketed=bracketed), _HOST)
        return text
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as error:
        raise ValueError(f"{_URL}{_escapes(text)}") from error
    host = url.hostname or ""
    _require(
        url.scheme in _SCHEMES and port != 0 and _is_host(host, bracketed=":" in host),
        _URL + _escapes(text),
    )
    _check_login(url)
    _check_rest(url, text)
    return text


def local(listening: str) -> str:
    """Return the host for connecting to a listener on this machine, as `address` takes it."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared only
    host = loopback.get(listening, listening)
    return f"[{host}]" if ":" in host else host


def lacks_brackets(text: str) -> bool:
    """Return whether the host, in a URL or not, is an IPv6 address without brackets."""
    host = text.rpartition("://")[2].partition("/")[0].rpartition("@")[2]
    return _UNBRACKETED.fullmatch(host) is not None


def address(
    text: str, port: int | None, username: str | None, password: str | None
) -> BrokerAddress:
    """Parse a checked text; port and login are the defaults for one without them."""
    if "://" not in text:
        return BrokerAddress(text.strip("[]"), port or 1883, username=username, password=password)
    url = urlsplit(text)
    transport, tls, usual = _SCHEMES[url.scheme]
    if url.username:
        username, password = (
            unquote(url.username),
            unquote(url.password) if url.password else password,
        )
    _, asks, query = text.partition("?")
    return BrokerAddress(
        host=unquote(url.hostname or ""),
        port=url.port or port or usual,
        transport="websockets" if transport == "websockets" else "tcp",
        tls=tls,
        path=(url.path or "/mqtt") + asks + query,
        username=username,
        password=password,
    )


def _require(holds: object, message: str) -> None:
    if not holds:
        raise ValueError(message)


def _is_host(host: str, *, bracketed: bool) -> bool:
    if not bracketed:
        return _HOST_NAME.fullmatch(host) is not None
    try:
        return bool(IPv6Address(host))
    except AddressValueError:
        return False


def _check_login(url: SplitResult) -> None:
    if "@" in url.netloc:
        _require(url.username, "must have a user name before the @, or no @ at all")


def _check_rest(url: SplitResult, text: str) -> None:
    websocket = _SCHEMES[url.scheme][0] == "websockets"
    _require(
        "#" not in text,
        "must have no # and nothing behind it; in a login or a query, # is written %23",
    )
    _require(
        websocket or url.path in ("", "/"), "must have no path: only ws:// and wss:// have one"
    )
    no_query = (
        "must have no ? and nothing behind it: "
        "only ws:// and wss:// have a query; in a login, ? is written %3F"
    )
    _require(websocket or "?" not in text, no_query)
    _require(
        text.isprintable(),
        "must have no control characters; in a login they are written %09 and so on",
    )
    rest = url.path + text.partition("?")[2]
    _require(
        rest.isascii() and " " not in rest,
        "must have no space in its path or query: it is written %20",
    )


def _escapes(text: str) -> str:
    return "; in a login / is written %2F, @ %40, # %23 and ? %3F" if "@" in text else ""
