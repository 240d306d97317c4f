"""Birth certificates of Sparkplug: what they say of later messages, in a batch and over a restart."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, text

import queries.certificates
import queries.rejected
from broker.message import Message
from database import Database, Unavailable
from ingest import certificates
from ingest.certificates import SparkplugSender
from ingest.message import Ignored, Parsed, Reading, Rejection, Several
from ingest.payload import Parser
from ingest.pipeline import Pipeline
from ingest.redelivery import Unrecorded
from streams.registry import Streams
from tests.declarations import Declare
from tests.parsing import RECEIVED
from tests.pipelines import new_pipeline
from tests.rows import forbid_666
from tests.sparkplug import DBIRTH, DDATA, NBIRTH, NDATA, SENT, encoded
from tests.support import prepared_database
from utils import clock

PRESS = """topic = ["spBv1.0/+/DDATA/+/{device_id}", "spBv1.0/+/DBIRTH/+/{device_id}", "spBv1.0/+/NDATA/{device_id}",
  "spBv1.0/+/NBIRTH/{device_id}"]
format = "sparkplug"
empty = "ignore"
[metrics]
a = {}
b = {}
n = { path = "Inputs/n", type = "integer" }
"""
INT32, DOUBLE = 3, 10


def born(topic: str = DBIRTH, *, retained: bool = False, **aliases: int) -> Message:
    """A birth certificate of the metrics `a`, `b`, with these aliases and without values."""
    metrics = [
        {"name": name, "alias": alias, "datatype": DOUBLE} for name, alias in aliases.items()
    ]
    return Message(topic, encoded(*metrics), clock.now(), retained=retained)


def data(
    alias: int, value: float, topic: str = DDATA, *, packet_id: int = 0, dup: bool = False
) -> Message:
    """The value of the metric with an alias; each has a time of its own."""
    metric = {"alias": alias, "double_value": value, "timestamp": SENT + int(value)}
    return Message(topic, encoded(metric), clock.now(), packet_id, dup)


@pytest.fixture
def streams(declare: Declare) -> Streams:
    return declare(press=PRESS)


# Whose certificate it is


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        (DBIRTH, ("spBv1.0/plant/edge1", "press7", True)),
        (DDATA, ("spBv1.0/plant/edge1", "press7", False)),
        (NBIRTH, ("spBv1.0/plant/edge1", "", True)),
        (NDATA, ("spBv1.0/plant/edge1", "", False)),
        (f"site/4/{DDATA}", ("site/4/spBv1.0/plant/edge1", "press7", False)),
        ("spBv1.0/plant/DBIRTH/edge1", None),
        ("spBv1.0/plant/NBIRTH/edge1/press7", None),
        ("spBv1.0/plant/NDEATH/edge1", None),
        ("spBv1.0/plant/DCMD/edge1/press7", None),
        ("spBv1.0/STATE/host", None),
        ("spBv1.0//NBIRTH/edge1", None),
        ("spBv1.0/plant/NBIRTH/edge1 ", None),
        (f"{'x' * 400}/{NBIRTH}", None),
        ("x/7", None),
    ],
)
def test_a_topic_names_the_sender(topic: str, expected: tuple[str, str, bool] | None) -> None:
    assert SparkplugSender.of(topic) == expected


# What a message means


def parsed(streams: Streams, *messages: Message) -> list[Parsed]:
    parser = Parser(streams)
    return [parser.parse(message) for message in messages]


def values(found: Parsed) -> Any:
    """The values of `a` and `b`, or why there are none."""
    if isinstance(found, Reading):
        return found.values[:2]
    return found.reason if isinstance(found, Rejection | Ignored) else type(found)


UNKNOWN = "no_birth_certificate"


@pytest.mark.parametrize(
    ("before", "message", "expected"),
    [
        pytest.param([], data(1, 5), UNKNOWN, id="no certificate"),
        pytest.param([born(a=1)], data(1, 5), (5.0, None), id="an alias"),
        pytest.param([born(a=1)], data(2, 5), UNKNOWN, id="another alias"),
        pytest.param([born(a=0)], data(0, 5), (5.0, None), id="the alias 0"),
        pytest.param([born(a=1), born(b=1)], data(1, 5), (None, 5.0), id="the last one counts"),
        pytest.param([born(a=1), born(b=2)], data(1, 5), UNKNOWN, id="only the last one counts"),
        pytest.param([born(NBIRTH, a=1)], data(1, 5, NDATA), (5.0, None), id="an edge node"),
        pytest.param([born(NBIRTH, a=1)], data(1, 5), UNKNOWN, id="a node says nothing of a device"),
        pytest.param([born(a=1), born(NBIRTH, b=2)], data(1, 5), UNKNOWN, id="a node is born again"),
        pytest.param(
            [born(a=1), born("spBv1.0/plant/NBIRTH/edge2", b=2)], data(1, 5), (5.0, None), id="another node"
        ),
        pytest.param(
            [born(a=1), born(DBIRTH.replace("7", "8"), b=1)], data(1, 5), (5.0, None), id="another device"
        ),
        pytest.param([born(a=1, retained=True)], data(1, 5), (5.0, None), id="retained"),
        pytest.param(
            [born(a=1), born(b=1, retained=True)], data(1, 5), (5.0, None), id="retained, and maybe older"
        ),
        pytest.param(
            [born(a=1), born(NBIRTH, b=2, retained=True)], data(1, 5), (5.0, None), id="a retained one of the node"
        ),
        pytest.param(
            [born(a=1), Message(DBIRTH, b"\x08", RECEIVED)], data(1, 5), UNKNOWN, id="one that cannot be read"
        ),
        pytest.param(
            [born(a=1), Message(DBIRTH, b"", RECEIVED, retained=True)], data(1, 5), (5.0, None), id="one is cleared"
        ),
    ],
)  # fmt: skip
def test_a_message_is_read_by_the_last_certificate(
    before: list[Message], message: Message, expected: Any, streams: Streams
) -> None:
    *_, last = parsed(streams, *before, message)
    assert values(last) == expected


def test_the_values_of_a_certificate_are_a_reading(streams: Streams) -> None:
    metric = {"name": "Inputs/n", "alias": 1, "datatype": INT32, "int_value": 2**32 - 5}
    again = {"alias": 1, "int_value": 2**32 - 6}
    found = parsed(
        streams,
        Message(DBIRTH, encoded(metric), RECEIVED),
        Message(DDATA, encoded(again), RECEIVED),
    )
    assert [one.values for one in found if isinstance(one, Reading)] == [
        (None, None, -5),
        (None, None, -6),
    ]


def test_the_other_metrics_of_a_message_are_stored(streams: Streams) -> None:
    payload = encoded({"name": "a", "double_value": 1}, {"alias": 4, "double_value": 2})
    (found,) = parsed(streams, Message(DDATA, payload, RECEIVED))
    assert isinstance(found, Several)
    assert [one.values for one in found.readings] == [(1.0, None, None)]
    assert [(one.reason, one.text, one.device_id) for one in found.rejections] == [
        (UNKNOWN, "no birth certificate that was received says the name of the alias 4", "press7")
    ]


def test_there_are_not_too_many(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "MAX_METRICS", 2 * certificates.OVERHEAD + 3)
    other = DBIRTH.replace("7", "8")
    found = parsed(
        streams,
        born(a=1),
        born(other, a=1, b=2),
        born(other, a=1, b=2, c=3),
        data(1, 5),
        data(1, 5, other),
    )
    assert [values(one) for one in found] == [
        "no_values", "no_values", "too_many_births", (5.0, None), UNKNOWN
    ]  # fmt: skip


# What is kept

Site = tuple[Database, Connection, Streams]


@pytest.fixture
def site(bare_database_url: str, streams: Streams) -> Iterator[Site]:
    """A prepared database of each kind in turn."""
    with prepared_database(bare_database_url, streams) as database, database.write() as connection:
        yield database, connection, streams


@pytest.fixture
def start(site: Site) -> Callable[..., Pipeline]:
    """Starts an ingester's pipeline."""
    database, connection, streams = site

    def started() -> Pipeline:
        pipeline = new_pipeline(database, streams)
        pipeline.resume(connection)
        return pipeline

    return started


