"""Query strings: what an operation does not take, or takes once and gets twice, is refused on every one of them."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import pytest

from config import PROJECT, Settings
from tests.api import Api, reading, running
from tests.support import free_port

LENIENT = {"/health", "/api/health"}
VALUES = {"device_id": "a", "command_id": "x", "id": "1", "topic": "panel/a/volt"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API with every path that there is; no broker."""
    folder = tmp_path_factory.mktemp("parameters")
    (folder / "publisher.json").write_text("[]")
    values: dict[str, Any] = {
        "database_url": f"sqlite:///{folder}/test.db",
        "mqtt_port": free_port(),
    }
    values |= {"publisher_config": folder / "publisher.json", "streams_dir": PROJECT / "streams"}
    with running(Settings(_env_file=None, mqtt_broker="127.0.0.1", **values)) as api:
        api.submit(reading("a"))
        yield api


@pytest.fixture(scope="module")
def operations(api: Api) -> dict[tuple[str, str], list[str]]:
    """The query parameters of every operation of the document, by method and path."""
    document = api.get("/api/docs/openapi.json")
    return {
        (method, path): [
            item["name"] for item in operation.get("parameters", []) if item["in"] == "query"
        ]
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


@pytest.fixture(scope="module")
def numeric(api: Api) -> list[tuple[str, str, str]]:
    """Method, path and name of every query parameter that is a whole number."""
    document = api.get("/api/docs/openapi.json")
    return [
        (method, path, item["name"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        for item in operation.get("parameters", [])
        if item["in"] == "query" and "'integer'" in str(item["schema"])
    ]


def asked(api: Api, method: str, path: str, query: str) -> tuple[int, str]:
    """Status and message of a request with a query string."""
    place = re.sub(r"\{(\w+)\}", lambda found: VALUES[found[1]], path)
    body = "{}" if method in ("post", "put") else None
    kind = "application/json" if body else None
    answer = api.client.open(
        f"{place}?{query}", method=method.upper(), data=body, content_type=kind
    )
    return answer.status_code, json.loads(answer.text).get("message")


@pytest.mark.broker
@pytest.mark.database
def test_a_parameter_that_an_operation_does_not_take_is_400_with_those_that_it_takes(
    api: Api, operations: dict[tuple[str, str], list[str]]
) -> None:
    for (method, path), names in operations.items():
        if path not in LENIENT:
            known = f"known: {', '.join(names)}" if names else "this path takes none"
            expected = (400, f"deviceid: there is no such parameter; {known}")
            assert asked(api, method, path, "deviceid=a") == expected, (method, path)


@pytest.mark.broker
def test_a_parameter_that_is_given_twice_is_400(
    api: Api, operations: dict[tuple[str, str], list[str]]
) -> None:
    for (method, path), names in operations.items():
        for name in names:
            expected = (400, f"{name}: given 2 times; it takes one value")
            assert asked(api, method, path, f"{name}=1&{name}=1") == expected, (method, path)


@pytest.mark.broker
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("Device_id=a", "Device_id: there is no such parameter; known: device_id"),
        (
            "device_id=a&x=1&y=2",
            "x: there is no such parameter; known: device_id; y: there is no such parameter; ",
        ),
        ("device_id=a&device_id=b&device_id=c", "device_id: given 3 times; it takes one value"),
        ("start=-1h", "start: there is no such parameter"),
        ("=1", "a parameter has no name; known: device_id"),
        ("=", "a parameter has no name; known: device_id"),
        ("%20=1", "a parameter has no name; known: device_id"),
        ("a%0Ab=1", "a\\u000ab: there is no such parameter"),
        ("device_id%20=a", "device_id : there is no such parameter"),
        ("x" * 5000, f"{'x' * 60}: there is no such parameter"),
    ],
)
def test_the_message_names_what_was_wrong(api: Api, query: str, message: str) -> None:
    assert api.get(f"/api/sensors/latest?{query}", expect=400)["message"].startswith(message)


@pytest.mark.broker
def test_of_very_many_unknown_parameters_a_few_are_named(api: Api) -> None:
    query = "&".join(f"p{number}=1" for number in range(500))
    assert len(api.get(f"/api/sensors/latest?{query}", expect=400)["message"]) < 500


@pytest.mark.broker
@pytest.mark.parametrize("path", ["/health", "/api/health", "/api/docs/openapi.json"])
def test_health_and_pages_take_whatever_is_asked(api: Api, path: str) -> None:
    assert api.client.get(f"{path}?cache=1&cache=2").status_code == 200


@pytest.mark.broker
def test_a_path_or_method_that_is_none_is_told_first(api: Api) -> None:
    assert "nothing at" in api.get("/api/nothing?x=1", expect=404)["message"]
    assert "does not take DELETE" in asked(api, "delete", "/api/sensors/latest", "x=1")[1]
    assert api.client.options("/api/sensors/latest?x=1").status_code == 200
    assert api.client.head("/api/sensors/latest?x=1").status_code == 400


NUMBERS = [
    "1_0",
    "1.0",
    "%2B1",
    "1e1",
    "0x1",
    "%201",
    "1%20",
    "%EF%BC%91",
    "%D9%A1",
    "%C2%B2",
    "",
    "NaN",
]
"""What Python reads as a number, or nearly, and what is none by the document."""


@pytest.mark.broker
@pytest.mark.parametrize("given", NUMBERS)
def test_a_whole_number_is_written_in_plain_digits_on_every_path(
    api: Api, numeric: list[tuple[str, str, str]], given: str
) -> None:
    assert len({name for _, _, name in numeric}) == 3
    for method, path, name in numeric:
        status, message = asked(api, method, path, f"{name}={given}")
        expected = f"{name}: should be a whole number, in the digits 0 to 9 only, such as 100"
        assert (status, expected in message) == (400, True), (method, path, message)


@pytest.mark.broker
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        *((f"/api/control/x?wait={given}", "wait: should be a number") for given in NUMBERS[4:]),
        *((f"/api/control/x?wait={given}", "wait: should be a number") for given in NUMBERS[:1]),
        ("/api/control/x?wait=1.", "wait: should be a number"),
        ("/api/control/x?wait=.5", "wait: should be a number"),
        ("/api/control/x?wait=-1", "wait: should be greater than or equal to 0"),
        ("/api/sensors/history?limit=-1", "limit: should be greater than or equal to 1"),
        ("/api/sensors/history?from=%2B1769697045", 'from: not a time: "+1769697045"'),
        ("/api/sensors/history?to=1769697045.", 'to: not a time: "1769697045."'),
        ("/api/sensors/live?since=%2B1769697045", 'since: not a time: "+1769697045"'),
        ("/api/sensors/live?since=1_0", 'since: not a time: "1_0"'),
    ],
)
def test_other_numbers_are_plain_too(api: Api, path: str, expected: str) -> None:
    assert expected in api.get(path, expect=400)["message"]


