"""Presence in one stream, on the topic of its `[presence]`, beside that of all streams."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

import queries.presence
import queries.readings
from broker.message import Message
from config import Settings
from database import Database
from ingest.kinds import Readable
from ingest.message import Ignored, Parsed, Rejection
from ingest.outcome import Outcome
from ingest.payload import Parser
from ingest.presence import PresenceNotice, StreamPresence
from models import EXCLUDED
from streams.registry import Streams
from tests.api import Api, running
from tests.brokers import RealBroker, each_broker
from tests.declarations import METRIC, Declare
from tests.devices import DeviceClient, board
from tests.parsing import RECEIVED
from tests.pipelines import new_pipeline
from tests.support import prepared_database, wait_for
from utils import clock
from wiring.pipelines import DeviceKinds

PLUGS = f"""topic = "tele/{{device_id}}/SENSOR"
except = ["test", "LWT"]
[presence]
topic = "tele/{{device_id}}/LWT"
online = "Online"
offline = ["Offline", '{{"state":"offline"}}']
{METRIC}"""
OTHERS = f"""topic = "other/{{device_id}}"
[presence]
topic = "other/{{device_id}}/up"
{METRIC}"""


@pytest.fixture
def streams(declare: Declare) -> Streams:
    return declare(plugs=PLUGS, others=OTHERS)


# What is understood


@pytest.fixture
def parse(streams: Streams) -> Callable[..., Parsed]:
    kinds: list[Readable] = [*DeviceKinds.of(streams.device_topics), *StreamPresence.of(streams)]
    parser = Parser(streams, kinds)
    return lambda topic, payload: parser.parse(Message(topic, payload, RECEIVED))


@pytest.mark.parametrize(
    ("payload", "online"),
    [
        (b"Online", True),
        (b" Offline\n", False),
        (b'{ "state": "offline" }', False),
        (b"", None),
    ],
)
def test_a_word_is_a_notice_of_the_stream(
    payload: bytes, online: bool | None, parse: Callable[..., Parsed]
) -> None:
    parsed = parse("tele/plug/LWT", payload)
    assert isinstance(parsed, PresenceNotice)
    assert (parsed.stream, parsed.device_id, parsed.online) == ("plugs", "plug", online)


@pytest.mark.parametrize("payload", [b"online", b" ", b"on fire", b'{"state":"offline","a":1}'])
def test_anything_else_is_set_aside_and_told_what_was_expected(
    payload: bytes, parse: Callable[..., Parsed]
) -> None:
    parsed = parse("tele/plug/LWT", payload)
    assert isinstance(parsed, Rejection)
    expected = 'online = Online or offline = Offline or {"state":"offline"}'
    told = f"plugs.toml: presence: expected {expected}, not {payload.decode().strip()}"
    found = (parsed.stream, parsed.device_id, parsed.reason, parsed.text)
    assert found == ("plugs", "plug", "invalid_presence", told)


def test_a_device_id_that_cannot_be_one_is_set_aside(parse: Callable[..., Parsed]) -> None:
    parsed = parse("tele/../LWT", b"Online")
    assert isinstance(parsed, Rejection)
    assert (parsed.stream, parsed.reason) == ("plugs", "invalid_device_id")


def test_a_level_that_the_stream_excepts_is_ignored(parse: Callable[..., Parsed]) -> None:
    parsed = parse("tele/test/LWT", b"Online")
    assert isinstance(parsed, Ignored)
    assert parsed.reason == EXCLUDED


# What counts

Say = Callable[..., Outcome]


@pytest.fixture
def made(bare_database_url: str, streams: Streams) -> Iterator[Database]:
    """A prepared database of each kind in turn, with these streams."""
    with prepared_database(bare_database_url, streams) as database:
        yield database


@pytest.fixture
def say(made: Database, streams: Streams) -> Iterator[Say]:
    connection: Connection
    with made.write() as connection:
        pipeline = new_pipeline(made, streams)

        def said(*told: tuple[str, str], retained: bool = False) -> Outcome:
            now = clock.now()
            messages = [
                Message(topic, text.encode(), now, retained=retained) for topic, text in told
            ]
            return pipeline.handle(connection, messages)

        said(("tele/a/SENSOR", '{"t":1}'), ("other/a", '{"t":1}'))
        yield said


def online(database: Database, stream: str = "plugs") -> bool | None:
    table = database.tables[stream]
    with database.read() as reader:
        (device,) = queries.readings.devices(reader, stream, table, has_presence=True)
    found: bool | None = device["online"]
    return found


OWN, ALL = "tele/a/LWT", "status/a"


@pytest.mark.parametrize(
    ("batches", "plug", "other"),
    [
        ([[(OWN, "Online")]], True, None),
        ([[("other/a/up", "online")], [(OWN, "Offline")]], False, True),
        ([[(ALL, "online")]], True, True),
        ([[(ALL, "online")], [(OWN, "Offline")]], False, True),
        ([[(OWN, "Offline")], [(ALL, "online")]], True, True),
        ([[(OWN, "Offline"), (ALL, "online")]], True, True),
        ([[(ALL, "online"), (OWN, "Offline")]], False, True),
        ([[(OWN, "Online")], [(ALL, "offline")], [(OWN, "Online")]], True, False),
        ([[(ALL, "offline")], [(OWN, "Online")], [(ALL, "offline")]], False, False),
        ([[(OWN, "Online")], [(ALL, "offline")], [(ALL, "")]], True, None),
        ([[(ALL, "offline")], [(OWN, "Online")], [(OWN, "")]], False, False),
        ([[(OWN, "Online")], [(OWN, "")]], None, None),
    ],
)
def test_of_what_was_said_in_the_stream_and_to_all_the_newer_counts(
    batches: list[list[tuple[str, str]]],
    plug: bool | None,
    other: bool | None,
    say: Say,
    made: Database,
) -> None:
    for batch in batches:
        say(*batch)
    assert (online(made), online(made, "others")) == (plug, other)


def test_the_newer_counts_though_the_clock_was_set_back(
    say: Say, made: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    say((OWN, "Online"))
    monkeypatch.setattr(clock, "now", lambda: RECEIVED)
    say((ALL, "offline"))
    assert online(made) is False


def test_a_retained_message_that_the_broker_repeats_changes_nothing(
    say: Say, made: Database
) -> None:
    assert say((OWN, "Online"), retained=True).stored == 1
    say((ALL, "offline"))
    again = say((OWN, "Online"), (ALL, "offline"), retained=True)
    assert (again.stored, again.duplicate, again.changes.devices) == (0, 2, [])
    assert online(made) is False


def test_what_repeats_itself_changes_nothing_unless_it_was_contradicted(say: Say) -> None:
    say((OWN, "Online"), (ALL, "online"))
    assert say((OWN, "Online"), ("other/a/up", "offline"), (OWN, "Online")).stored == 1
    assert say((ALL, "online")).stored == 1
    assert say((ALL, "online")).duplicate == 1


def test_a_device_is_forgotten_in_every_stream(say: Say, made: Database) -> None:
    say((OWN, "Online"), (ALL, "online"), ("status/b", "online"))
    with made.write() as connection, made.transaction(connection):
        queries.presence.forget(connection, "a")
        left = queries.presence.presence(connection, ["a", "b"])
    assert [row["device_id"] for row in left] == ["b"]


# With a broker


@pytest.fixture
def api(
    settings: Callable[..., Settings], real_broker: RealBroker, tmp_path: Path
) -> Iterator[Api]:
    folder = tmp_path / "declared"
    folder.mkdir()
    (folder / "plugs.toml").write_text(PLUGS)
    with running(settings(**real_broker.settings, streams_dir=folder), start=True) as api:
        yield api


@each_broker
@pytest.mark.process
def test_the_will_of_a_device_marks_it_offline(api: Api, real_broker: RealBroker) -> None:
    def listed() -> list[bool | None]:
        return [item["online"] for item in api.get("/api/plugs/devices")["devices"]]

    wait_for(lambda: api.get("/api/health")["status"] == "healthy", what="the subscription")
    device = DeviceClient(real_broker.port)
    device.publish("tele/plug/SENSOR", '{"t": 1}')
    wait_for(lambda: listed() == [None], what="the reading")
    with board(
        real_broker.port, "plug", topic="tele/plug/LWT", online="Online", offline="Offline"
    ) as plug:
        wait_for(lambda: listed() == [True], what="its first word")
        plug.kill()
        wait_for(lambda: listed() == [False], what="its last will")
    device.publish("tele/plug/LWT", "on fire")
    wait_for(lambda: api.get("/api/rejected")["data"], what="the rejection")
    (rejected,) = api.get("/api/rejected")["data"]
    assert (rejected["stream"], rejected["reason"]) == ("plugs", "invalid_presence")
    device.close()
