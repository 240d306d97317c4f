"""A reading that two deliveries told alike is stored once, also where the clock or the declaration changed between."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.engine import make_url

import queries.readings
from broker.message import Message
from database import Database
from ingest.outcome import Outcome
from ingest.pipeline import Pipeline
from streams import declaration
from streams.registry import Streams
from tests.pipelines import new_pipeline
from tests.support import DEVICE_TOPICS, Clock, payload
from utils import clock

TOPIC = "sensors/one/data"
MINUTE, HOUR, YEAR = timedelta(minutes=1), timedelta(hours=1), timedelta(days=365)
LIVE: Mapping[str, Any] = {"packet_id": 7}
AGAIN: Mapping[str, Any] = {"packet_id": 7, "redelivered": True}
RETAINED: Mapping[str, Any] = {"packet_id": 1, "retained": True}
HTTP: Mapping[str, Any] = {}
AIR = 'topic = "air/{device_id}"\n[metrics.temperature]\nrequired = true\n[metrics.pressure]\n'
HUMIDITY = "[metrics.humidity]\n"


@dataclass
class DeliveredReading:
    """A reading with the stated time `said`, received while the server's clock was wrong by `off`."""

    off: timedelta
    way: Mapping[str, Any]
    temperature: float = 24.5


def told(pipeline: Pipeline, database: Database, message: Message) -> Outcome:
    with database.write() as connection:
        return pipeline.handle(connection, [message])


@pytest.fixture
def stored(database: Database, streams: Streams, hands: Clock) -> Callable[..., list[int]]:
    """Hands over deliveries of one reading, each to a new process, and tells how many rows each of them added."""
    said = clock.rfc3339(clock.now())

    def store(*deliveries: DeliveredReading, at: str = said) -> list[int]:
        added = []
        for one in deliveries:
            hands.ahead = one.off
            body = payload(temperature=one.temperature, timestamp=at)
            pipeline = new_pipeline(database, streams)
            added.append(
                told(
                    pipeline, database, Message(TOPIC, body.encode(), clock.now(), **one.way)
                ).stored
            )
        return added

    return store


BEHIND, RIGHT = -HOUR, timedelta(0)


@pytest.mark.parametrize(
    "deliveries",
    [
        pytest.param(
            [(-10 * MINUTE, LIVE), (RIGHT, RETAINED)], id="repeated after the clock was corrected"
        ),
        pytest.param(
            [(-YEAR, LIVE), (RIGHT, RETAINED), (RIGHT, RETAINED)],
            id="repeated, the clock was a year behind",
        ),
        pytest.param(
            [(BEHIND, LIVE), (RIGHT, AGAIN)], id="redelivered after the clock was corrected"
        ),
        pytest.param(
            [(RIGHT, LIVE), (BEHIND, AGAIN)], id="redelivered after the clock was set back"
        ),
        pytest.param(
            [(RIGHT, LIVE), (-YEAR, AGAIN)], id="redelivered after the clock was set back by a year"
        ),
        pytest.param(
            [(RIGHT, LIVE), (BEHIND, RETAINED)], id="repeated after the clock was set back"
        ),
        pytest.param([(RIGHT, LIVE), (BEHIND, HTTP)], id="by MQTT, set back, by HTTP"),
        pytest.param([(RIGHT, HTTP), (BEHIND, LIVE)], id="by HTTP, set back, by MQTT"),
        pytest.param(
            [(RIGHT, HTTP), (BEHIND, HTTP), (BEHIND, HTTP)], id="by HTTP, set back, and tried again"
        ),
        pytest.param(
            [(BEHIND, HTTP), (BEHIND, HTTP)],
            id="by HTTP and tried again, while the clock is behind",
        ),
        pytest.param([(BEHIND, LIVE), (BEHIND, HTTP)], id="by both ways while the clock is behind"),
        pytest.param(
            [(-HOUR, LIVE), (RIGHT, AGAIN), (-HOUR, AGAIN)], id="corrected and set back again"
        ),
    ],
)
def test_a_reading_is_stored_once_when_the_clock_is_set_between_its_deliveries(
    stored: Callable[..., list[int]], deliveries: list[tuple[timedelta, Mapping[str, Any]]]
) -> None:
    assert sum(stored(*(DeliveredReading(*one) for one in deliveries))) == 1


@pytest.mark.parametrize(
    ("deliveries", "at"),
    [
        pytest.param(
            [(-10 * MINUTE, LIVE, 24.5), (RIGHT, RETAINED, 24.6)],
            None,
            id="another value, repeated",
        ),
        pytest.param(
            [(RIGHT, LIVE, 24.5), (BEHIND, AGAIN, 24.6)], None, id="another value, redelivered"
        ),
        pytest.param(
            [(BEHIND, HTTP, 24.5), (BEHIND, HTTP, 24.6)], None, id="another value, by HTTP"
        ),
        pytest.param(
            [(RIGHT, HTTP, 1.0)] * 2, "9999-12-31T23:59:59Z", id="a time that stands for none"
        ),
        pytest.param([(RIGHT, HTTP, 1.0)] * 2, 4_294_967_295, id="a number that stands for none"),
        pytest.param(
            [(RIGHT, HTTP, 1.0)] * 2,
            "1970-01-01T00:00:12Z",
            id="the clock of a device that was started",
        ),
        pytest.param([(RIGHT, HTTP, 1.0)] * 2, "2026-01-29", id="a date"),
    ],
)
def test_readings_that_differ_or_state_no_time_are_each_stored(
    stored: Callable[..., list[int]],
    deliveries: list[tuple[timedelta, Mapping[str, Any], float]],
    at: object,
) -> None:
    more = {} if at is None else {"at": at}
    assert stored(*(DeliveredReading(*one) for one in deliveries), **more) == [1, 1]


