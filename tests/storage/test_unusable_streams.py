"""A stream that cannot be used is named, and never stops the others; its messages are set aside."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paho.mqtt.client import topic_matches_sub
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

import queries.readings
from broker.message import Message
from config import PROJECT, Settings
from database import Database
from ingest.ingester import Ingester
from ingest.message import Reading, Rejection
from ingest.payload import Parser
from ingest.presence import PresenceNotice
from services import status
from streams import declaration
from streams.checks import StreamError
from streams.registry import Streams
from streams.reserved import RESERVED_COLUMNS
from tests.api import Api, reading, running
from tests.declarations import METRIC, TOPIC, Declare
from tests.pipelines import new_pipeline
from tests.rows import MOMENT
from tests.support import DEVICE_TOPICS, Mosquitto, publishing, wait_for
from utils import clock
from wiring.pipelines import DeviceKinds

SENSORS = (PROJECT / "streams" / "sensors.toml").read_text()
TEXTS = "".join(f'[metrics.t{number}]\ntype = "text"\n' for number in range(80))
BAD = "[metrics.t]\nrate = 1\n"


def test_a_file_that_cannot_be_used_stops_no_other(declare: Declare, tmp_path: Path) -> None:
    streams = declare(good=TOPIC + METRIC, bad=f'topic = "b/{{device_id}}"\n{BAD}')
    assert [stream.name for stream in streams] == ["good"]
    assert streams.unusable == {
        "bad": f"{tmp_path}/bad.toml: metrics.t: Object contains unknown field `rate`"
    }


def test_a_setting_whose_topic_another_setting_has_stops_the_start(declare: Declare) -> None:
    with pytest.raises(
        StreamError, match=r"SENSOR_TOPIC=status/{device_id}: overlaps with STATUS_TOPIC"
    ):
        declare({"sensors": "status/{device_id}"}, sensors=TOPIC + METRIC, good=TOPIC + METRIC)


@pytest.mark.parametrize(
    ("text", "taken", "left"),
    [
        (f'topic = "b/{{device_id}}/{{metric}}"\n{BAD}', "b/1/t", "b/1"),
        (f'topic = "b/+"\n{BAD}', "b/1", "b/1/t"),
        (f'topic = "b"\nrate = 1\n{METRIC}', "b", "c"),
        (f'topic = "b/#"\n{BAD}', "b/1/2", "c/b"),
        (f'topic = "b/{{device_id...}}"\n{BAD}', "b/1/2", "b"),
        (f'topic = "$aws/{{device_id}}"\n{BAD}', "$aws/1", "$SYS/1"),
        ("topic = 'b/{device_id}'\n[metrics.t\n", "b/1", "b/1/t"),
    ],
)
def test_the_messages_of_a_file_that_cannot_be_used_are_set_aside(
    text: str, taken: str, left: str, declare: Declare
) -> None:
    streams = declare(good=TOPIC + METRIC, bad=text)
    found = streams.unusable_at(taken)
    assert found is not None
    assert (found.name, found.reason) == ("bad", streams.unusable["bad"])
    assert streams.unusable_at(left) is None
    assert sum(topic_matches_sub(filter_, taken) for filter_ in streams.subscriptions()) == 1


@pytest.mark.parametrize("topic", ["a/{device_id}", "status/+", "#", "+/+", "", "b//c"])
def test_a_topic_that_others_have_or_that_takes_everything_is_not_subscribed_for_it(
    topic: str, declare: Declare
) -> None:
    streams = declare(good=TOPIC + METRIC, bad=f'topic = "{topic}"\n{BAD}')
    assert streams.subscriptions() == ["a/+", "control/+/ack", "status/+"]


def test_the_messages_of_a_file_that_cannot_be_used_are_set_aside_where_its_topic_crosses_another(
    declare: Declare,
) -> None:
    streams = declare(good=TOPIC + METRIC, bad=f'topic = "{{device_id}}/x"\n{BAD}')
    assert streams.knows_all_topics
    assert {"a/+", "+/x"} <= {*streams.filters}
    parser = Parser(streams, DeviceKinds.of(streams.device_topics))
    for topic, becomes in (("b/x", Rejection), ("a/x", Reading), ("status/x", PresenceNotice)):
        message = Message(topic, b"online" if topic == "status/x" else b'{"t": 1}', clock.now())
        assert isinstance(parser.parse(message), becomes), topic


def test_declarations_that_differ_have_different_digests(declare: Declare) -> None:
    first = declare(good=TOPIC + METRIC).digest
    assert declare(good=TOPIC + METRIC).digest == first
    assert declare(good=f"{TOPIC}{METRIC}# changed\n").digest != first


def stored_and_set_aside(
    database: Database, streams: Streams, *topics: str
) -> tuple[int, list[tuple[str, bytes]]]:
    """What becomes of a message on each topic: how many are stored, and the others' reasons and bytes."""
    messages = [
        Message(topic, b'{"t": 1}', clock.now(), packet_id=place)
        for place, topic in enumerate(topics, 1)
    ]
    with database.write() as connection:
        outcome = new_pipeline(database, streams).handle(connection, messages)
    with database.read() as reader:
        rejected = reader.execute(
            text("SELECT reason, payload FROM rejected_messages ORDER BY id")
        ).all()
    return outcome.stored, [(reason, bytes(kept)) for reason, kept in rejected]


