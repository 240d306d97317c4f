"""Values that are posted: read as they are over MQTT, in single readings and in arrays."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config import Settings
from tests.api import Api, running

pytestmark = pytest.mark.database

BOARDS = 'topic = "boards/{device_id}"\n[metrics.a]\n[metrics.b]\n[metrics.note]\ntype = "text"\n'
LEVELS = 'topic = "levels/{device_id}/{metric}"\n[metrics.level]\n[metrics.state]\ntype = "text"\n'
STATES = 'simulate = { states = ["on", "off"] }\n'


@pytest.fixture
def api(settings: Callable[..., Settings], tmp_path: Path) -> Iterator[Api]:
    """The API of boards without required values, and of levels with a topic each."""
    folder = tmp_path / "streams"
    folder.mkdir()
    (folder / "boards.toml").write_text(BOARDS + STATES)
    (folder / "levels.toml").write_text(LEVELS + STATES)
    with running(settings(streams_dir=folder)) as made:
        yield made


def values(api: Api, stream: str, *names: str) -> list[tuple[object, ...]]:
    """These metrics of every stored reading, oldest first."""
    rows = api.get(f"/api/{stream}/history")["data"][::-1]
    return [tuple(row[name] for name in names) for row in rows]


@pytest.mark.parametrize(
    ("text", "a"),
    [
        ("null", None),
        ("NaN", None),
        ("nan", None),
        ("-Infinity", None),
        ('"abc"', None),
        (".5", 0.5),
        ("+7", 7.0),
    ],
)
def test_a_posted_reading_keeps_its_good_values(text: str, a: float | None, api: Api) -> None:
    api.post("/api/boards/readings", f'{{"device_id": 7, "a": {text}, "b": 1}}')
    api.post(
        "/api/boards/readings",
        f'[{{"device_id": 7, "a": {text}, "b": 2}}, {{"device_id": "7", "b": 3}}]',
    )
    assert values(api, "boards", "device_id", "a", "b") == [
        ("7", a, 1.0),
        ("7", a, 2.0),
        ("7", None, 3.0),
    ]


@pytest.mark.parametrize(
    ("text", "number"), [("+21.5", 21.5), (".5", 0.5), ("5.", 5.0), ('" 24.5 "', 24.5)]
)
def test_a_posted_number_may_be_bare(text: str, number: float, api: Api) -> None:
    api.post("/api/levels/readings", text, device_id="d", metric="level")
    api.post(
        "/api/levels/readings", f'[{text}, {{"value": {text}}}]', device_id="d", metric="level"
    )
    assert values(api, "levels", "level") == [(number,)] * 3


@pytest.mark.parametrize("text", ["3", "12.3", "true", "null", "+5", "NaN"])
def test_a_posted_text_may_be_bare(text: str, api: Api) -> None:
    api.post("/api/levels/readings", text, device_id="d", metric="state")
    api.post("/api/levels/readings", f'[{text}, "{text}"]', device_id="d", metric="state")
    assert values(api, "levels", "state") == [(text,)] * 3


def test_what_is_set_aside_of_an_array_is_kept_as_it_was_written(api: Api) -> None:
    first, second = '{"device_id": "a",  "a": NaN}', '{"device_id": "b", "a": nan , "note": null}'
    answer = api.client.post(
        "/api/boards/readings", data=f"[{first} , {second}]", content_type="application/json"
    )
    assert [item["reason"] for item in answer.get_json()["errors"]] == ["missing_field"] * 2
    rows = api.get("/api/rejected")["data"]
    assert sorted(row["payload"] for row in rows) == sorted([first, second])


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("{", "it ends too early"),
        ('{"a": tru', "it ends too early"),
        ('{"a": NaN, "b"', "it ends too early"),
        ('{"a": no}', "no is not a value (byte 6)"),
        ("nul", "it ends too early"),
        ("off", "invalid character (byte 0)"),
        ('{"a": 1} x', "trailing characters (byte 10)"),
        ('{"a": 1_000}', "expected ',' or '}' (byte 7)"),
        ('{"note": "\\ud800"}', "a text has half of a surrogate pair"),
        ("[1, 2", "it ends too early"),
        ("[" * 100_000, "it is nested too deeply"),
    ],
)
def test_it_says_why_a_body_is_not_json(body: str, why: str, api: Api) -> None:
    assert (
        api.post("/api/boards/readings", body, expect=400)["message"]
        == f"the body is not JSON: {why}"
    )
