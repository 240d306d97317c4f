"""A database of before has its rejected messages counted in shares, on every kind of database."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

import queries.rejected
from config import PROJECT
from database import Database
from ingest.rejected import RejectedLimits
from streams.registry import Streams
from tests.pipelines import new_pipeline
from tests.rejections import kept, of, totals

MOMENT = datetime(2026, 1, 29, 14, 30, 45)
INSERT = text(
    "INSERT INTO rejected_messages (stream, topic, payload, payload_size, reason, message, created_at) "
    "VALUES (:stream, :topic, :payload, :payload_size, :reason, :message, :created_at)"
)
COUNT = text("INSERT INTO rejection_counts (reason, count) VALUES ('invalid_json', :count)")


def migrations(connection: Connection | None = None) -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(PROJECT / "migrations"))
    configuration.attributes["connection"] = connection
    return configuration


def revisions() -> tuple[str, str]:
    """The revision before the shares, and theirs."""
    scripts = ScriptDirectory.from_config(migrations()).walk_revisions()
    own = next(
        script for script in scripts if str(script.doc).startswith("Shares of rejected messages")
    )
    return str(own.down_revision), own.revision


def old_row(topic: str, payload: bytes = b"{", size: int = 0) -> dict[str, Any]:
    named = {
        "stream": "sensors",
        "topic": topic,
        "reason": "invalid_json",
        "message": "not valid",
        "created_at": MOMENT,
    }
    return named | {"payload": payload, "payload_size": size or len(payload)}


@pytest.fixture
def old(bare_database_url: str, streams: Streams) -> Iterator[Database]:
    """A database as the version before has left it, without rows."""
    made = Database(make_url(bare_database_url), streams)
    with made.engine.begin() as connection:
        command.upgrade(migrations(connection), revisions()[0])
    yield made
    made.close()


def fill(database: Database, rows: list[dict[str, Any]], ever: int) -> None:
    """Put in rows of before, of so many that were ever rejected."""
    with database.engine.begin() as connection:
        connection.execute(INSERT, rows)
        connection.execute(COUNT, {"count": ever})


def test_an_empty_database_has_no_shares(old: Database) -> None:
    old.prepare()
    assert totals(old) == (0, 0, 0)


def test_what_a_quiet_device_had_before_is_not_evicted_by_a_noisy_one(
    old: Database, streams: Streams
) -> None:
    rows = [
        old_row(f"sensors/{'quiet' if number % 10 == 0 else 'noisy'}/data") for number in range(100)
    ]
    fill(old, rows, 150)
    old.prepare()
    assert (totals(old).messages, totals(old).evicted) == (100, 50)
    with old.write() as connection:
        new_pipeline(old, streams, limits=RejectedLimits(messages=100)).handle(
            connection, of("noisy", 60)
        )
    with old.write() as connection:
        quiet = text("SELECT count(*) FROM rejected_messages WHERE topic = 'sensors/quiet/data'")
        assert connection.execute(quiet).scalar_one() == 10
    assert sum(kept(old).values()) == totals(old).messages == 100
    assert totals(old).evicted == 50 + 60


def test_its_shares_are_named_and_no_more_than_a_thousand(old: Database) -> None:
    fill(
        old,
        [old_row(f"sensors/{number}/data") for number in range(1_200)] + [old_row("x" * 1_024)] * 3,
        1_203,
    )
    old.prepare()
    with old.write() as connection:
        assert (
            connection.execute(text("SELECT count(*) FROM rejected_shares")).scalar_one() <= 1_002
        )
        names = [
            share["topic"] for share in queries.rejected.largest_shares(connection, "messages", 2)
        ]
    assert names == [None, "x" * 255]
    assert totals(old).messages == 1_203


def test_an_upgrade_that_was_interrupted_while_it_counted_begins_again(old: Database) -> None:
    fill(old, [old_row("sensors/a/data")] * 3, 4)
    old.prepare()
    with old.write() as connection, old.transaction(connection):
        connection.execute(
            text("UPDATE alembic_version SET version_num = :before"), {"before": revisions()[0]}
        )
    with old.write() as connection, connection.begin():
        command.upgrade(migrations(connection), revisions()[1])
    assert (totals(old).messages, totals(old).evicted) == (3, 1)


def test_large_payloads_are_counted_as_what_is_kept_of_them(old: Database) -> None:
    topic, sentence, row = len("t"), len("not valid"), 200
    fill(old, [old_row("t", b"x" * 65_536), old_row("t", b"x" * 4_096, 10_000_000)], 2)
    old.prepare()
    assert totals(old).bytes == 65_536 + 4_096 + 2 * (topic + sentence + row)


def test_more_than_can_be_rewritten_is_counted_together_and_made_smaller_little_by_little(
    old: Database, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(old, [old_row("sensors/noisy/data", b"", 64_000) for _ in range(5_000)], 5_000)
    old.prepare()
    assert totals(old).messages == 5_000
    assert totals(old).bytes > 320_000_000
    with old.read() as reader:
        assert queries.rejected.largest_shares(reader, "messages", 1)[0]["messages"] < 4_000
    with old.write() as connection:
        for _ in range(5):
            new_pipeline(old, streams).handle(connection, of("board", 1))
    assert 250_000_000 < totals(old).bytes <= 256_000_000


@pytest.mark.database
def test_it_can_be_taken_back(tmp_path: Path, streams: Streams) -> None:
    database = Database(make_url(f"sqlite:///{tmp_path}/test.db"), streams)
    look = text("SELECT sql FROM sqlite_master WHERE name LIKE '%reject%' ORDER BY 1")
    before, own = revisions()
    with database.engine.begin() as connection:
        command.upgrade(migrations(connection), before)
        tables = connection.execute(look).all()
        command.upgrade(migrations(connection), own)
        assert connection.execute(look).all() != tables
        command.downgrade(migrations(connection), before)
        assert connection.execute(look).all() == tables
    database.close()