def test_nothing_of_an_unusable_declaration_is_lost(database_url: str, declare: Declare) -> None:
    streams = declare(good=TOPIC + METRIC, bad=f'topic = "b/{{device_id}}"\n{BAD}')
    database = Database(make_url(database_url), streams)
    found = stored_and_set_aside(database, streams, "a/1", "b/1", "b/2")
    database.close()
    assert found == (1, [("stream_unusable", b'{"t": 1}')] * 2)


def test_nothing_for_an_unusable_table_is_lost(database_url: str, declare: Declare) -> None:
    number = 'topic = "b/{device_id}"\n[metrics.t]\n'
    before = Database(
        make_url(database_url), declare(good=TOPIC + METRIC, bad=f'{number}type = "text"\n')
    )
    before.prepare()
    before.close()
    streams = declare(good=TOPIC + METRIC, bad=number)
    database = Database(make_url(database_url), streams)
    found = stored_and_set_aside(database, streams, "a/1", "b/1")
    database.close()
    assert found == (1, [("stream_unusable", b'{"t": 1}')])


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
def test_a_table_that_is_too_wide_for_the_database_stops_its_stream_alone(
    database_url: str, declare: Declare
) -> None:
    streams = declare(good=TOPIC + METRIC, wide=f'topic = "b/{{device_id}}"\n{TEXTS}')
    database = Database(make_url(database_url), streams)
    database.prepare()
    database.close()
    assert database.unusable == {
        "wide": "table wide_readings: the metrics are too many for one table of this database: "
        "declare a second stream for some of them"
    }


@pytest.mark.parametrize("count", [1_100, 2_500])
def test_a_stream_with_more_columns_than_the_database_takes_stops_no_other(
    database_url: str, declare: Declare, count: int
) -> None:
    wide = METRIC + "".join(f"[metrics.t{number}]\n" for number in range(count))
    streams = declare(good=TOPIC + METRIC, wide=f'topic = "b/{{device_id}}"\n{wide}')
    database = Database(make_url(database_url), streams)
    stored, set_aside = stored_and_set_aside(database, streams, "a/1", "b/1")
    fits = "wide" not in database.unusable
    database.close()
    assert (stored, len(set_aside)) == ((2, 0) if fits else (1, 1))


SYSTEM_COLUMNS = {
    "sqlite": (),
    "postgresql": ("cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"),
    "mysql": ("DB_ROLL_PTR", "DB_ROW_ID", "DB_TRX_ID", "FTS_DOC_ID", "db_row_id"),
}


def test_every_name_that_this_database_refuses_for_a_column_is_reserved(database_url: str) -> None:
    engine = create_engine(database_url)
    for name in {
        *SYSTEM_COLUMNS[engine.dialect.name],
        "system_time",
        "row_start",
        "user",
        "rownum",
    }:
        column = engine.dialect.identifier_preparer.quote_identifier(name)
        refused = False
        try:
            with engine.begin() as connection:
                connection.execute(
                    text(f"CREATE TABLE {name}_t (id INTEGER PRIMARY KEY, {column} FLOAT)")
                )
        except DBAPIError:
            refused = True
        assert (refused, name.lower() in RESERVED_COLUMNS) in ((True, True), (False, False)), name
    engine.dispose()