def stored(site: Site) -> list[tuple[float | None, float | None]]:
    with site[0].read() as reader:
        rows = reader.execute(text("SELECT a, b FROM press_readings ORDER BY timestamp"))
        return [(row.a, row.b) for row in rows]


def kept(site: Site) -> list[tuple[str, str]]:
    with site[0].read() as reader:
        return [(row.node, row.device) for row in queries.certificates.certificates(reader)]


def test_a_certificate_counts_within_its_batch(site: Site, start: Callable[..., Pipeline]) -> None:
    batch = [born(a=1), data(1, 5), born(b=1), data(1, 6), born(NBIRTH, a=3), data(3, 7, NDATA)]
    assert start().handle(site[1], batch).stored == 3
    assert stored(site) == [(5.0, None), (None, 6.0), (7.0, None)]
    assert kept(site) == [("spBv1.0/plant/edge1", "")]


def test_the_next_ingester_knows_the_certificates(
    site: Site, start: Callable[..., Pipeline]
) -> None:
    start().handle(site[1], [born(NBIRTH, a=1), born(a=2), born(DBIRTH.replace("7", "8"), b=2)])
    start().handle(site[1], [data(1, 5, NDATA), data(2, 6), data(2, 7, DDATA.replace("7", "8"))])
    assert stored(site) == [(5.0, None), (6.0, None), (None, 7.0)]


