"""A reading is the same whichever way it came and however it was spelt: device, time and values."""

import json
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection

from broker.message import Message
from config import Settings
from database import Database
from streams.reading_key import ReadingKey
from streams.registry import Streams
from tests.api import Api, running
from tests.pipelines import new_pipeline
from utils import clock
from wiring.web import backend_of

TOPIC = "sensors/one/data"
FIRST = '{"temperature": 24.5, "vibration": 12.3, "gas": 450, "power": 0.0, "timestamp": "2026-01-29T14:30:45Z"}'
SAME = {
    "white space": FIRST.replace(" ", ""),
    "another order": json.dumps(dict(reversed(list(json.loads(FIRST).items())))),
    "more digits": FIRST.replace("24.5", "24.50"),
    "an exponent": FIRST.replace("24.5", "2.45e1"),
    "a number as text": FIRST.replace("24.5", '"24.5"'),
    "a negative zero": FIRST.replace("0.0,", "-0.0,"),
    "a field that is not declared": FIRST.replace("{", '{"firmware": "1.2", '),
    "the device in the payload": FIRST.replace("{", '{"device_id": "one", '),
    "a byte-order mark": "\ufeff" + FIRST,
    "an escaped name": FIRST.replace("gas", "g\\u0061s"),
    "a time with an offset": FIRST.replace("14:30:45Z", "15:30:45+01:00"),
    "a time without an offset": FIRST.replace("45Z", "45"),
    "epoch seconds": FIRST.replace('"2026-01-29T14:30:45Z"', "1769697045"),
    "epoch milliseconds as text": FIRST.replace('"2026-01-29T14:30:45Z"', '"1769697045000"'),
}
OTHER = {
    "another value": FIRST.replace("24.5", "24.6"),
    "values that have changed places": FIRST.replace("12.3", "450").replace(
        '450, "power', '12.3, "power'
    ),
    "another time": FIRST.replace("45Z", "45.000001Z"),
}


@pytest.fixture
def stored(database: Database, streams: Streams) -> Iterator[Callable[..., int]]:
    """Hands over a message that came by MQTT, and tells how many readings it added."""
    pipeline = new_pipeline(database, streams)
    connection: Connection
    with database.write() as connection:
        yield (
            lambda text, topic=TOPIC: (
                pipeline.handle(
                    connection, [Message(topic, text.encode(), clock.now(), packet_id=1)]
                ).stored
            )
        )


def test_the_same_reading_spelt_otherwise_is_stored_once(stored: Callable[..., int]) -> None:
    assert stored(FIRST) == 1
    assert {name: stored(text) for name, text in SAME.items()} == dict.fromkeys(SAME, 0)


def test_another_reading_is_stored_beside_it(stored: Callable[..., int]) -> None:
    assert stored(FIRST) == 1
    assert {name: stored(text) for name, text in OTHER.items()} == dict.fromkeys(OTHER, 1)
    assert stored(FIRST, topic="sensors/two/data") == 1


@pytest.mark.database
def test_the_same_reading_by_mqtt_and_by_http_is_stored_once(
    settings: Callable[..., Settings],
) -> None:
    with running(settings()) as api:
        assert _by_mqtt(api, FIRST) == 1
        for text in (FIRST, *SAME.values()):
            answer = api.post("/api/sensors/readings", text, device_id="one")
            assert (answer["stored"], answer["duplicate"]) == (0, 1), text
        answer = api.post("/api/sensors/readings", SAME["the device in the payload"])
        assert (answer["stored"], answer["duplicate"]) == (0, 1)
        soil = {"N": 22, "P": 17, "K": 150, "CO2": 500, "Temperature": 20, "Moisture": 50, "pH": 7}
        named = {"publisher_id": "p", "timestamp": "2026-01-29T14:30:45Z"}
        assert (
            _by_mqtt(
                api, json.dumps(named | {"sensor_readings": soil}), "harit-samarth/sensor/data"
            )
            == 1
        )
        assert api.post("/api/soil-health/analyze", named | soil, 200)["stored"] is False


def _by_mqtt(api: Api, text: str, topic: str = TOPIC) -> int:
    database = backend_of(api.app).database
    pipeline = new_pipeline(database, backend_of(api.app).streams)
    with database.write() as connection:
        return pipeline.handle(
            connection, [Message(topic, text.encode(), clock.now(), packet_id=1)]
        ).stored


@pytest.mark.parametrize(
    ("names", "values"),
    [
        (("a", "b"), (1.5, "x")),
        (("b", "a"), ("x", 1.5)),
        (("B", "A"), ("x", 1.5)),
        (("a", "b", "c"), (1.5, "x", None)),
        (("c", "b", "a0", "a"), (None, "x", None, 1.5)),
    ],
    ids=[
        "two",
        "in another order",
        "in another case",
        "one that was declared later",
        "more that were",
    ],
)
def test_no_declaration_changes_the_key_of_a_reading(
    names: tuple[str, ...], values: tuple[float | str | None, ...]
) -> None:
    assert ReadingKey(names).of(values) == ReadingKey(("a", "b")).of((1.5, "x"))


def test_a_metric_that_no_reading_has_yet_leaves_the_keys_of_numbers_as_they_are() -> None:
    assert ReadingKey(("a", "b", "later")).of((1.0, 2.0, None)) == ReadingKey(("b", "a")).of(
        (2.0, 1.0)
    )
    assert ReadingKey(("a",)).of((-0.0,)) == ReadingKey(("a",)).of((0.0,))


def test_readings_that_differ_have_different_keys() -> None:
    key = ReadingKey(("a", "b"))
    values = [
        (1.0, 2.0),
        (2.0, 1.0),
        (1.0, None),
        (None, 1.0),
        ("1", "2"),
        ("12", ""),
        ("", "12"),
        ("1", None),
    ]
    assert len({key.of(pair) for pair in values}) == len(values)
    assert ReadingKey(("ab", "c")).of((1.0, 2.0)) != ReadingKey(("a", "bc")).of((1.0, 2.0))
