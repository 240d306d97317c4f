"""The pipeline: values of optional metrics that are missing or unreadable are counted and kept."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.engine import make_url

import queries.ingest_status
import queries.quality
import queries.rejected
from broker.message import Message
from database import Database
from ingest.pipeline import Pipeline
from routes.readings import posted
from services.submissions import Submissions
from streams.declaration import load
from streams.registry import Streams
from tests.pipelines import message, new_pipeline
from tests.rows import forbid_666
from tests.support import DEVICE_TOPICS
from utils import clock

METRICS = "[metrics]\na = { required = true }\nt = {}\nh = {}\n"
BOARDS = f'topic = "b/{{device_id}}"\n[timestamp]\nfield = "at"\n{METRICS}'
GATEWAYS = (
    f'topic = "g/{{gateway}}"\nexplode = "m"\ndevice = "id"\n[timestamp]\nfield = "at"\n{METRICS}'
)
STORED = f'topic = "r/{{device_id}}"\nretained = "store"\n{METRICS}'
NOON = "2026-01-29T12:00:00Z"
Site = tuple[Database, Connection, Pipeline]


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    for name, text in {"boards": BOARDS, "gateways": GATEWAYS, "again": STORED}.items():
        (tmp_path / f"{name}.toml").write_text(text)
    streams = load(tmp_path, {}, DEVICE_TOPICS)
    database = Database(make_url(database_url), streams)
    database.prepare()
    with database.write() as connection:
        yield database, connection, new_pipeline(database, streams)
    database.close()


def streams_of(site: Site) -> Streams:
    return site[2]._parser._streams


def board(
    device: str = "b1", at: str | None = NOON, packet_id: int = 1, dup: bool = False, **values: Any
) -> Message:
    fields = {"a": 1} | values | ({"at": at} if at else {})
    return message(json.dumps(fields), f"b/{device}", packet_id, dup)


def gateway(*members: dict[str, Any]) -> Message:
    listed = [{"id": "x", "at": f"2026-01-29T12:00:{i:02}Z"} | one for i, one in enumerate(members)]
    return message(json.dumps({"m": listed}), "g/gw")


def retained(text: str, topic: str) -> Message:
    return Message(topic, text.encode(), clock.now(), 1, retained=True)


def quality(site: Site, stream: str = "boards") -> list[tuple[object, ...]]:
    """Device, metric, missing, unreadable and the last example."""
    with site[0].read() as reader:
        rows = queries.quality.quality(reader, streams_of(site)[stream], None)
    return [tuple(row.values())[:5] for row in rows]


def kept(site: Site) -> list[tuple[str, str, str]]:
    """Reason, device and errors of what is kept raw, oldest first."""
    with site[0].read() as reader:
        rows = queries.rejected.page(reader, {}, 100, 0)
    return [(row["reason"], row["device_id"], row["message"]) for row in rows[::-1]]


def counts(site: Site, source: str = "mqtt") -> tuple[int, int, int, int]:
    with site[0].read() as reader:
        status = queries.ingest_status.ingest_status(reader)[source]
    outcomes = (status.stored, status.duplicate, status.rejected, status.ignored)
    assert status.received == sum(outcomes)
    return outcomes


ERROR = 't: not a number: "?"'
PARTLY = ("partly_read", "b1", ERROR)
CASES = [
    pytest.param([board(t=1, h=2)], [], [], id="all are good"),
    pytest.param([board(t=1)], [], [], id="one is absent"),
    pytest.param([board(t=None)], [("b1", "t", 1, 0, "null")], [], id="one is null"),
    pytest.param([board(t="?")], [("b1", "t", 0, 1, '"?"')], [PARTLY], id="one is unreadable"),
    pytest.param(
        [board(t="?", h="")],
        [("b1", "h", 1, 0, '""'), ("b1", "t", 0, 1, '"?"')],
        [PARTLY],
        id="one of each",
    ),
    pytest.param(
        [board(a=1, t="?"), board(a=2, t=None), board(a=3, t=5)],
        [("b1", "t", 1, 1, "null")],
        [PARTLY],
        id="first unreadable, then null, then good",
    ),
    pytest.param(
        [board("b2", t=None), board("b1", t=None), board("b2", a=2, t=None)],
        [("b1", "t", 1, 0, "null"), ("b2", "t", 2, 0, "null")],
        [],
        id="two devices",
    ),
    pytest.param(
        [board(t="?"), board(t="?", packet_id=2)],
        [("b1", "t", 0, 1, '"?"')],
        [PARTLY],
        id="the same reading twice",
    ),
    pytest.param(
        [board(at=None, t="?", packet_id=7), board(at=None, t="?", packet_id=7, dup=True)],
        [("b1", "t", 0, 1, '"?"')],
        [PARTLY],
        id="a redelivery without a time",
    ),
    pytest.param(
        [board(t="?"), board(t=None, packet_id=2)],
        [("b1", "t", 0, 1, '"?"')],
        [PARTLY],
        id="the same reading, null the second time",
    ),
    pytest.param(
        [board(t="?"), retained(f'{{"a":1,"t":"?","at":"{NOON}"}}', "b/b1")],
        [("b1", "t", 0, 1, '"?"')],
        [PARTLY],
        id="repeated because it is retained",
    ),
    pytest.param(
        [board(a="x", t=None)],
        [],
        [("not_a_number", "b1", 'a: not a number: "x"')],
        id="a required one is unreadable too",
    ),
    pytest.param(
        [board(a=666, t="?"), board(a=2, t="?")],
        [("b1", "t", 0, 1, '"?"')],
        [("refused_by_database", "b1", "…"), PARTLY],
        id="the database refuses one of them",
    ),
]


@pytest.mark.parametrize("at_once", [True, False], ids=["in one batch", "in a batch each"])
@pytest.mark.parametrize(("messages", "expected", "raw"), CASES)
def test_faults_of_stored_readings_are_counted_and_unreadable_values_kept(
    messages: list[Message],
    expected: Any,
    raw: list[tuple[str, str, str]],
    at_once: bool,
    site: Site,
) -> None:
    database, connection, pipeline = site
    forbid_666(database, "boards_readings", "a")
    for batch in [messages] if at_once else [[one] for one in messages]:
        pipeline.handle(connection, batch)
    assert quality(site) == expected
    known = [
        (reason, device, "…" if reason[:2] == "re" else why) for reason, device, why in kept(site)
    ]
    assert known == raw
    rejected = [reason for reason, _, _ in raw if reason != "partly_read"]
    assert counts(site)[2] == len(rejected)


def test_a_partly_read_message_counts_as_stored_and_is_kept_as_it_came(site: Site) -> None:
    database, connection, pipeline = site
    given = board(t="?", h=5)
    pipeline.handle(connection, [given])
    assert counts(site) == (1, 0, 0, 0)
    with database.read() as reader:
        (row,) = queries.rejected.page(reader, {}, 10, 0)
        assert (row["stream"], row["topic"], row["payload"]) == ("boards", "b/b1", given.payload)
        assert queries.rejected.counts(reader) == {"partly_read": 1}
        (share,) = queries.rejected.largest_shares(reader, "messages", 10)
    assert (share["device_id"], share["reason"]) == ("b1", "partly_read")


def test_a_redelivery_after_a_restart_is_not_counted_again(site: Site) -> None:
    database, connection, pipeline = site
    pipeline.handle(connection, [board(at=None, t="?", packet_id=7)])
    next_pipeline = new_pipeline(database, streams_of(site))
    next_pipeline.resume(connection)
    next_pipeline.handle(connection, [board(at=None, t="?", packet_id=7, dup=True)])
    assert quality(site) == [("b1", "t", 0, 1, '"?"')]
    assert kept(site) == [PARTLY]


SEVERAL = [
    pytest.param(
        gateway({"a": 1, "t": "?"}, {"a": 2}, {"a": 3, "h": True, "t": None}),
        [("x", "h", 0, 1, "true"), ("x", "t", 1, 1, "null")],
        [("partly_read", "x", f"m[0].{ERROR}; m[2].h: not a number: true")],
        (1, 0, 0, 0),
        id="two have errors",
    ),
    pytest.param(
        gateway({"a": 1, "t": "?"}, {"a": 2, "t": "?", "id": "y"}),
        [("x", "t", 0, 1, '"?"'), ("y", "t", 0, 1, '"?"')],
        [("partly_read", None, f"m[0].{ERROR}; m[1].{ERROR}")],
        (1, 0, 0, 0),
        id="of two devices",
    ),
    pytest.param(
        gateway({"a": 1, "t": "?"}, {"a": "x"}),
        [("x", "t", 0, 1, '"?"')],
        [("not_a_number", "x", 'm[1].a: not a number: "x"')],
        (0, 0, 1, 0),
        id="another is rejected, which keeps the message",
    ),
    pytest.param(
        gateway(*({"a": number, "t": "?"} for number in range(7))),
        [("x", "t", 0, 7, '"?"')],
        [("partly_read", "x", "; ".join(f"m[{i}].{ERROR}" for i in range(5)) + "; 2 more")],
        (1, 0, 0, 0),
        id="seven have errors",
    ),
]


@pytest.mark.parametrize(("given", "expected", "raw", "outcomes"), SEVERAL)
def test_a_message_with_several_readings_is_kept_once(
    given: Message, expected: Any, raw: Any, outcomes: tuple[int, ...], site: Site
) -> None:
    _, connection, pipeline = site
    pipeline.handle(connection, [given])
    assert counts(site) == outcomes
    pipeline.handle(connection, [given])
    assert quality(site, "gateways") == expected
    assert [one for one in kept(site) if one[0] == "partly_read"] == [
        one for one in raw if one[0] == "partly_read"
    ]
    assert kept(site)[: len(raw)] == raw


def test_what_the_broker_retains_without_a_time_is_not_kept_at_every_connection(site: Site) -> None:
    _, connection, pipeline = site
    for _ in range(3):
        pipeline.handle(connection, [retained('{"a":1,"t":"?"}', "r/r1")])
    assert counts(site) == (3, 0, 0, 0)
    assert kept(site) == []


def test_a_posted_reading_is_stored_without_the_value_and_answered_as_stored(site: Site) -> None:
    database, _, _ = site
    http = new_pipeline(database, streams_of(site), "http")
    body = f'[{{"a":1,"t":"?","at":"{NOON}"}}, {{"a":2,"h":null}}]'.encode()
    submissions = Submissions(database, http)
    answers = [
        posted(submissions.submit(streams_of(site)["boards"], body, "b1", None)) for _ in range(2)
    ]
    assert answers[0] == ({"stored": 2, "duplicate": 0, "rejected": 0, "errors": []}, 201)
    assert answers[1] == ({"stored": 1, "duplicate": 1, "rejected": 0, "errors": []}, 201)
    assert quality(site) == [("b1", "h", 2, 0, "null"), ("b1", "t", 0, 1, '"?"')]
    assert kept(site) == [PARTLY]
    assert counts(site, "http") == (3, 1, 0, 0)


def test_only_declared_metrics_are_shown(site: Site, tmp_path: Path) -> None:
    database, connection, pipeline = site
    pipeline.handle(connection, [board(t=None, h=None)])
    (tmp_path / "boards.toml").write_text(BOARDS.replace("t = {}", "temperature = {}"))
    renamed = load(tmp_path, {}, DEVICE_TOPICS)["boards"]
    with database.read() as reader:
        rows = queries.quality.quality(reader, renamed, None)
    assert [row["metric"] for row in rows] == ["h"]