def test_a_pipeline_that_did_not_resume_knows_them_too(
    site: Site, start: Callable[..., Pipeline]
) -> None:
    start().handle(site[1], [born(a=1)])
    new_pipeline(site[0], site[2]).handle(site[1], [data(1, 5)])
    assert stored(site) == [(5.0, None)]


def test_a_new_certificate_replaces_the_old_one(site: Site, start: Callable[..., Pipeline]) -> None:
    for birth in (born(a=1), born(a=2, b=1), born(a=2, b=1)):
        start().handle(site[1], [birth])
    start().handle(site[1], [data(1, 5), data(2, 6)])
    assert stored(site) == [(None, 5.0), (6.0, None)]
    assert len(kept(site)) == 1


def test_one_without_metrics_is_deleted(site: Site, start: Callable[..., Pipeline]) -> None:
    start().handle(site[1], [born(a=1)])
    start().handle(site[1], [born()])
    assert kept(site) == []


def test_what_an_old_session_brings_is_not_kept(site: Site, start: Callable[..., Pipeline]) -> None:
    start().handle(site[1], [born(a=1)])
    old = new_pipeline(site[0], site[2], recent=Unrecorded())
    old.handle(site[1], [born(b=1), data(1, 5)])
    start().handle(site[1], [data(1, 6)])
    assert stored(site) == [(None, 5.0), (6.0, None)]


# What fails and comes again


def test_a_batch_that_is_tried_again_means_the_same(
    site: Site, start: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = start()
    pipeline.handle(site[1], [born(a=1)])
    batch = [data(1, 5), born(b=1), data(1, 6)]
    with monkeypatch.context() as broken:

        def fail(*_: Any) -> None:
            raise Unavailable("gone")

        broken.setattr(queries.certificates, "replace", fail)
        with pytest.raises(Unavailable):
            pipeline.handle(site[1], batch)
    assert stored(site) == []
    pipeline.handle(site[1], [data(1, 4)])
    pipeline.handle(site[1], batch)
    assert stored(site) == [(4.0, None), (5.0, None), (None, 6.0)]


def test_a_batch_of_which_a_half_is_committed_means_the_same_when_it_is_tried_again(
    site: Site, start: Callable[..., Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = start()
    pipeline.handle(site[1], [born(a=1)])
    batch = [data(1, 5), born(b=1), data(1, 6), data(1, 7)]
    record = pipeline._recent.record
    answers = iter([ValueError("poison"), None, Unavailable("gone")])

    def fail(*args: Any) -> None:
        if (error := next(answers)) is not None:
            raise error
        record(*args)

    with monkeypatch.context() as broken:
        broken.setattr(pipeline._recent, "record", fail)
        with pytest.raises(Unavailable):
            pipeline.handle(site[1], batch)
    assert stored(site) == [(5.0, None)]
    pipeline.handle(site[1], batch)
    assert stored(site) == [(5.0, None), (None, 6.0), (None, 7.0)]


def test_a_redelivery_is_not_read_by_the_next_certificate(
    site: Site, start: Callable[..., Pipeline]
) -> None:
    start().handle(site[1], [born(a=1), data(1, 5, packet_id=7), born(b=1)])
    outcome = start().handle(site[1], [data(1, 5, packet_id=7, dup=True)])
    assert (outcome.stored, outcome.duplicate) == (0, 1)
    assert stored(site) == [(5.0, None)]


def test_a_message_that_is_set_aside_is_kept_whole(
    site: Site, start: Callable[..., Pipeline]
) -> None:
    message = data(1, 5)
    start().handle(site[1], [message])
    with site[0].read() as reader:
        (row,) = queries.rejected.page(reader, {}, 10, 0)
    assert (row["stream"], row["device_id"], row["reason"]) == ("press", "press7", UNKNOWN)
    assert row["payload"] == message.payload


def test_a_poisonous_message_does_not_lose_the_certificates_of_its_batch(
    site: Site, start: Callable[..., Pipeline]
) -> None:
    forbid_666(site[0], "press_readings", "a")
    batch = [born(a=1), data(1, 666), data(1, 5), born(b=1), data(1, 6)]
    assert len(start().handle(site[1], batch).rejections) == 1
    start().handle(site[1], [data(1, 7)])
    assert stored(site) == [(5.0, None), (None, 6.0), (None, 7.0)]
