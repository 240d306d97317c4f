"""Birth certificates of Sparkplug in the database: over a restart, in a batch that fails, and for redeliveries."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, text

import queries.certificates
import queries.rejected
from database import Database, Unavailable
from ingest.pipeline import Pipeline
from ingest.redelivery import Unrecorded
from streams.registry import Streams
from tests.declarations import Declare
from tests.pipelines import new_pipeline
from tests.rows import forbid_666
from tests.sparkplug import DBIRTH, DDATA, NBIRTH, NDATA, PRESS, born, data
from tests.support import prepared_database

UNKNOWN = "no_birth_certificate"


@pytest.fixture
def streams(declare: Declare) -> Streams:
    return declare(press=PRESS)


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


def test_an_ingester_that_takes_over_again_knows_what_the_other_one_stored(
    site: Site, start: Callable[..., Pipeline]
) -> None:
    first = start()
    first.handle(site[1], [born(a=1)])
    start().handle(site[1], [born(b=1)])
    first.resume(site[1])
    first.handle(site[1], [data(1, 5)])
    assert stored(site) == [(None, 5.0)]


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
