"""The server's clock is set: nothing is missed, nothing is dated by a time that is over, nothing is given up."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from config import Settings
from database import Database
from ingest.pipeline import Pipeline
from mqtt_client import Message
from mqtt_notices import News
from mqtt_publisher import Publisher
from services import analyses as analyses_module
from services.analyses import Analyses
from services.submissions import Submissions
from streams import declaration
from streams.registry import Streams
from tests.parsing import SHAPES
from tests.sites import ALL, KINDS, Site, prepared_site, said
from tests.support import DEVICE_TOPICS, ignore, wait_for
from utils import clock

STEPS = [timedelta(hours=1), timedelta(days=365)]
EVERYTHING = News(everything=True)


class Clock:
    """The server's clock, which the test sets."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)
        self._right = clock.now

    def now(self) -> datetime:
        return self._right() + self.ahead


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(clock, "now", made.now)
    return made


@pytest.fixture(scope="module", params=KINDS)
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with prepared_site(request, tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture
def site(prepared: Site) -> Site:
    prepared.empty()
    return prepared


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


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_since_an_id_nothing_is_missing_when_the_clock_was_set_back(site: Site, hands: Clock, step: timedelta) -> None:
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
def test_since_a_time_nothing_that_was_stored_later_is_missing(site: Site, hands: Clock, step: timedelta) -> None:
    start = clock.now()
    site.store(("a", 1))
    for number, ahead in enumerate((-step, step, timedelta(0)), start=2):
        hands.ahead = ahead
        site.store(("a", number))
    found = said(site.another().missed(ALL, start))
    assert [value for _, value in found] == [1, 2, 3, 4]


def test_since_an_id_that_is_committed_after_a_later_one_nothing_is_missing(site: Site) -> None:
    if site.database.engine.dialect.name == "sqlite":  # which has one writer at a time
        site.store(("slow", 1))
        site.store(("quick", 2))
    else:
        database = site.database
        with database.connection() as slow, database.connection() as quick, database.transaction(slow):
            site.write(slow, "sensors", [site.row("slow", 1)], clock.now())
            with database.transaction(quick):
                site.write(quick, "sensors", [site.row("quick", 2)], clock.now())
            assert said(site.another().missed(ALL, 0)) == [("quick", 2)]
    assert ("slow", 1) in said(site.another().missed(ALL, 2))


def test_two_writers_of_a_stream_commit_in_the_order_of_their_ids(site: Site) -> None:
    pipelines = [Pipeline(site.database, site.streams, "http", ignore) for _ in range(2)]
    for number, pipeline in enumerate(pipelines):
        with site.database.connection() as connection:
            told = Message(f"panel/{number}/ampere", b"5", clock.now())
            assert pipeline.handle(connection, [told]).stored == 1
    assert [value for _, value in said(site.another().missed(ALL._replace(stream="panel"), 0))] == [("ampere", 5)] * 2


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


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_readings_without_a_time_get_the_present_one_after_the_clock_was_set_back(
    tank: tuple[Database, Streams], hands: Clock, step: timedelta
) -> None:
    database, streams = tank
    submissions = Submissions(database, Pipeline(database, streams, "http", ignore))
    hands.ahead = step
    submissions.submit(streams["tank"], b'{"level": 1}', "a", None)
    hands.ahead = timedelta(0)
    receipt = submissions.submit(streams["tank"], b'[{"level": 2}, {"level": 2}]', "a", None)
    assert receipt.stored == 2
    for reading in receipt.readings:
        assert reading is not None
        assert abs((reading.timestamp - clock.now()).total_seconds()) < 60


@pytest.mark.parametrize("step", [*STEPS, timedelta(seconds=45)], ids=str)
def test_every_reading_is_analysed_when_the_clock_is_set_back(
    settings: Callable[..., Settings],
    streams: Streams,
    hands: Clock,
    monkeypatch: pytest.MonkeyPatch,
    step: timedelta,
) -> None:
    values = settings()
    database = Database(values.url, streams)
    database.prepare()
    published: list[bytes] = []
    monkeypatch.setattr(Publisher, "publish", lambda _, __, payload, **___: published.append(payload))
    monkeypatch.setattr(analyses_module, "_analysis", lambda _, row: row["device_id"].encode())
    monkeypatch.setattr(analyses_module, "POLL_SECONDS", 0.05)
    submissions = Submissions(database, Pipeline(database, streams, "http", ignore))
    analyses = Analyses(values, database, streams)
    analyses.start()
    names: list[bytes] = []
    try:
        for name, ahead in (("a1", step), ("b1", timedelta(0)), ("b2", timedelta(0)), ("c1", step)):
            hands.ahead = ahead
            submissions.submit(streams["soil"], _soil(name), None, None)
            names.append(name.encode())
            wait_for(lambda: [said for said in published if len(said) == 2] == names, what=f"the analysis of {name}")
    finally:
        analyses.stop()
        database.close()


def _soil(name: str) -> bytes:
    values = '"N":22,"P":17,"K":150,"CO2":500,"Temperature":20,"Moisture":50,"pH":7'
    return f'{{"publisher_id": "{name}", "sensor_readings": {{{values}}}}}'.encode()
