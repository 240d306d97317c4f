"""Notices: news of one process reach the others over a real broker, or all on_change that they may have missed some."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
import pytest
from sqlalchemy.engine import make_url

import queries.installation
from broker.notifier import MAX_ENTRIES, ChangeSet, Notifier
from config import Settings
from database import Database
from streams.registry import Streams
from tests.support import Mosquitto, publishing, wait_for
from wiring.backend import notices_topic

NOON = datetime(2026, 1, 29, 12)
GARBAGE = [
    b"", b"online", b"null", b"[]", b"{", b"\xff", b'{"commands":["\xff"]}', b'{"readings":{"\xff":[]}}',
    b'{"commands":"c"}', b'{"commands":[1]}', b'{"everything":1}', b'{"readings":{"sensors":["noon"]}}',
    b'{"commands":["\\ud800"]}', b'{"commands":["\\u0000"]}', b'{"x":' * 100_000, b"\0" * 1_000_000,
]  # fmt: skip
Make = Callable[..., Settings]


class NotifiedProcess:
    """What one process hears."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.heard: list[ChangeSet] = []
        self.notifier = Notifier(settings, partial(notices_topic, database))
        self.notifier.subscribe(self.heard.append)

    def tell(self, *command_ids: str) -> None:
        self.notifier.notify(ChangeSet(commands=list(command_ids)))

    @property
    def commands(self) -> list[str]:
        return [command_id for news in self.heard for command_id in news.commands]

    @property
    def reconnections(self) -> int:
        """How often it has heard, from itself, that it may have missed something."""
        return sum(news.everything and not news.origin for news in self.heard)


def has_heard(process: NotifiedProcess, count: int) -> bool:
    return len(process.commands) >= count


@contextlib.contextmanager
def processes(
    settings: Settings, *databases: Database, wait: bool = True
) -> Iterator[list[NotifiedProcess]]:
    """A process on each of these databases."""
    made = [NotifiedProcess(settings, database) for database in databases]
    for process in made:
        process.notifier.start()
    try:
        if wait:
            wait_for(
                lambda: all(process.notifier.listening for process in made),
                what="the subscriptions",
            )
            wait_for(
                lambda: all(process.reconnections == 1 for process in made), what="the first news"
            )
        yield made
    finally:
        for process in made:
            process.notifier.stop()


@pytest.fixture
def place(settings: Make, mosquitto: Mosquitto, request: pytest.FixtureRequest) -> Settings:
    """Where the broker is, and the version of the protocol."""
    version = getattr(request, "param", "3.1.1")
    return settings(mqtt_broker="127.0.0.1", mqtt_port=mosquitto.port, mqtt_protocol=version)


@pytest.mark.parametrize("place", ["3.1.1", "5"], indirect=True)
def test_news_reach_every_process_once_their_own_at_once(place: Settings, sqlite: Database) -> None:
    news = ChangeSet({"sensors": [NOON, NOON + timedelta(microseconds=1)]}, ["c-1"], ["機器 1"])
    with processes(place, sqlite, sqlite, sqlite) as (one, *others):
        one.notifier.notify(news)
        assert one.heard[1:] == [news]
        others[0].tell("c-2")
        wait_for(lambda: all(len(process.heard) == 3 for process in others), what="the news")
        wait_for(lambda: len(one.heard) == 3, what="the other's news")
        one.tell("last")
        wait_for(
            lambda: all(process.commands[-1] == "last" for process in others), what="the last news"
        )
    assert one.commands == ["c-1", "c-2", "last"], "nobody hears its own news from the broker"
    for process in others:
        assert sorted(process.commands) == ["c-1", "c-2", "last"]
        (found,) = [heard for heard in process.heard if heard.readings]
        assert (found.readings, found.commands, found.devices) == (
            news.readings,
            news.commands,
            news.devices,
        )


def test_nothing_new_is_not_told(place: Settings, sqlite: Database) -> None:
    with processes(place, sqlite, sqlite) as (one, other):
        one.notifier.notify(ChangeSet(origin="x"))
        one.tell("c")
        wait_for(lambda: other.commands, what="the news")
        assert (len(one.heard), len(other.heard)) == (2, 2)


@pytest.mark.parametrize("place", ["3.1.1", "5"], indirect=True)
def test_after_a_broker_restarts_everything_may_be_new_and_news_go_on(
    place: Settings, sqlite: Database, mosquitto: Mosquitto
) -> None:
    with processes(place, sqlite, sqlite) as (one, other):
        mosquitto.stop()
        wait_for(lambda: not (one.notifier.listening or other.notifier.listening), what="the loss")
        one.tell("while away")
        assert one.commands == ["while away"]
        mosquitto.start()
        wait_for(lambda: one.reconnections == other.reconnections == 2, what="the reconnection")
        other.tell("after")
        wait_for(lambda: "after" in one.commands, what="the news")
        one.tell("more")
        wait_for(lambda: "more" in other.commands, what="the news")