@pytest.mark.broker
@pytest.mark.parametrize("given", ["%EF%BC%91", "%D9%A1", "1_0", "+1", "1" * 5_000])
def test_an_id_in_a_path_is_written_in_plain_digits(api: Api, given: str) -> None:
    assert "nothing at" in api.get(f"/api/rejected/{given}", expect=404)["message"]


NOT_UTF8 = ["%ff", "pump%FF", "%C3", "%ED%A0%80", "%C0%AF", "%F5%80%80%80"]
"""A byte that is never in UTF-8, half a character, a surrogate, an overlong form, one too large."""


@pytest.mark.broker
@pytest.mark.parametrize("given", NOT_UTF8)
def test_a_parameter_that_is_not_utf8_is_400_on_every_path(
    api: Api, operations: dict[tuple[str, str], list[str]], given: str
) -> None:
    for (method, path), names in operations.items():
        for name in names:
            expected = (400, f"{name}: {given} is not valid UTF-8")
            assert asked(api, method, path, f"{name}={given}") == expected, (method, path)
        if path not in LENIENT:
            expected = (400, f"{given}: the name of a parameter must be valid UTF-8")
            assert asked(api, method, path, f"{given}=1") == expected, (method, path)


@pytest.mark.broker
@pytest.mark.parametrize("given", NOT_UTF8)
@pytest.mark.parametrize(
    "path",
    [
        "/api/control/{}",
        "/api/mqtt/last-value/panel/{}/volt",
        "/api/publisher/configs/{}",
    ],
)
def test_a_path_that_is_not_utf8_is_400(api: Api, path: str, given: str) -> None:
    # The client of the tests replaces such bytes; the server hands them on as WSGI has them.
    raw = unquote_to_bytes(path.format(given)).decode("latin-1")
    answer = api.client.get(path.format("x"), environ_overrides={"PATH_INFO": raw})
    assert answer.status_code == 400
    assert json.loads(answer.text) == {"message": "the path: not valid UTF-8"}


@pytest.mark.broker
@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("/api/sensors/history?device_id=%zz", "device_id: %zz"),
        ("/api/sensors/history?limit=1&device_id=a%", "device_id: %"),
        ("/api/sensors/history?device_id=a%4&limit=1", "device_id: %4"),
        ("/api/sensors/history?device_id=50%25&limit=%%", "limit: %%"),
        ("/api/sensors/history?device_id=%+1", "device_id: %+1"),
        ("/api/sensors/history?dev%ice_id=a", "dev%ice_id: %ic"),
        ("/api/sensors/history?device_id=%C3%A9%ff%", "device_id: %"),
        ("/api/mqtt/last-value/panel/%zz/volt", "the path: %zz"),
        ("/api/control/100%", "the path: %"),
        ("/api/control/%u00e9?wait=0", "the path: %u0"),
    ],
)
def test_a_percent_sign_that_encodes_nothing_is_400(api: Api, place: str, told: str) -> None:
    # The client of the tests would encode it; the server hands it on as it was sent.
    path, _, query = place.partition("?")
    sent = {"PATH_INFO": unquote(path), "QUERY_STRING": query, "RAW_URI": place}
    answer = api.client.get("/", environ_overrides=sent)
    rule = "% must be followed by two hexadecimal digits; %25 is the character %"
    assert (answer.status_code, answer.get_json()["message"]) == (400, f"{told}: {rule}")


@pytest.mark.broker
def test_utf8_is_read_as_it_is(api: Api) -> None:
    for given in ("caf%C3%A9", "caf\u00e9", "%F0%9F%94%A7", "%EF%BF%BD", "a%25zz"):
        assert api.get(f"/api/sensors/history?device_id={given}")["count"] == 0
