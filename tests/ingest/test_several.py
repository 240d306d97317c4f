"""The pipeline: messages with several readings, how they are counted, set aside and known again."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

import queries.ingest_status
import queries.rejected
from broker.message import Message
from database import Database
from ingest import batches
from ingest.pipeline import Pipeline
from routes.readings import posted
from services.submissions import Submissions
from streams.declaration import load
from tests.pipelines import message, new_pipeline
from tests.rows import forbid_666
from tests.support import DEVICE_TOPICS

METERS = 'topic = "gw/{device_id}"\nexplode = "m"\n[timestamp]\nfield = "t"\n[metrics]\na = {}\n'
NOTE = '{"t":1759163270,"a":1}'
AT = ["2025-09-29T16:27:50Z", "2025-09-29T16:28:00Z", "2025-09-29T16:28:10Z"]
Site = tuple[Database, Connection, Pipeline]


@pytest.fixture
def meters(database_url: str, tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "meters.toml").write_text(METERS)
    streams = load(tmp_path, {}, DEVICE_TOPICS)
    database = Database(make_url(database_url), streams)
    database.prepare()
    with database.write() as connection:
        yield database, connection, new_pipeline(database, streams)
    database.close()


def several(*values: Any, packet_id: int = 1, dup: bool = False) -> Message:
    members = [{"t": AT[index], "a": value} for index, value in enumerate(values)]
    return message(json.dumps({"m": members}), "gw/g1", packet_id, dup)


def undated(*values: Any, packet_id: int = 1, dup: bool = False) -> Message:
    members = [{"a": value} for value in values]
    return message(json.dumps({"m": members}), "gw/g1", packet_id, dup)


def counts(site: Site) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The messages and the readings: stored, duplicate, rejected."""
    database, _, _ = site
    with database.read() as reader:
        status = queries.ingest_status.ingest_status(reader)["mqtt"]
    messages = (status.stored, status.duplicate, status.rejected)
    assert status.received == sum(messages) + status.ignored
    return messages, (status.readings_stored, status.readings_duplicate, status.readings_rejected)


def stored(site: Site) -> list[float]:
    database, _, _ = site
    with database.read() as reader:
        return list(reader.execute(text("SELECT a FROM meters_readings ORDER BY id")).scalars())


CASES = [
    pytest.param([several(1, 2)], ((1, 0, 0), (2, 0, 0)), id="both are new"),
    pytest.param([several(1, 2), several(1, 2)], ((1, 1, 0), (2, 2, 0)), id="all are known"),
    pytest.param([several(1, 2), several(1, 2, 3)], ((2, 0, 0), (3, 2, 0)), id="one is new"),
    pytest.param([several(1, "x", 3)], ((0, 0, 1), (2, 0, 1)), id="one is wrong"),
    pytest.param([several("x", "y")], ((0, 0, 1), (0, 0, 2)), id="all are wrong"),
    pytest.param(
        [several(1, 2), several(1, "x")], ((1, 0, 1), (2, 1, 1)), id="one is wrong, the other known"
    ),
    pytest.param([undated(1, 1), undated(1, 1)], ((2, 0, 0), (4, 0, 0)), id="no times"),
    pytest.param([several(1)], ((1, 0, 0), (1, 0, 0)), id="only one"),
    pytest.param(
        [message(f'{{"m":[{NOTE},{NOTE}]}}', "gw/g1")], ((1, 0, 0), (1, 1, 0)), id="twice the same"
    ),
    pytest.param([several(1, 666, 3)], ((0, 0, 1), (2, 0, 1)), id="the database refuses one"),
]  # fmt: skip


@pytest.mark.parametrize("at_once", [True, False], ids=["in one batch", "in a batch each"])
@pytest.mark.parametrize(("messages", "expected"), CASES)
def test_each_message_and_each_reading_is_counted_once(
    messages: list[Message], expected: Any, at_once: bool, meters: Site
) -> None:
    database, connection, pipeline = meters
    forbid_666(database, "meters_readings", "a")
    for batch in [messages] if at_once else [[one] for one in messages]:
        pipeline.handle(connection, batch)
    assert counts(meters) == expected
    assert len(stored(meters)) == expected[1][0]


