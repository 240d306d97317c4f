"""The pipeline: a batch of messages to committed rows, counts and rejected messages."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

import queries.ingest_status
import queries.newest
import queries.readings
import queries.rejected
from database import BadData, Database, Unavailable
from ingest import redelivery
from ingest.message import Reading
from ingest.outcome import Applied, Outcome
from ingest.pipeline import Pipeline
from ingest.reading_writer import ReadingWriter
from streams import declaration
from streams.registry import Streams
from tests.pipelines import message, new_pipeline
from tests.rows import execute, forbid_666
from tests.support import DEVICE_TOPICS, ignore, payload
from utils import clock

GAUGE = 'topic = "gauge/{device_id}"\n[metrics.level]'
Connected = tuple[Database, Connection, Pipeline]


@pytest.fixture
def connected(database: Database, streams: Streams) -> Iterator[Connected]:
    with database.write() as connection:
        yield database, connection, new_pipeline(database, streams)


@pytest.fixture
def gauge(tmp_path: Path) -> Iterator[tuple[Database, Streams]]:
    """A stream with messages that carry no time."""
    folder = tmp_path / "declared"
    folder.mkdir()
    (folder / "gauge.toml").write_text(GAUGE)
    streams = declaration.load(folder, {}, DEVICE_TOPICS)
    database = Database(make_url(f"sqlite:///{tmp_path}/test.db"), streams)
    database.prepare()
    yield database, streams
    database.close()


def summary(outcome: Outcome) -> tuple[int, int, int, int]:
    return outcome.received, outcome.stored, outcome.duplicate, len(outcome.rejections)


def test_every_message_is_stored_or_a_duplicate_or_rejected(connected: Connected) -> None:
    database, connection, pipeline = connected
    batch = [
        message(payload()),
        message(payload()),
        message(payload(gas=None)),
        message(payload(gas=1)),
    ]
    assert summary(pipeline.handle(connection, batch)) == (4, 2, 1, 1)
    with database.read() as reader:
        status = queries.ingest_status.ingest_status(reader)["mqtt"]
        counted = (status.received, status.stored, status.duplicate, status.rejected)
    assert counted == (4, 2, 1, 1)


def test_a_row_the_database_refuses_is_rejected_and_its_neighbours_are_stored(
    connected: Connected,
) -> None:
    database, connection, pipeline = connected
    forbid_666(database)
    batch = [message(payload(temperature=666 if number == 5 else number)) for number in range(10)]
    outcome = pipeline.handle(connection, batch)
    assert summary(outcome) == (10, 9, 0, 1)
    assert outcome.rejections[0].reason == "refused_by_database"
    assert json.loads(outcome.rejections[0].message.payload)["temperature"] == 666
    with database.read() as reader:
        assert queries.rejected.counts(reader) == {"refused_by_database": 1}


@pytest.mark.parametrize("reason", ["refused_by_database", "stream_unusable"])
def test_a_redelivery_of_what_was_set_aside_when_it_was_to_be_stored_is_a_duplicate(
    connected: Connected, reason: str
) -> None:
    database, connection, pipeline = connected
    if reason == "stream_unusable":
        database.unusable = {"sensors": "its table has no room"}
    else:
        forbid_666(database)
    (rejection,) = pipeline.handle(
        connection, [message(payload(temperature=666), packet_id=7)]
    ).rejections
    assert (rejection.reason, rejection.device_id) == (reason, "ESP32_001")
    again = message(payload(temperature=666), packet_id=7, dup=True)
    assert summary(pipeline.handle(connection, [again])) == (1, 0, 1, 0)
    with database.read() as reader:
        assert queries.rejected.counts(reader) == {reason: 1}


def test_the_brokers_own_topics_are_ignored(connected: Connected) -> None:
    _, connection, pipeline = connected
    assert summary(pipeline.handle(connection, [message("1", topic="$SYS/broker/uptime")])) == (
        0,
        0,
        0,
        0,
    )


def test_a_message_on_an_undeclared_topic_is_rejected(connected: Connected) -> None:
    _, connection, pipeline = connected
    (rejection,) = pipeline.handle(
        connection, [message(payload(), topic="old/ESP32_001")]
    ).rejections
    assert rejection.reason == "unknown_topic"


def test_nothing_is_stored_of_a_batch_that_fails(connected: Connected) -> None:
    database, connection, pipeline = connected
    execute(database, "DROP TABLE rejection_counts")
    with pytest.raises(Unavailable, match="rejection_counts"):
        pipeline.handle(connection, [message(payload()), message("{")])
    with database.read() as reader:
        assert queries.readings.devices(reader, "sensors", database.tables["sensors"]) == []
        assert queries.ingest_status.ingest_status(reader)["mqtt"].received == 0


@pytest.mark.database
def test_equal_messages_without_a_time_are_each_stored(gauge: tuple[Database, Streams]) -> None:
    database, streams = gauge
    with database.write() as connection:
        outcome = new_pipeline(database, streams).handle(
            connection,
            [message('{"level": 5}', "gauge/a", packet_id=number) for number in (1, 2, 3)],
        )
    assert summary(outcome) == (3, 3, 0, 0)


@pytest.mark.database
@pytest.mark.parametrize("text_", ['{"level": 5}', '{"level": "abc"}'], ids=["reading", "rejected"])
def test_a_redelivery_without_a_time_is_a_duplicate_also_for_the_next_ingester(
    gauge: tuple[Database, Streams], text_: str
) -> None:
    database, streams = gauge
    with database.write() as connection:
        new_pipeline(database, streams).handle(connection, [message(text_, "gauge/a", packet_id=7)])
        successor = new_pipeline(database, streams)
        successor.resume(connection)
        again = message(text_, "gauge/a", packet_id=7, dup=True)
        other = message(text_, "gauge/a", packet_id=8, dup=True)
        outcome = successor.handle(connection, [again, other])
    assert (outcome.received, outcome.duplicate) == (2, 1)
    with database.write() as connection:
        rows = connection.execute(text("SELECT count(*) FROM gauge_readings")).scalar_one()
        rejected = connection.execute(text("SELECT count(*) FROM rejected_messages")).scalar_one()
    assert rows + rejected == 2


@pytest.mark.database
def test_a_packet_id_that_is_used_again_after_a_full_round_is_a_new_message(
    gauge: tuple[Database, Streams], monkeypatch: pytest.MonkeyPatch
) -> None:
    database, streams = gauge
    monkeypatch.setattr(redelivery, "REDELIVERY_SPAN", 10)
    with database.write() as connection:
        pipeline = new_pipeline(database, streams)
        pipeline.resume(connection)
        pipeline.handle(connection, [message('{"level": 5}', "gauge/a", packet_id=7)])
        pipeline.handle(
            connection,
            [message('{"level": 5}', "gauge/a", packet_id=8 + number) for number in range(12)],
        )
        again = pipeline.handle(
            connection, [message('{"level": 5}', "gauge/a", packet_id=7, dup=True)]
        )
        assert summary(again) == (1, 1, 0, 0)
        successor = new_pipeline(database, streams)
        successor.resume(connection)
        late = successor.handle(
            connection, [message('{"level": 5}', "gauge/a", packet_id=9, dup=True)]
        )
    assert summary(late) == (1, 0, 1, 0)


@pytest.mark.database
def test_a_broker_may_use_a_packet_id_again_at_once(gauge: tuple[Database, Streams]) -> None:
    database, streams = gauge
    pipeline = new_pipeline(database, streams)
    with database.write() as connection:
        pipeline.handle(connection, [message('{"level": 1}', "gauge/a", packet_id=1)])
        pipeline.handle(connection, [message('{"level": 0}', "gauge/a", packet_id=1)])
        third = pipeline.handle(
            connection, [message('{"level": 1}', "gauge/a", packet_id=1, dup=True)]
        )
    assert summary(third) == (1, 1, 0, 0)


@pytest.mark.database
def test_a_redelivery_within_one_batch_is_a_duplicate(gauge: tuple[Database, Streams]) -> None:
    database, streams = gauge
    batch = [message('{"level": 5}', "gauge/a", 7), message('{"level": 5}', "gauge/a", 7, dup=True)]
    with database.write() as connection:
        assert summary(new_pipeline(database, streams).handle(connection, batch)) == (2, 1, 1, 0)


def test_a_reading_from_a_wrong_clock_is_kept_under_the_servers_time(connected: Connected) -> None:
    database, connection, pipeline = connected
    pipeline.handle(connection, [message(payload(timestamp="1970-01-01T00:00:12"))])
    with database.read() as reader:
        stored = queries.newest.latest(reader, database.tables["sensors"])
    assert stored is not None
    assert stored["device_timestamp"] == "1970-01-01T00:00:12.000000Z"
    assert abs((stored["timestamp"] - clock.now()).total_seconds()) < 60


def test_a_flood_of_malformed_messages_is_logged_once_a_second(
    connected: Connected, caplog: pytest.LogCaptureFixture
) -> None:
    _, connection, pipeline = connected
    pipeline.handle(connection, [message("{", packet_id=number + 1) for number in range(500)])
    assert len([record for record in caplog.records if "invalid_json" in record.getMessage()]) == 1


def test_messages_at_qos_0_are_counted_as_best_effort(connected: Connected) -> None:
    database, connection, pipeline = connected
    pipeline.handle(connection, [message(payload(), packet_id=0), message(payload(gas=1))])
    with database.read() as reader:
        status = queries.ingest_status.ingest_status(reader)["mqtt"]
    assert (status.received, status.best_effort) == (2, 1)


def test_values_that_could_not_be_read_are_counted_and_told_once_a_minute(
    connected: Connected, caplog: pytest.LogCaptureFixture
) -> None:
    database, connection, pipeline = connected
    said = '{"machine_id":"M7","machine_status":"Running","performance_rate":80,"quality_rate":%d,"interval_defects":%s}'
    batch = [message(said % (rate, '"abc"'), "flexotwin/machine/status") for rate in range(90)]
    assert pipeline.handle(connection, batch).stored == 90
    told = [record.getMessage() for record in caplog.records]
    assert told == ['machines: M7: stored without a value: interval_defects: not a number: "abc"']
    assert (
        pipeline.handle(
            connection, [message(said % (99, "null"), "flexotwin/machine/status")]
        ).stored
        == 1
    )
    assert len(caplog.records) == 1
    with database.read() as reader:
        newest = queries.newest.latest(reader, database.tables["machines"])
        status = queries.ingest_status.ingest_status(reader)["mqtt"]
    assert newest is not None
    assert (newest["quality_rate"], newest["interval_defects"]) == (99.0, None)
    assert (status.stored, status.values_left_out) == (91, 90)


@pytest.mark.parametrize(
    "fault", [UnicodeEncodeError("utf-8", "x", 0, 1, "no"), BadData("it refuses it")], ids=str
)
def test_a_message_that_cannot_be_stored_is_set_aside_and_its_neighbours_are_stored(
    connected: Connected, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, connection, pipeline = connected
    write = ReadingWriter.apply

    def failing(
        own: ReadingWriter, connection: Connection, readings: Sequence[Reading], moment: datetime
    ) -> Applied:
        if any(reading.device_id == "poison" for reading in readings):
            raise fault
        return write(own, connection, readings, moment)

    monkeypatch.setattr(ReadingWriter, "apply", failing)
    topics = [f"sensors/{'poison' if number == 5 else number}/data" for number in range(9)]
    outcome = pipeline.handle(
        connection, [message(payload(), topic, number + 1) for number, topic in enumerate(topics)]
    )
    assert summary(outcome) == (9, 8, 0, 1)
    (rejection,) = outcome.rejections
    assert (rejection.reason, rejection.message.topic) == ("internal_error", "sensors/poison/data")


def test_what_fails_after_the_commit_is_not_stored_once_more(
    database: Database, streams: Streams
) -> None:
    def fail(_: Outcome) -> None:
        raise RuntimeError("the audit trail cannot be written")

    pipeline = new_pipeline(database, streams, "mqtt", ignore, fail)
    with database.write() as connection:
        with pytest.raises(RuntimeError):
            pipeline.handle(connection, [message(payload()), message(payload(), "sensors/b/data")])
        with database.read() as reader:
            assert queries.ingest_status.ingest_status(reader)["mqtt"].received == 2
