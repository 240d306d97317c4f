"""The server's clock is set: nothing is missed, nothing is dated by a time that is over, nothing is given up."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlalchemy.engine import make_url

from broker.message import Message
from broker.notifier import ChangeSet
from broker.publisher import Publisher
from config import Settings
from database import Database
from ingest.heartbeat import Heartbeat
from jobs.worker import JobWorker
from queries.positions import first_stored_after
from services import analyses as analyses_module
from services import changes as changes_module
from services.analyses import Analyses
from services.submissions import Submissions
from streams import declaration
from streams.registry import Streams
from tests.parsing import RECEIVED as NOON
from tests.parsing import SHAPES
from tests.pipelines import new_pipeline
from tests.sites import ALL, Site, left_out, said
from tests.support import DEVICE_TOPICS, Clock, wait_for
from utils import clock

STEPS = [timedelta(hours=1), timedelta(days=365)]
EVERYTHING = ChangeSet(everything=True)


@pytest.mark.parametrize("step", STEPS, ids=str)
@pytest.mark.parametrize("ahead_first", [True, False], ids=["set back", "set ahead"])
def test_a_live_client_misses_nothing_when_the_clock_is_set(
    site: Site, hands: Clock, step: timedelta, ahead_first: bool
) -> None:
    hands.ahead = step if ahead_first else timedelta(0)
    site.changes.skip()
    site.store(("a", 1))
    assert said(site.changes.read(EVERYTHING)) == [("a", 1)]
    hands.ahead = step - hands.ahead
    site.store(("b", 2))
    site.command("1", "sent")
    assert said(site.changes.read(EVERYTHING)) == [("b", 2), ("1", "sent")]
    site.store(("c", 3))
    assert said(site.changes.read(EVERYTHING)) == [("c", 3)]


def test_of_several_batches_a_live_client_sees_the_newest_that_is_not_from_the_future(
    site: Site,
) -> None:
    present = (clock.now() - NOON).total_seconds()
    site.changes.skip()
    site.store(("a", present + 3600))
    site.store(("a", present))
    site.store(("b", present + 3600))
    site.store_panel(("p", present + 3600, 1.0, None))
    site.store_panel(("p", present, 2.0, None))
    shown = said(site.changes.read(EVERYTHING))
    assert shown == [("p", ("ampere", 2.0)), ("a", present), ("b", present + 3600)]


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_since_an_id_nothing_is_missing_when_the_clock_was_set_back(
    site: Site, hands: Clock, step: timedelta
) -> None:
    hands.ahead = step
    site.store(("a", 1))
    site.store(("a", 2))
    hands.ahead = timedelta(0)
    for second in (3, 4, 5):
        site.store(("a", second))
    site.command("1", "sent")
    found = said(site.another().missed(ALL, 2))
    assert [value for name, value in found if name == "a"][-3:] == [3, 4, 5]
    assert ("1", "sent") in found
    assert said(site.another().missed(ALL, 4))[-2:] == [("a", 4), ("a", 5)]


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_since_a_time_nothing_that_was_stored_later_is_missing(
    site: Site, hands: Clock, step: timedelta
) -> None:
    start = clock.now()
    site.store(("a", 1))
    for number, ahead in enumerate((-step, step, timedelta(0)), start=2):
        hands.ahead = ahead
        site.store(("a", number))
    found = said(site.another().missed(ALL, start))
    assert [value for _, value in found] == [1, 2, 3, 4]


@pytest.mark.parametrize("step", [timedelta(minutes=10), timedelta(days=365)], ids=str)
@pytest.mark.parametrize(
    "back", [timedelta(0), timedelta(hours=1), timedelta(days=1)], ids=lambda back: f"-{back}"
)
@pytest.mark.parametrize("caught_up", [False, True], ids=["still ahead", "caught up"])
def test_since_a_time_what_was_stored_before_the_clock_was_set_back_is_not_missing(
    site: Site, hands: Clock, step: timedelta, back: timedelta, caught_up: bool
) -> None:
    start = clock.now()
    for number, ahead in enumerate((step, step, timedelta(0), timedelta(0)), start=1):
        hands.ahead = ahead
        site.store(("a", number))
    if caught_up:
        hands.ahead = step
    assert said(site.another().missed(ALL, start - back)) == [
        ("a", number) for number in (1, 2, 3, 4)
    ]


@pytest.mark.parametrize(
    "steps", [(1, -1, 0), (-1, 1, 0), (1, 0, -1), (0, 1, -1), (2, 1, 0)], ids=str
)
def test_since_a_time_nothing_that_was_stored_after_a_later_one_is_missing(
    site: Site, hands: Clock, steps: tuple[int, ...]
) -> None:
    start = clock.now()
    for number, ahead in enumerate(steps, start=1):
        hands.ahead = ahead * timedelta(hours=1)
        site.store(("a", number))
    found = said(site.another().missed(ALL, start))
    # A reading that is dated earlier, and has no later one before it, cannot be told from an old one.
    first = next(number for number, ahead in enumerate(steps, start=1) if ahead >= 0)
    assert found == [("a", number) for number in range(first, 4)]


def test_since_a_time_little_is_sent_though_the_clock_was_far_ahead_once(
    site: Site, hands: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes_module, "MAX_LOOK_BACK", 3)
    right = clock.now()
    site.store(("ahead", 1), at=right + timedelta(days=365))
    for hour in range(10):
        site.store(("a", hour), at=right + timedelta(hours=hour))
    hands.ahead = timedelta(hours=9)
    found = said(site.another().missed(ALL, right + timedelta(hours=8)))
    assert found == [("ahead", 1)] + [("a", hour) for hour in range(5, 10)]


@pytest.mark.parametrize("step", [*STEPS, timedelta(minutes=10)], ids=str)
def test_since_a_time_that_is_still_to_come_no_state_is_missing(
    site: Site, hands: Clock, step: timedelta
) -> None:
    hands.ahead = step
    site.store(("a", 1))
    seen = clock.now()
    hands.ahead = timedelta(0)
    site.store(("a", 2))
    site.command("1", "sent")
    site.presence("a", online=True)
    found = said(site.another().missed(ALL, seen))
    assert found == [("1", "sent"), ("a", True), ("a", 1), ("a", 2)]


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_who_begins_is_not_told_what_was_stored_before_the_clock_was_set_back(
    site: Site, hands: Clock, step: timedelta
) -> None:
    hands.ahead = step
    for second in (1, 2, 3):
        site.store(("a", 10 + second))
    hands.ahead = timedelta(0)
    begins = site.another()
    begins.skip()
    assert begins.read(EVERYTHING) == []
    begins.skip()
    site.store(("a", 4))
    events = begins.read(EVERYTHING)
    assert (said(events), left_out(events)) == ([("a", 4)], [])


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_who_begins_just_before_the_clock_is_set_back_misses_nothing(
    site: Site, hands: Clock, step: timedelta
) -> None:
    hands.ahead = step
    site.changes.skip()
    hands.ahead = timedelta(0)
    site.store(("a", 1))
    assert said(site.changes.read(EVERYTHING)) == [("a", 1)]


@pytest.mark.database
def test_since_a_time_only_the_times_of_what_was_stored_since_are_read(
    tank: tuple[Database, Streams],
) -> None:
    database, _ = tank
    table = database.tables["tank"]
    many, some = 100_000, 100
    rows = [
        {
            "device_id": "a",
            "timestamp": clock.EPOCH,
            "fingerprint": number,
            "created_at": _second(number),
        }
        for number in range(many)
    ]
    steps: list[None] = []
    with database.write() as connection:
        with database.transaction(connection):
            connection.execute(insert(table), rows)
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.set_progress_handler(lambda: steps.append(None), 1_000)
        assert first_stored_after(connection, table, _second(many - some - 1)) == many - some + 1
        raw.set_progress_handler(None, 1_000)
    # Of the crossing transactions 20,000 rows are looked at, in five steps each.
    assert len(steps) < 150


def _second(number: int) -> datetime:
    return clock.EPOCH + timedelta(seconds=number)


def test_since_an_id_that_is_committed_after_a_later_one_nothing_is_missing(site: Site) -> None:
    if site.database.engine.dialect.name == "sqlite":  # which has one writer at a time
        site.store(("slow", 1))
        site.store(("quick", 2))
    else:
        database = site.database
        with (
            database.write() as slow,
            database.write() as quick,
            database.transaction(slow),
        ):
            site.write(slow, "sensors", [site.row("slow", 1)], clock.now())
            with database.transaction(quick):
                site.write(quick, "sensors", [site.row("quick", 2)], clock.now())
            assert said(site.another().missed(ALL, 0)) == [("quick", 2)]
    assert ("slow", 1) in said(site.another().missed(ALL, 2))


def test_two_writers_of_a_stream_commit_in_the_order_of_their_ids(site: Site) -> None:
    pipelines = [new_pipeline(site.database, site.streams, "http") for _ in range(2)]
    for number, pipeline in enumerate(pipelines):
        with site.database.write() as connection:
            told = Message(f"panel/{number}/ampere", b"5", clock.now())
            assert pipeline.handle(connection, [told]).stored == 1
    assert [value for _, value in said(site.another().missed(ALL._replace(stream="panel"), 0))] == [
        ("ampere", 5)
    ] * 2


@pytest.fixture
def tank(tmp_path: Path) -> Iterator[tuple[Database, Streams]]:
    folder = tmp_path / "declared"
    folder.mkdir()
    (folder / "tank.toml").write_text(SHAPES["tank"])
    streams = declaration.load(folder, {}, DEVICE_TOPICS)
    database = Database(make_url(f"sqlite:///{tmp_path}/tank.db"), streams)
    database.prepare()
    yield database, streams
    database.close()


@pytest.mark.database
@pytest.mark.parametrize("step", STEPS, ids=str)
def test_readings_without_a_time_get_the_present_one_after_the_clock_was_set_back(
    tank: tuple[Database, Streams], hands: Clock, step: timedelta
) -> None:
    database, streams = tank
    submissions = Submissions(database, new_pipeline(database, streams, "http"))
    hands.ahead = step
    submissions.submit(streams["tank"], b'{"level": 1}', "a", None)
    hands.ahead = timedelta(0)
    receipt = submissions.submit(streams["tank"], b'[{"level": 2}, {"level": 2}]', "a", None)
    assert receipt.stored == 2
    for reading in receipt.readings:
        assert reading is not None
        assert abs((reading.timestamp - clock.now()).total_seconds()) < 60


@pytest.mark.database
def test_the_log_tells_once_that_the_clock_was_set_ahead(
    tank: tuple[Database, Streams], hands: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    database, _ = tank
    heartbeat = Heartbeat(database)
    with database.write() as connection:
        for ahead in (0, 0, 3600, 3600, 3600):
            hands.ahead = timedelta(seconds=ahead)
            heartbeat.beat(connection, None)
    assert [
        line for line in caplog.messages if "was set ahead by 3600.0 s" in line
    ] == caplog.messages[-1:]
    assert len(caplog.messages) == 1


@pytest.mark.database
@pytest.mark.parametrize("step", [*STEPS, timedelta(seconds=45)], ids=str)
@pytest.mark.parametrize(
    "ahead", [(0, 1, 0, 0, 1), (1, 0, 0, 1, 0)], ids=["begins right", "begins ahead"]
)
def test_every_reading_is_analysed_when_the_clock_is_set_back(
    settings: Callable[..., Settings],
    streams: Streams,
    hands: Clock,
    monkeypatch: pytest.MonkeyPatch,
    step: timedelta,
    ahead: tuple[int, ...],
) -> None:
    values = settings()
    database = Database(values.url, streams)
    database.prepare()
    published: list[bytes] = []
    monkeypatch.setattr(
        Publisher, "publish", lambda _, __, payload, **___: published.append(payload)
    )
    monkeypatch.setattr(analyses_module, "_analysis", lambda _, row: row["device_id"].encode())
    monkeypatch.setattr(Analyses, "interval", 0.05)
    submissions = Submissions(database, new_pipeline(database, streams, "http"))
    hands.ahead = ahead[0] * step
    worker = JobWorker(database, [Analyses(values, database, streams)])
    worker.start()
    names: list[bytes] = []
    try:
        for name, steps in zip(("a1", "b1", "b2", "c1"), ahead[1:], strict=True):
            hands.ahead = steps * step
            submissions.submit(streams["soil"], _soil(name), None, None)
            names.append(name.encode())
            wait_for(
                lambda: [said for said in published if len(said) == 2] == names,
                what=f"the analysis of {name}",
            )
    finally:
        worker.stop()
        database.close()


def _soil(name: str) -> bytes:
    values = '"N":22,"P":17,"K":150,"CO2":500,"Temperature":20,"Moisture":50,"pH":7'
    return f'{{"publisher_id": "{name}", "sensor_readings": {{{values}}}}}'.encode()