def test_a_metric_of_which_the_case_changes_keeps_its_column(
    database_url: str, declare: Declare
) -> None:
    before = Database(make_url(database_url), declare(x=TOPIC + "[metrics.Temp]\n"))
    before.prepare()
    with before.write() as connection, before.transaction(connection):
        before.write_batch(connection, before.tables["x"], [("a", MOMENT, None, 1.5, 1)], MOMENT)
    before.close()
    after = Database(make_url(database_url), declare(x=TOPIC + "[metrics.temp]\n"))
    after.prepare()
    with after.write() as connection, after.transaction(connection):
        after.write_batch(connection, after.tables["x"], [("a", MOMENT, None, 2.5, 2)], MOMENT)
    with after.read() as reader:
        rows = queries.readings.history(
            reader, after.tables["x"], queries.readings.TimeFilter(), 10
        )
        columns = reader.execute(text("SELECT * FROM x_readings")).keys()
    after.close()
    assert [row["temp"] for row in rows] == [2.5, 1.5]
    assert [name.lower() for name in columns].count("temp") == 1


@pytest.fixture
def api(settings: Callable[..., Settings], tmp_path: Path) -> Iterator[Api]:
    """An app with a usable stream, one with an unusable file and one with an unusable table."""
    folder = tmp_path / "declared"
    folder.mkdir()
    (folder / "sensors.toml").write_text(SENSORS)
    state = 'topic = "b/{device_id}"\n[metrics.t]\n'
    (folder / "table.toml").write_text(state)
    before = Database(settings().url, declaration.load(folder, {}, DEVICE_TOPICS))
    before.prepare()
    before.close()
    (folder / "table.toml").write_text(f'{state}type = "text"\n')
    (folder / "file.toml").write_text(f'topic = "c/{{device_id}}"\n{BAD}')
    with running(settings(streams_dir=folder)) as made:
        yield made


@pytest.mark.database
@pytest.mark.parametrize("name", ["table", "file"])
def test_requests_for_an_unusable_stream_are_told_why_and_the_others_are_answered(
    api: Api, name: str
) -> None:
    for path in ("latest", "history", "stats", "devices", "live"):
        assert api.get(f"/api/{name}/{path}", 503)["message"].startswith(
            f"The stream {name} cannot be used: "
        )
    assert api.post(f"/api/{name}/readings", {"device_id": "a", "t": 1}, 503)["message"]
    api.submit(reading())


@pytest.mark.database
def test_health_names_every_unusable_stream(api: Api) -> None:
    health = api.get("/api/health")
    assert health["status"] == "degraded"
    assert set(health["streams"]["unusable"]) == {"file", "table"}
    assert "The stream file cannot be used: " in health["message"]
    assert (
        "The stream table cannot be used: table table_readings: column t holds number"
        in health["message"]
    )


def rejected_of(
    settings: Settings, broker: Mosquitto, streams: Streams, expected: int
) -> list[tuple[str, str]]:
    """Ingest one message on b/1; reason and topic of all rejected messages once so many messages have come, ever."""
    database = Database(settings.url, streams)
    ingester = Ingester(settings, database, streams, new_pipeline(database, streams))
    ingester.start()
    wait_for(
        lambda: status.health(settings, database)["mqtt"]["subscribed"], what="the subscription"
    )
    with publishing(broker.port) as publish:
        publish("b/1", b'{"t": 1}')
    wait_for(
        lambda: status.health(settings, database)["mqtt"]["received"] == expected,
        what="the message",
    )
    ingester.stop()
    with database.read() as reader:
        rows = reader.execute(text("SELECT reason, topic FROM rejected_messages")).all()
    database.close()
    return [(reason, topic) for reason, topic in rows]


def test_what_was_subscribed_stays_so_while_a_file_does_not_tell_its_topic(
    settings: Callable[..., Settings], mosquitto: Mosquitto, declare: Declare
) -> None:
    values = settings(mqtt_port=mosquitto.port)
    usable = declare(good=TOPIC + METRIC, bad='topic = "b/{device_id}"\n[metrics.t]\n')
    assert rejected_of(values, mosquitto, usable, 1) == []
    unreadable = declare(bad="nothing of it = can be read")
    for expected in (2, 3):  # also after another start
        rejected = rejected_of(values, mosquitto, unreadable, expected)
        assert rejected == [("unknown_topic", "b/1")] * (expected - 1)