def test_of_one_submission_a_reading_that_is_ahead_is_stored_once(
    database: Database, streams: Streams
) -> None:
    ahead = clock.rfc3339(clock.now() + HOUR)
    bodies = [payload(temperature=value, timestamp=ahead) for value in (1, 2, 1)]
    messages = [Message(TOPIC, body.encode(), clock.now()) for body in bodies]
    with database.write() as connection:
        outcome = new_pipeline(database, streams, "http").handle(connection, messages)
    assert (outcome.received, outcome.stored, outcome.duplicate) == (3, 2, 1)


@contextmanager
def _declared(folder: Path, url: str, text_: str) -> Iterator[tuple[Database, Pipeline]]:
    folder.mkdir(exist_ok=True)
    (folder / "air.toml").write_text(text_)
    streams = declaration.load(folder, {}, DEVICE_TOPICS)
    database = Database(make_url(url), streams)
    database.prepare()
    yield database, new_pipeline(database, streams)
    database.close()


def _air(way: Mapping[str, Any], **values: float) -> Message:
    body = json.dumps({"temperature": 21.5, "timestamp": "2026-01-29T14:30:45Z"} | values)
    return Message("air/one", body.encode(), clock.now(), **way)


@pytest.mark.parametrize("way", [RETAINED, AGAIN], ids=["repeated", "redelivered"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(AIR, AIR + HUMIDITY, id="declared"),
        pytest.param(AIR, f"{AIR}{HUMIDITY}required = true\n", id="declared as required"),
        pytest.param(AIR + HUMIDITY, AIR, id="declared no longer"),
    ],
)
def test_a_reading_is_stored_once_when_a_metric_is_declared_between_its_deliveries(
    tmp_path: Path, database_url: str, before: str, after: str, way: Mapping[str, Any]
) -> None:
    with _declared(tmp_path / "declared", database_url, before) as (database, pipeline):
        assert told(pipeline, database, _air(LIVE, humidity=40)).stored == 1
    with _declared(tmp_path / "declared", database_url, after) as (database, pipeline):
        # Other devices send the new metric at once.
        other = Message("air/two", _air({}, humidity=50).payload, clock.now(), packet_id=8)
        assert told(pipeline, database, other).stored == 1
        outcome = told(pipeline, database, _air(way, humidity=40))
        assert (outcome.stored, outcome.duplicate) == (0, 1)
        assert told(pipeline, database, _air(way, humidity=40, temperature=22)).stored == 1


@pytest.mark.database
@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({"pressure": 1000}, {"humidity": 40}, id="other metrics"),
        pytest.param({"humidity": 40}, {"humidity": 41}, id="another value of a metric"),
        pytest.param({"humidity": 40}, {}, id="one metric less"),
        pytest.param({}, {"humidity": 40}, id="one metric more"),
    ],
)
def test_readings_of_one_moment_with_other_metrics_are_each_stored(
    tmp_path: Path, first: dict[str, float], second: dict[str, float]
) -> None:
    with _declared(tmp_path / "declared", f"sqlite:///{tmp_path}/air.db", AIR + HUMIDITY) as (
        database,
        pipeline,
    ):
        # The device is known to send all metrics.
        for name in ("humidity", "pressure"):
            told(pipeline, database, _air(LIVE, temperature=1, **{name: 1}))
        batch = [_air(AGAIN, **values) for values in (first, second)]
        assert [told(pipeline, database, one).stored for one in batch] == [1, 1]


@pytest.mark.database
def test_two_new_readings_of_one_batch_are_told_apart_by_all_their_values(tmp_path: Path) -> None:
    with (
        _declared(tmp_path / "declared", f"sqlite:///{tmp_path}/air.db", AIR) as (
            database,
            pipeline,
        ),
        database.write() as connection,
    ):
        assert pipeline.handle(connection, [_air(AGAIN), _air(AGAIN, pressure=1000)]).stored == 2


def test_an_older_table_gets_the_index_by_which_stated_times_are_found(
    database_url: str, streams: Streams
) -> None:
    database = Database(make_url(database_url), streams)
    database.prepare()
    with database.write() as connection, database.transaction(connection):
        of_table = " ON sensor_readings" if connection.dialect.name == "mysql" else ""
        connection.execute(text(f"DROP INDEX ix_sensor_readings_stated{of_table}"))
    database.close()
    database = Database(make_url(database_url), streams)
    database.prepare()
    with database.read() as reader:
        names = {index["name"] for index in inspect(reader).get_indexes("sensor_readings")}
    database.close()
    assert "ix_sensor_readings_stated" in names


def test_sqlite_finds_stated_times_without_reading_a_table(sqlite: Database) -> None:
    times = {(f"d{number}", clock.EPOCH + number * MINUTE) for number in range(150)}
    steps: list[str] = []
    with sqlite.read() as reader:
        event.listen(sqlite.engine, "before_cursor_execute", partial(_explain, steps))
        assert not list(
            queries.readings.stated(reader, sqlite.tables["sensors"], ["temperature"], times)
        )
    assert steps
    assert not [step for step in steps if step.startswith("SCAN sensor_readings")]


def _explain(
    steps: list[str], connection: Connection, cursor: Any, statement: str, parameters: Any, *_: Any
) -> None:
    raw = connection.connection.driver_connection
    assert raw is not None
    steps += [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
