"""Rejected messages: kept as they came, each device's within its own share of what may be kept."""

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text

import queries.rejected
from database import Database
from ingest import rejected as rejected_module
from ingest.counting import Source
from ingest.message import Rejection
from ingest.payload import Parser
from ingest.pipeline import Pipeline
from ingest.rejected import ROW_BYTES, RejectedLimits
from streams.registry import Streams
from tests.pipelines import new_pipeline
from tests.rejections import BROKEN, kept, message, of, rows, totals
from tests.support import payload

Connected = tuple[Database, Connection, Pipeline]


@pytest.fixture
def connected(database: Database, streams: Streams) -> Iterator[Connected]:
    """A pipeline that keeps all."""
    with database.write() as connection:
        yield database, connection, new_pipeline(database, streams)


@pytest.fixture
def small(database: Database, streams: Streams) -> Iterator[Connected]:
    """A pipeline that keeps 100 rejected messages, or 20,000 bytes more than they take."""
    with database.write() as connection:
        limits = RejectedLimits(messages=100, bytes=100 * ROW_BYTES + 20_000)
        yield database, connection, new_pipeline(database, streams, limits=limits)


def test_a_rejected_message_is_kept_as_it_came_with_the_reason(connected: Connected) -> None:
    database, connection, pipeline = connected
    pipeline.handle(connection, [message(b"\xff\x00\xfe")])
    (found,) = rows(database)
    assert (found["payload"], found["reason"]) == (b"\xff\x00\xfe", "invalid_utf8")
    assert (found["topic"], found["message"]) == (
        "sensors/ESP32_001/data",
        "byte 0 is not valid UTF-8",
    )
    with database.read() as reader:
        assert queries.rejected.counts(reader) == {"invalid_utf8": 1}


def test_a_ten_megabyte_payload_is_kept_truncated(connected: Connected) -> None:
    database, connection, pipeline = connected
    outcome = pipeline.handle(connection, [message(b"x" * 10_000_000), message(payload())])
    assert (outcome.stored, len(outcome.rejections)) == (1, 1)
    (found,) = rows(database)
    assert (found["reason"], found["payload_size"], found["kept"]) == (
        "too_large",
        10_000_000,
        4_096,
    )


def test_a_topic_too_long_for_the_table_keeps_its_beginning(connected: Connected) -> None:
    database, connection, pipeline = connected
    pipeline.handle(connection, [message("1", "\0" * 60_000), message("1", "é" * 30_000)])
    assert {row["topic"] for row in rows(database)} == {"\\0" * 512, "é" * 1_024}


