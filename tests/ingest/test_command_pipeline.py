"""Acknowledgements through the pipeline: each is counted, changes are notified, and none stops ingestion."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

import queries.ingest_status
import queries.rejected
from broker.message import Message
from broker.notifier import ChangeSet
from database import Database, Unavailable
from ingest.pipeline import Pipeline
from services.commands import Expiry
from streams.registry import Streams
from tests.commands import put, statuses, stored
from tests.pipelines import new_pipeline
from tests.rows import execute
from utils import clock

Ingesting = tuple[Database, Connection, Pipeline, list[ChangeSet]]


@pytest.fixture
def ingesting(database: Database, streams: Streams) -> Iterator[Ingesting]:
    """A pipeline, and the news it has told."""
    told: list[ChangeSet] = []
    with database.write() as connection:
        yield database, connection, new_pipeline(database, streams, "mqtt", told.append), told


def message(
    body: Any, packet_id: int = 1, topic: str = "control/a/ack", dup: bool = False
) -> Message:
    return Message(topic, json.dumps(body).encode(), clock.now(), packet_id, dup)


def put_now(database: Database, *command_ids: str, seconds: float = 60) -> None:
    put(database, *command_ids, expires_at=clock.now() + timedelta(seconds=seconds))


def test_every_acknowledgement_is_accounted_for_and_what_changed_is_told(
    ingesting: Ingesting,
) -> None:
    database, connection, pipeline, told = ingesting
    put_now(database, "c", "d")
    put_now(database, "due", seconds=-1)
    said = [
        ("c", "succeeded"),
        ("c", "succeeded"),
        ("c", "failed"),
        ("due", "failed"),
        ("x", "failed"),
        ("d", "done"),
    ]
    batch = [
        message({"command_id": known, "status": status}, place + 1)
        for place, (known, status) in enumerate(said)
    ]
    outcome = pipeline.handle(connection, batch)
    assert (outcome.received, outcome.stored, outcome.duplicate, len(outcome.rejections)) == (
        6,
        1,
        1,
        4,
    )
    assert [news.commands for news in told] == [["c"]]
    with database.read() as reader:
        kept = queries.rejected.page(reader, {}, 10, 0)
        status = queries.ingest_status.ingest_status(reader)["mqtt"]
        assert (status.received, status.stored, status.duplicate, status.rejected) == (6, 1, 1, 4)
    assert {(item["reason"], item["stream"], item["topic"]) for item in kept} == {
        (reason, None, "control/a/ack")
        for reason in (
            "command_is_final",
            "late_acknowledgement",
            "unknown_command",
            "invalid_acknowledgement",
        )
    }
    assert (
        json.loads(next(item["payload"] for item in kept if item["reason"] == "unknown_command"))[
            "command_id"
        ]
        == "x"
    )


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_acknowledgement_that_is_delivered_again_is_a_duplicate_also_for_the_next_ingester(
    ingesting: Ingesting, streams: Streams
) -> None:
    database, connection, pipeline, told = ingesting
    put_now(database, "c")
    pipeline.handle(connection, [message({"command_id": "c", "status": "in_progress"}, 7)])
    pipeline.handle(connection, [message({"command_id": "c", "status": "succeeded"}, 8)])
    successor = new_pipeline(database, streams, "mqtt", told.append)
    successor.resume(connection)
    again = [message({"command_id": "c", "status": "in_progress"}, 7, dup=True)]
    outcome = successor.handle(connection, again)
    assert (outcome.duplicate, outcome.rejections, stored(database, "c")["status"]) == (
        1,
        [],
        "succeeded",
    )


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_batch_that_is_not_committed_changes_no_command_and_tells_nothing(
    ingesting: Ingesting,
) -> None:
    database, connection, pipeline, told = ingesting
    put_now(database, "c")
    execute(database, "DROP TABLE rejection_counts")
    with pytest.raises(Unavailable):
        pipeline.handle(
            connection, [message({"command_id": "c", "status": "succeeded"}), message([], 2)]
        )
    assert (stored(database, "c")["status"], told) == ("sent", [])
    pipeline.handle(connection, [message({"command_id": "c", "status": "succeeded"})])
    assert [(news.commands, news.everything) for news in told] == [(["c"], True)]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_job_expires_what_is_due_and_tells_it(ingesting: Ingesting) -> None:
    database, connection, _, told = ingesting
    expiry = Expiry(database, told.append)
    expiry.run(connection)
    put_now(database, "due", "too", seconds=-1)
    put_now(database, "later")
    expiry.run(connection)
    expiry.run(connection)
    assert [news.commands for news in told] == [["due", "too"]]
    assert statuses(database, ["due", "too", "later"]) == ["expired", "expired", "sent"]


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
def test_a_batch_of_monstrous_command_ids_does_not_stop_the_ingest(ingesting: Ingesting) -> None:
    """MariaDB takes no statement of more than 16 MB; a batch that waited for the database may have that much."""
    _, connection, pipeline, _ = ingesting
    monsters = [
        message({"command_id": f"{number}" + "x" * 60_000, "status": "failed"}, number + 1)
        for number in range(300)
    ]
    assert len(pipeline.handle(connection, monsters).rejections) == 300


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_command_id_cannot_forge_a_line_of_the_log(
    ingesting: Ingesting, caplog: pytest.LogCaptureFixture
) -> None:
    _, connection, pipeline, _ = ingesting
    (rejection,) = pipeline.handle(
        connection, [message({"command_id": "x\nWARNING all is well\x1b[2J", "status": "failed"})]
    ).rejections
    assert rejection.text.isprintable()
    assert all(record.getMessage().isprintable() for record in caplog.records)
