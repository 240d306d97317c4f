"""CORS_ORIGINS: what is allowed, and that REST and Socket.IO go by the same list."""

from collections.abc import Callable

import pytest

from config import Settings, SettingsError, load_settings
from tests.api import running
from utils.origins import checked

ALLOWED = "must be * or origins such as https://dashboard.example.org or http://[::1]:3000, separated by commas: "


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("*", ["*"]),
        ("https://a.example, *", ["*"]),
        ("https://a.example,http://localhost:3000", ["https://a.example", "http://localhost:3000"]),
        ("https://a.example/", ["https://a.example"]),
        ("HTTPS://Dash.Example.ORG", ["https://dash.example.org"]),
        ("https://a.example:443, http://a.example:80", ["https://a.example", "http://a.example"]),
        ("https://a.example:80", ["https://a.example:80"]),
        ("https://a.example,https://a.example/", ["https://a.example"]),
        ("http://[::1]:3000", ["http://[::1]:3000"]),
        ("http://[2001:DB8:0:0::1]/", ["http://[2001:db8::1]"]),
        ("https://bücher.example", ["https://xn--bcher-kva.example"]),
        ("capacitor://localhost", ["capacitor://localhost"]),
        (
            "http://192.0.2.1:3000, http://1a, http://a.1b",
            ["http://192.0.2.1:3000", "http://1a", "http://a.1b"],
        ),
        ("https://xn--strae-oqa.example.", ["https://xn--strae-oqa.example."]),
        ("https://-a.org, https://a_b.org", ["https://-a.org", "https://a_b.org"]),
    ],
)
def test_an_origin_is_written_as_browsers_send_it(text: str, origins: list[str]) -> None:
    assert checked(text) == origins


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("*.example.com", "'*.example.com' has no scheme such as https://"),
        ("dash.example.org", "'dash.example.org' has no scheme such as https://"),
        ("localhost:3000", "'localhost:3000' has no scheme such as https://"),
        ("null", "'null' has no scheme such as https://"),
        ("https://*.example.com", "name each host in full, or use * alone"),
        ("https://a.example,,https://b.example", "one of them is empty"),
        ("https://a.example,", "one of them is empty"),
        ("https://a.example/app", "has more than scheme, host and port, or less"),
        ("https://a.example?x=1", "has more than scheme, host and port, or less"),
        ("https://a.example#x", "has more than scheme, host and port, or less"),
        ("https://", "has more than scheme, host and port, or less"),
        ("https://[::1", "has more than scheme, host and port, or less"),
        ("https://[::zz]", "has more than scheme, host and port, or less"),
        ("https://me:hunter2@a.example", "leave out the user name"),
        ("https://a.example:0", "has a port that is not within 1 to 65535"),
        ("https://a.example:65536", "has a port that is not within 1 to 65535"),
        ("https://a b.example", "has no host name or address"),
        ("https://a.example https://b.example", "has more than scheme, host and port, or less"),
        ("https://[a-z]+.example", "has more than scheme, host and port, or less"),
        ("https://a..example", "has no host name or address"),
        ("https://[:::]", "has no host name or address"),
        *(
            (
                f"http://{host}",
                "has no host name or address: one that ends in a number must be an IPv4 address, such as 192.0.2.1",
            )
            for host in (
                *("1.2.3.4.5", "256.1.1.1", "0x7f.1", "1.2.3", "010.1.1.1", "1.2.3.4.", "a.0x"),
                *("2130706433", "plant.1", "a.09"),
            )
        ),
        *(
            (f"https://{host}", "has no host name or address")
            for host in ("xn--zzzz.example", "a.xn--", "xn--a.example")
        ),
        *(
            (
                f"https://{host}",
                "has no host name or address: write it in ASCII, as browsers send it (xn--…)",
            )
            for host in ("straße.example", "βόλος.example", "ü..example")
        ),
        ("wss://a.example", "begins with wss:, which no browser sends as an origin"),
    ],
)
def test_what_no_browser_can_send_stops_the_start_in_one_line(
    text: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORS_ORIGINS", text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    (line,) = str(caught.value).splitlines()
    shown = "" if set(text) & set("@?#") else f"={text}"
    assert line.startswith(f"CORS_ORIGINS{shown}: {ALLOWED}")
    assert line.endswith(reason)


@pytest.mark.database
@pytest.mark.parametrize(
    ("setting", "asks", "allowed"),
    [
        ("http://[::1]:3000", "http://[::1]:3000", True),
        ("http://[::1]:3000", "http://[::1]:30001", False),
        ("http://[::1]:3000", "http://:1:3000", False),
        ("https://dash.example.org/, https://b.example", "https://dash.example.org", True),
        ("https://Dash.example.org:443", "https://dash.example.org", True),
        ("https://dash.example.org", "https://dash-example.org", False),
        ("https://dash.example.org", "https://dash.example.org.evil.example", False),
        ("*, https://a.example", "https://b.example", True),
    ],
)
def test_rest_and_socket_io_allow_the_same_pages(
    setting: str, asks: str, allowed: bool, settings: Callable[..., Settings]
) -> None:
    assert settings(cors_origins=setting).origins == checked(setting)
    with running(settings(cors_origins=setting)) as api:
        rest = api.client.get("/api/streams", headers={"Origin": asks})
        socket = api.client.get("/socket.io/?EIO=4&transport=polling", headers={"Origin": asks})
    told = [answer.headers.get("Access-Control-Allow-Origin") for answer in (rest, socket)]
    assert told == [asks if allowed else None] * 2
    assert socket.status_code == (200 if allowed else 400)