@pytest.mark.parametrize("size", [7, 150])
def test_no_more_is_kept_than_there_is_room_for_and_every_message_is_counted(
    small: Connected, size: int
) -> None:
    database, connection, pipeline = small
    for _ in range(300 // size):
        pipeline.handle(connection, of("noisy", size))
    sent = 300 // size * size
    assert len(rows(database)) == totals(database).messages == 100
    assert totals(database).evicted == sent - 100
    with database.read() as reader:
        assert queries.rejected.counts(reader) == {"invalid_json": sent}


def test_a_noisy_device_evicts_its_own_messages_and_no_others(small: Connected) -> None:
    database, connection, pipeline = small
    pipeline.handle(
        connection,
        of("quiet", 20) + of("quiet", 3, payload(gas=None)) + of("noisy", 5, payload(gas=None)),
    )
    for _ in range(20):
        pipeline.handle(connection, of("noisy", 25))
    assert kept(database) == {
        ("quiet", "invalid_json"): 20,
        ("quiet", "missing_field"): 3,
        ("noisy", "missing_field"): 5,
        ("noisy", "invalid_json"): 72,
    }


def test_the_newest_of_a_device_are_those_that_are_kept(small: Connected) -> None:
    database, connection, pipeline = small
    pipeline.handle(connection, [message(f"{{{number}") for number in range(80)])
    for number in range(80, 110):
        pipeline.handle(connection, [message(f"{{{number}")])
    assert [row["payload"] for row in rows(database)] == [
        b"{%d" % number for number in range(109, 9, -1)
    ]


def test_a_device_with_large_messages_evicts_its_own(small: Connected) -> None:
    database, connection, pipeline = small
    pipeline.handle(connection, of("quiet", 30))
    for _ in range(10):
        pipeline.handle(connection, of("large", 5, b"x" * 3_000))
    assert kept(database)["quiet", "invalid_json"] == 30
    assert 3 <= kept(database)["large", "invalid_json"] <= 10
    assert totals(database).bytes <= 100 * ROW_BYTES + 20_000
    assert totals(database).evicted == 80 - len(rows(database))


def test_what_is_counted_is_what_is_there(small: Connected) -> None:
    database, connection, pipeline = small
    for number in range(30):
        batch = (
            of(f"board{number % 7}", 9, b"x" * (number * 40))
            + of("é°", 3)
            + [message("ü" * 500, "unknown/ü")]
        )
        pipeline.handle(connection, batch)
    found = rows(database)
    size = sum(
        row["kept"] + len(row["topic"].encode()) + len(row["message"].encode()) + ROW_BYTES
        for row in found
    )
    assert (len(found), size) == totals(database)[:2]


@pytest.mark.parametrize("topic", ["sensors/random{}/data", "unheard/of/{}"])
def test_a_flood_under_ever_new_names_makes_no_table_grow_and_evicts_no_known_device(
    small: Connected, monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    monkeypatch.setattr(rejected_module, "MAX_SHARES", 20)
    database, connection, pipeline = small
    pipeline.handle(connection, of("quiet", 30))
    for begin in range(0, 1_000, 50):
        pipeline.handle(
            connection,
            [message(BROKEN, topic.format(number)) for number in range(begin, begin + 50)],
        )
    assert kept(database)["quiet", "invalid_json"] == 30
    assert len(rows(database)) == 100
    with database.read() as reader:
        assert reader.execute(text("SELECT count(*) FROM rejected_shares")).scalar_one() <= 22


def test_many_devices_of_one_kind_give_alike(small: Connected) -> None:
    database, connection, pipeline = small
    for _ in range(40):
        pipeline.handle(
            connection, [broken for number in range(10) for broken in of(f"board{number}", 1)]
        )
    assert len(rows(database)) == 100
    assert set(kept(database).values()) <= {9, 10, 11}


def test_a_share_that_has_given_everything_is_gone_and_its_evictions_stay_counted(
    small: Connected,
) -> None:
    database, connection, pipeline = small
    pipeline.handle(connection, of("large", 1, b"x" * 40_000))
    pipeline.handle(connection, of("quiet", 1))
    assert kept(database) == {("quiet", "invalid_json"): 1}
    assert totals(database).evicted == 1
    with database.read() as reader:
        assert reader.execute(text("SELECT count(*) FROM rejected_shares")).scalar_one() == 2


def test_rows_that_somebody_deleted_do_not_take_room_for_ever(small: Connected) -> None:
    database, connection, pipeline = small
    pipeline.handle(connection, of("noisy", 100))
    with database.transaction(connection):
        connection.execute(text("DELETE FROM rejected_messages"))
        connection.execute(text("DELETE FROM rejected_shares WHERE share = 0"))
    for _ in range(30):
        pipeline.handle(connection, of("other", 10))
    assert len(rows(database)) == 100


def test_a_limit_that_was_lowered_is_reached_little_by_little(
    connected: Connected, streams: Streams
) -> None:
    database, connection, pipeline = connected
    pipeline.handle(connection, of("noisy", 5_000))
    lowered = new_pipeline(database, streams, limits=RejectedLimits(messages=100))
    lowered.handle(connection, of("noisy", 1))
    assert len(rows(database)) == 5_001 - 1_002
    for _ in range(5):
        lowered.handle(connection, of("noisy", 1))
    assert len(rows(database)) == 100


def test_writers_at_the_same_time_neither_wait_for_each_other_nor_miscount(
    database: Database, streams: Streams
) -> None:
    limits, failures = RejectedLimits(messages=100), []

    def write(name: Source) -> None:
        try:
            pipeline = new_pipeline(database, streams, name, limits=limits)
            with database.write() as connection:
                for number in range(20):
                    mixed = of(f"board{number % 5}", 3) + of(
                        f"board{number % 3}", 2, payload(gas=None)
                    )
                    pipeline.handle(connection, mixed[::-1] if number % 2 else mixed)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            failures.append(error)

    threads = [
        threading.Thread(target=write, args=(name,)) for name in ("mqtt", "http", "http", "http")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(rows(database)) == totals(database).messages == 100
    assert totals(database).evicted == 4 * 20 * 5 - 100


NAMED = '{"device_id": "board", "temperature": 1}'


@pytest.mark.parametrize(
    ("device_id", "said", "expected"),
    [
        ("by-topic", BROKEN, "by-topic"),
        ("by-topic", NAMED, "by-topic"),
        (None, NAMED, "board"),
        (None, '\ufeff{"device_id": "board"}', "board"),
        (None, BROKEN, None),
        (None, "[]", None),
        (None, b'{"device_id": "\xff"}', None),
        (None, '{"device_id": 7}', "7"),
        (None, '{"device_id": "a/b"}', None),
        (None, '{"device_id": "' + "x" * 129 + '"}', None),
        (None, '{"device_id": "board", "x": "' + "x" * 70_000 + '"}', None),
        ("\u200b", BROKEN, None),
        ("x" * 129, BROKEN, None),
    ],
)
def test_the_device_is_whom_the_topic_names_or_else_the_payload(
    streams: Streams, device_id: str | None, said: str | bytes, expected: str | None
) -> None:
    found = Parser(streams).parse_for(
        streams["sensors"], message(said, "sensors//data"), device_id, None
    )
    assert isinstance(found, Rejection)
    assert found.device_id == expected


def test_the_device_of_what_it_says_beside_its_readings_is_known(connected: Connected) -> None:
    database, connection, pipeline = connected
    unknown = '{"command_id": "c", "status": "failed"}'
    batch = [
        message("{", "control/a/ack"),
        message(unknown, "control/b/ack"),
        message("away", "status/c"),
    ]
    pipeline.handle(connection, [*batch, message("{", "un/known")])
    assert {(row["device_id"], row["reason"]) for row in rows(database)} == {
        ("a", "invalid_json"), ("b", "unknown_command"), ("c", "invalid_json"), (None, "unknown_topic"),
    }  # fmt: skip