def test_the_message_of_a_wrong_reading_is_set_aside_once(meters: Site) -> None:
    database, connection, pipeline = meters
    given = several(1, "x", "y")
    pipeline.handle(connection, [given])
    with database.read() as reader:
        (row,) = queries.rejected.page(reader, {}, 10, 0)
    assert (row["stream"], row["device_id"], row["reason"]) == ("meters", "g1", "not_a_number")
    assert row["message"] == 'm[1].a: not a number: "x"; 1 more reading was rejected'
    assert row["payload"] == given.payload
    assert stored(meters) == [1.0]


def test_a_large_message_with_a_wrong_reading_is_kept_whole(meters: Site) -> None:
    database, connection, pipeline = meters
    given = message(json.dumps({"m": [{"a": "x"}, {"a": 1}], "pad": "p" * 500_000}), "gw/g1")
    pipeline.handle(connection, [given])
    with database.read() as reader:
        (row,) = queries.rejected.page(reader, {}, 10, 0)
        assert row["kept"] == row["payload_size"] == len(given.payload)
        found = queries.rejected.message(reader, row["id"])
    assert found is not None
    assert found["payload"] == given.payload


@pytest.mark.parametrize("given", [undated, several])
def test_a_redelivery_is_a_duplicate(given: Callable[..., Message], meters: Site) -> None:
    _, connection, pipeline = meters
    pipeline.handle(connection, [given(1, 2, packet_id=7)])
    pipeline.handle(connection, [given(1, 2, packet_id=7, dup=True)])
    messages, _ = counts(meters)
    assert messages == (1, 1, 0)
    assert stored(meters) == [1.0, 2.0]


def test_a_redelivery_after_a_restart_is_a_duplicate(meters: Site) -> None:
    database, connection, pipeline = meters
    pipeline.handle(connection, [undated(1, 2, packet_id=7)])
    next_pipeline = new_pipeline(database, pipeline._parser._streams)
    next_pipeline.resume(connection)
    next_pipeline.handle(connection, [undated(1, 2, packet_id=7, dup=True)])
    assert stored(meters) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("body", "status", "answer"),
    [
        pytest.param('{"m":[{"a":1},{"a":2}]}', 201, (1, 0, 2), id="stored"),
        pytest.param('{"m":[{"a":1},{"a":"x"}]}', 207, (0, 1, 1), id="one is wrong"),
        pytest.param('{"m":[{"a":"x"},{"a":"y"}]}', 400, (0, 1, None), id="both are wrong"),
        pytest.param(
            '[{"m":[{"a":1}]},{"m":[{"a":2},{"a":3}]}]', 201, (2, 0, 3), id="an array of them"
        ),
    ],
)
def test_over_http_a_payload_is_a_message(
    body: str, status: int, answer: tuple[int, int, int | None], meters: Site
) -> None:
    database, _, pipeline = meters
    http = new_pipeline(database, pipeline._parser._streams, "http")
    stream = pipeline._parser._streams["meters"]
    receipt = Submissions(database, http).submit(stream, body.encode(), "g1", None)
    told, found = posted(receipt)
    assert found == status
    assert (told["stored"], told["rejected"], told.get("readings")) == answer


def test_many_readings_are_stored_in_several_transactions(
    meters: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "READINGS_AT_ONCE", 4)
    database, connection, pipeline = meters
    batch = [undated(1, 2, 3), several(4, "x"), undated(5), undated(6, 7, 8, 9, 10), undated(11)]
    outcome = pipeline.handle(connection, batch)
    assert (outcome.received, outcome.stored, len(outcome.rejections)) == (5, 4, 1)
    assert stored(meters) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    with database.read() as reader:
        times = reader.execute(text("SELECT DISTINCT created_at FROM meters_readings")).all()
    assert len(times) == 3
