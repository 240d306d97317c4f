"""Databases whose texts are not Unicode: what they can hold is stored, the rest is set aside."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

import queries.newest
import queries.quality
import queries.rejected
from database import BadData, Database
from ingest.outcome import Outcome
from streams.registry import Streams
from tests.databases import DatabaseServer
from tests.pipelines import message, new_pipeline
from tests.rows import row, write
from tests.support import payload, prepared_database

CHINESE, GERMAN = "机器", "Gerät"
MACHINE = '"machine_status":"Running","performance_rate":80,"quality_rate":99'
MESSAGES = [
    *((f"sensors/{device}/data", payload().encode()) for device in ("a", CHINESE, GERMAN, "b")),
    (f"status/{CHINESE}", b"online"),
    ("status/a", b"online"),
    (f"control/{CHINESE * 60}/ack", b"no JSON"),
    (f"sensors/{CHINESE}/data", b"no JSON"),
    (
        "flexotwin/machine/status",
        f'{{"machine_id":"a",{MACHINE},"interval_defects":"{CHINESE * 20}"}}'.encode(),
    ),
]


class Encoding(NamedTuple):
    kind: str
    options: str
    environment: str = "utf8"
    holds_chinese: bool = True


_TEMPLATE = "LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
ENCODINGS = {
    "PGCLIENTENCODING": Encoding("postgresql", "", "SQL_ASCII"),
    "SQL_ASCII": Encoding("postgresql", f"ENCODING 'SQL_ASCII' {_TEMPLATE}"),
    "LATIN1": Encoding("postgresql", f"ENCODING 'LATIN1' {_TEMPLATE}", holds_chinese=False),
    "EUC_JP": Encoding("postgresql", f"ENCODING 'EUC_JP' {_TEMPLATE}", "LATIN1"),
    "latin1": Encoding("mariadb", "CHARACTER SET latin1"),
}


@pytest.mark.database
@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)
def test_a_text_that_the_encoding_lacks_stops_nothing_else(
    encoding: Encoding,
    server_of: Callable[[str], DatabaseServer],
    streams: Streams,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", encoding.environment)
    with (
        server_of(encoding.kind).bare_database(encoding.options) as url,
        prepared_database(url, streams) as database,
    ):
        outcome = handled(database, streams)
        with database.read() as reader:
            assert latest(database, "a") == "a"
            reasons = [row["reason"] for row in queries.rejected.page(reader, {}, 10, 0)]
            (faults,) = queries.quality.quality(reader, streams["machines"], None)
    assert outcome.stored == (7 if encoding.holds_chinese else 5)
    assert reasons.pop(0) == "partly_read"
    assert len(reasons) == len(outcome.rejections) == len(MESSAGES) - outcome.stored
    assert (faults["metric"], faults["unreadable"]) == ("interval_defects", 1)


@pytest.mark.parametrize("device", ["\ud800", "nul\0"])
def test_a_text_that_is_in_no_encoding_is_refused_by_itself(
    database: Database, device: str
) -> None:
    with database.write() as connection, database.transaction(connection):
        table = database.tables["sensors"]
        rows = [row(), row(device), row(GERMAN)]
        result = database.write_batch(connection, table, rows, row()[1])
    stored = 3 if device == "nul\0" and database.engine.dialect.name != "postgresql" else 2
    assert (result.stored, len(result.refused)) == (stored, 3 - stored)
    assert write(database, row("c")) == 1
    if device == "\ud800":
        with pytest.raises(BadData):
            latest(database, device)


def handled(database: Database, streams: Streams) -> Outcome:
    with database.open() as connection:
        made = new_pipeline(database, streams)
        made.resume(connection)
        return made.handle(connection, [message(raw, topic) for topic, raw in MESSAGES])


def latest(database: Database, device: str) -> str:
    with database.read() as reader:
        found = queries.newest.latest(reader, database.tables["sensors"], device)
    assert found is not None
    return str(found["device_id"])
