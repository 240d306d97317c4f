"""The first start of this version on a database of the one before: no row is lost, none is stored twice."""

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import text
from sqlalchemy.engine import make_url

import queries.installation
import queries.newest
import queries.readings
from broker.message import Message
from config import PROJECT
from database import Database
from storage import backfill
from streams.registry import Streams
from tests import earlier_version
from tests.live import at_broker, serving
from tests.pipelines import new_pipeline
from tests.support import BackendProcess, Mosquitto, publishing, wait_for
from utils import clock

READINGS, WAITING = 100_000, 1_000
SCHEMA_OF_PART_5, SCHEMA_OF_PART_6 = "0009", "0011"
"""The last migrations of parts that stored readings as this version does."""


@pytest.fixture
def upgraded(bare_database_url: str, streams: Streams) -> Callable[[int], Database]:
    """Brings a database of the version before, with so many readings, up to date."""

    def make(readings: int) -> Database:
        earlier_version.make(bare_database_url, readings)
        database = Database(make_url(bare_database_url), streams)
        database.prepare()
        return database

    return make


def count(database: Database, table: str) -> int:
    with database.write() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_readings_of_the_version_before_are_known_again(
    upgraded: Callable[[int], Database], streams: Streams
) -> None:
    database = upgraded(2_000)
    told = [
        Message(topic, said.encode(), clock.now(), 1)
        for topic, said in map(earlier_version.message, range(2_010))
    ]
    with database.write() as connection:
        outcome = new_pipeline(database, streams).handle(connection, told)
    assert (outcome.stored, outcome.duplicate, len(outcome.rejections)) == (10, 2_000, 0)
    assert count(database, "sensor_readings") == 2_010
    database.close()


def test_the_devices_and_newest_values_of_the_version_before_are_known(
    upgraded: Callable[[int], Database],
) -> None:
    database = upgraded(2_000)
    with database.read() as reader:
        devices = queries.readings.devices(reader, "sensors", database.tables["sensors"])
        newest = queries.newest.values(reader, "panels", database.tables["panels"], "trafo0")
    assert [device["device_id"] for device in devices] == [
        f"board-{number}" for number in range(10)
    ]
    assert all(device["last_heard"] > device["last_seen"] for device in devices)
    assert {name: value for name, (value, _) in newest.items()} == {"voltage": 198.0}
    database.close()


def test_of_two_readings_that_become_equal_both_stay(
    upgraded: Callable[[int], Database], bare_database_url: str, streams: Streams
) -> None:
    database = upgraded(10)
    doubled = "INSERT INTO sensor_readings ({0}, fingerprint) SELECT {0}, fingerprint + 1 FROM sensor_readings"
    with database.write() as connection, database.transaction(connection):
        connection.execute(text("DELETE FROM stream_states"))
        names = "device_id, timestamp, temperature, vibration, gas, power, created_at"
        connection.execute(text(doubled.format(names)))
    database.prepare()
    assert count(database, "sensor_readings") == 20
    database.close()


def test_a_second_start_fills_in_nothing(
    upgraded: Callable[[int], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    database = upgraded(10)
    monkeypatch.setattr(backfill, "_begin", None)
    monkeypatch.setattr(backfill, "_fill_newest", None)
    database.prepare()
    database.close()


LOADED = """
import sys
from sqlalchemy.engine import make_url
from config import Settings
from database import Database
from streams.declaration import declared
Database(make_url(sys.argv[1]), declared(Settings(_env_file=None))).prepare()
print("alembic" in sys.modules)
"""


@pytest.mark.process
def test_a_start_loads_what_migrates_only_where_something_is_to_be_migrated(
    bare_database_url: str,
) -> None:
    command = [sys.executable, "-c", LOADED, bare_database_url]
    starts = [
        subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert starts == ["True\n", "False\n"]


def _of_part_4(url: str, _: Streams) -> str:
    """Make the database as part 4 left it; its client id."""
    earlier_version.make(url, READINGS)
    return earlier_version.CLIENT_ID


def _of_schema(revision: str, url: str, streams: Streams) -> str:
    """Make the database as a part left it that stored readings as this version does; its client id."""
    database = Database(make_url(url), streams)
    pipeline = new_pipeline(database, streams)
    with database.write() as connection:
        for begin in range(0, READINGS, 5_000):
            sent = map(earlier_version.message, range(begin, begin + 5_000))
            batch = [Message(topic, body.encode(), clock.now(), 1) for topic, body in sent]
            assert pipeline.handle(connection, batch).stored == 5_000
        with database.transaction(connection):
            client_id = queries.installation.client_id(connection)
            connection.execute(text("DROP TABLE anything_readings"))
    with database.engine.begin() as engine_connection:
        earlier_version.downgrade(engine_connection, revision)
    database.close()
    return client_id


@pytest.mark.process
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(_of_part_4, id="of part 4"),
        pytest.param(partial(_of_schema, SCHEMA_OF_PART_5), id="of part 5"),
        pytest.param(partial(_of_schema, SCHEMA_OF_PART_6), id="of part 6"),
    ],
)
def test_a_start_on_100000_readings_with_1000_messages_waiting_loses_and_doubles_none(
    tmp_path: Path, mosquitto: Mosquitto, streams: Streams, make: Callable[[str, Streams], str]
) -> None:
    """Half of what waits at the broker is stored already: its acknowledgement never reached the broker."""
    backend = at_broker(tmp_path / "backend", mosquitto)
    _register_session(mosquitto.port, make(f"sqlite:///{backend.folder}/sensors.db", streams))
    before = backend.folder / "sensors.db"
    panels = _count(before, "panels_readings")
    with publishing(mosquitto.port, wait=False) as publish:
        for number in range(READINGS - WAITING // 2, READINGS + WAITING // 2):
            publish(*earlier_version.message(number))
    counted = _counted(before)
    with serving(backend):
        wait_for(
            lambda: _received(backend) == counted["received"] + WAITING,
            seconds=60,
            what="the messages that waited",
        )
        mqtt = backend.get("/api/health")[1]["mqtt"]
        new = {name: mqtt[name] - counted[name] for name in ("stored", "duplicate", "rejected")}
        assert new == {"stored": WAITING // 2, "duplicate": WAITING // 2, "rejected": 0}
        assert backend.get("/api/sensors/stats")[1]["stats"]["count"] == READINGS + WAITING // 2
        assert backend.get("/api/panels/stats")[1]["stats"]["count"] == panels


def _count(file: Path, table: str) -> int:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _counted(file: Path) -> dict[str, int]:
    """What the version before has counted."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        query = (
            "SELECT received, stored, duplicate, rejected FROM ingest_status WHERE source = 'mqtt'"
        )
        row = connection.execute(query).fetchone() or (0, 0, 0, 0)
        return dict(zip(("received", "stored", "duplicate", "rejected"), row, strict=True))


def _received(backend: BackendProcess) -> int:
    return int(backend.get("/api/health")[1].get("mqtt", {}).get("received", 0))


def _register_session(port: int, client_id: str) -> None:
    """What an ingester of the version before left at the broker."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False)
    subscribed: list[bool] = []
    client.on_subscribe = lambda *_: subscribed.append(True)
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe("sensors/+/data", 1)
    wait_for(lambda: subscribed, what="the session of the version before")
    client.disconnect()
    client.loop_stop()