def test_news_wait_for_a_broker_that_is_away(
    place: Settings, sqlite: Database, mosquitto: Mosquitto
) -> None:
    mosquitto.stop()
    with processes(place, sqlite, wait=False) as (early,):
        before = time.monotonic()
        for number in range(MAX_ENTRIES):
            early.tell(f"c{number}")
        assert time.monotonic() - before < 2
        assert len(early.commands) == MAX_ENTRIES
        mosquitto.start()
        with processes(place, sqlite) as (late,):
            wait_for(lambda: early.notifier.listening, what="the subscription")
            early.tell("now")
            wait_for(lambda: "now" in late.commands, what="the news")


@pytest.mark.parametrize("count", [MAX_ENTRIES, MAX_ENTRIES + 1])
def test_of_too_many_news_that_waited_only_that_there_were_some_is_sent(
    place: Settings, sqlite: Database, count: int
) -> None:
    early = NotifiedProcess(place, sqlite)
    for number in range(count):
        early.tell(f"c{number}")
    with processes(place, sqlite) as (other,):
        early.notifier.start()
        (sent,) = wait_for(lambda: [news for news in other.heard if news.origin], what="the news")
        early.notifier.stop()
    if count > MAX_ENTRIES:
        assert (sent.everything, sent.commands, sent.readings, sent.devices) == (True, [], {}, [])
    else:
        assert (sent.everything, sent.commands) == (
            False,
            [f"c{number}" for number in range(count)],
        )


def test_a_storm_of_news_from_several_threads_loses_none(place: Settings, sqlite: Database) -> None:
    def tell(name: str) -> None:
        for number in range(500):
            one.tell(f"{name}{number}")

    with processes(place, sqlite, sqlite) as (one, other):
        threads = [threading.Thread(target=tell, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        wait_for(
            lambda: len(other.commands) == 2000 or any(news.everything for news in other.heard[1:])
        )
        if not any(news.everything for news in other.heard[1:]):
            assert sorted(other.commands) == sorted(one.commands)


def test_each_installation_hears_its_own_processes_only(
    place: Settings, sqlite: Database, streams: Streams, tmp_path: Path
) -> None:
    another = Database(make_url(f"sqlite:///{tmp_path}/another.db"), streams)
    another.prepare()
    with processes(place, sqlite, sqlite, another, another) as (one, two, three, four):
        one.tell("ours")
        three.tell("theirs")
        wait_for(lambda: two.commands and four.commands, what="the news")
        assert [process.commands for process in (one, two, three, four)] == [["ours"]] * 2 + [
            ["theirs"]
        ] * 2
    another.close()


@pytest.mark.process
def test_garbage_on_the_topic_is_ignored(
    settings: Make, sqlite: Database, fast_broker: int
) -> None:
    with sqlite.read() as reader:
        topic = f"autoforge/{queries.installation.installation(reader).notices_id}/notices"
    place = settings(mqtt_broker="127.0.0.1", mqtt_port=fast_broker)
    with processes(place, sqlite, sqlite) as (one, other), publishing(fast_broker) as publish:
        for number, garbage in enumerate(GARBAGE):
            publish(topic, garbage)
            one.tell(f"after {number}")
            wait_for(
                partial(has_heard, other, number + 1),
                seconds=5,
                what=f"news after {garbage[:40]!r}",
            )
        assert (len(one.heard), len(other.heard)) == (1 + len(GARBAGE), 1 + len(GARBAGE))


def test_news_are_added_up_to_a_limit() -> None:
    news = ChangeSet({"a": [NOON]}, ["c"])
    news.add(ChangeSet({"a": [NOON], "b": [NOON]}, ["d"], ["device"], origin="x"))
    assert news == ChangeSet({"a": [NOON, NOON], "b": [NOON]}, ["c", "d"], ["device"])
    news.add(ChangeSet(devices=[str(number) for number in range(MAX_ENTRIES)]))
    assert news == ChangeSet(everything=True)
    news.add(ChangeSet(commands=["later"]))
    assert (news.everything, bool(news), bool(ChangeSet(origin="x"))) == (True, True, False)


@pytest.mark.process
def test_a_flood_of_entries_on_the_topic_only_says_that_everything_may_be_new(
    settings: Make, sqlite: Database, fast_broker: int
) -> None:
    flood = ChangeSet(commands=[str(number) for number in range(50_000)], origin="x")
    with processes(settings(mqtt_broker="127.0.0.1", mqtt_port=fast_broker), sqlite) as (one,):
        before = len(one.heard)
        with publishing(fast_broker) as publish, sqlite.read() as reader:
            publish(
                f"autoforge/{queries.installation.installation(reader).notices_id}/notices",
                msgspec.json.encode(flood),
            )
        wait_for(lambda: any(news.everything and news.origin == "x" for news in one.heard[before:]))
        assert not one.commands
