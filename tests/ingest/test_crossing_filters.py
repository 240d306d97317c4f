"""Streams with overlapping topics at a real broker: every message is counted, and counted once."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

import queries.ingest_status
from config import PROJECT, Settings
from database import Database
from ingest.ending import Target, end_session
from models import IngestStatus
from streams import declaration
from streams.registry import Streams
from tests.ingesting import aside, ingesting, wait_received
from tests.pipelines import new_pipeline
from tests.support import DEVICE_TOPICS, Mosquitto, prepared_database, publishing, wait_for

pytestmark = pytest.mark.long

Make = Callable[..., Settings]
Declared = Callable[..., Streams]
ESP = 'topic = "{device_id}/sensors/{metric}"\n[metrics.temp]\n'
LAB = 'topic = "lab/{device_id}/{metric}"\n[metrics.val]\n'
TELE = 'topic = "{device_id}/tele/STATE"\n[metrics.t]\n'
MISSPELT = [
    "panel/t1/nothing",
    "e1/sensors/humidty",
    "lab/e1/vall",
    "lab/sensors/vall",
    "panel/sensors/x",
]
KNOWN = [
    "panel/t1/volt",
    "e1/sensors/temp",
    "lab/e1/val",
    "lab/sensors/val",
    "lab/sensors/temp",
    "panel/sensors/temp",
]
PANEL = "panel/sensors/temp"
"""A topic that two filters match."""

versions = pytest.mark.parametrize("version", ["3.1.1", "5"])


@pytest.fixture
def declared(tmp_path: Path) -> Declared:
    """The shipped streams, and others beside them."""

    def make(**files: str) -> Streams:
        folder = tmp_path / "-".join(["streams", *files])
        folder.mkdir(exist_ok=True)
        shipped = {file.stem: file.read_text() for file in (PROJECT / "streams").glob("*.toml")}
        for name, toml in (shipped | files).items():
            (folder / f"{name}.toml").write_text(toml)
        return declaration.load(folder, {}, DEVICE_TOPICS)

    return make


def counts(database: Database) -> IngestStatus:
    with database.read() as reader:
        return queries.ingest_status.ingest_status(reader)["mqtt"]


def rows(database: Database, table: str) -> int:
    with database.read() as reader:
        return int(reader.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def has_readings(database: Database, count: int) -> bool:
    return rows(database, "esp_readings") == count


def accounted(database: Database, messages: int) -> IngestStatus:
    """The counts, once so many different messages have come."""
    wait_for(
        lambda: counts(database).received - counts(database).duplicate >= messages,
        what="the messages",
    )
    return counts(database)


@versions
@pytest.mark.parametrize(
    ("files", "misspelt", "known"),
    [
        ({"esp": ESP, "lab": LAB}, MISSPELT, KNOWN),
        (
            {"tele": TELE, "lab": LAB},
            ["panel/t1/nothing", "panel/tele/nothing", "lab/e1/vall"],
            ["panel/t1/volt"],
        ),
    ],
)
def test_a_misspelt_quantity_is_set_aside_and_a_known_one_stored_once_where_topics_cross(
    settings: Make,
    mosquitto: Mosquitto,
    tmp_path: Path,
    declared: Declared,
    version: str,
    files: dict[str, str],
    misspelt: list[str],
    known: list[str],
) -> None:
    streams = declared(**files)
    place = settings(mqtt_broker="127.0.0.1", mqtt_port=mosquitto.port, mqtt_protocol=version)
    with (
        prepared_database(f"sqlite:///{tmp_path}/test.db", streams) as database,
        publishing(mosquitto.port) as publish,
    ):
        with ingesting(place, database, streams):
            for topic in (*misspelt, *known):
                publish(topic, "1")
            publish("status/sensors", "online")
            publish("control/sensors/ack", '{"command_id": "c1"}')
            publish("status/tele", "online")
            now = accounted(database, len(misspelt) + len(known) + 3)
        assert sorted(row["topic"] for row in aside(database)) == sorted(misspelt)
        assert now.stored == len(known) + 2
        assert now.received == now.stored + now.rejected + now.duplicate


@versions
def test_what_waited_at_the_broker_is_stored_once_where_topics_cross(
    settings: Make, mosquitto: Mosquitto, tmp_path: Path, declared: Declared, version: str
) -> None:
    streams = declared(esp=ESP, lab=LAB)
    place = settings(mqtt_broker="127.0.0.1", mqtt_port=mosquitto.port, mqtt_protocol=version)
    with prepared_database(f"sqlite:///{tmp_path}/test.db", streams) as database:
        with ingesting(place, database, streams):
            pass
        with publishing(mosquitto.port) as publish:
            for topic in (PANEL, PANEL, "lab/sensors/vall"):
                publish(topic, "1")
        mosquitto.stop()
        mosquitto.start()
        with ingesting(place, database, streams), publishing(mosquitto.port) as publish:
            publish(PANEL, "1")
            now = accounted(database, 4)
        assert (now.stored, now.rejected, rows(database, "esp_readings")) == (3, 1, 3)


@versions
def test_nothing_that_waited_is_taken_for_a_copy_when_a_crossing_stream_is_declared_or_removed(
    settings: Make, mosquitto: Mosquitto, tmp_path: Path, declared: Declared, version: str
) -> None:
    both, esp = declared(esp=ESP, lab=LAB), declared(esp=ESP)
    place = settings(mqtt_broker="127.0.0.1", mqtt_port=mosquitto.port, mqtt_protocol=version)
    received = 0
    for streams in (both, esp, both):
        with prepared_database(f"sqlite:///{tmp_path}/test.db", streams) as database:
            if received:
                # Waiting in the session with the filters of before; what comes by one of two is not the less for it.
                with publishing(mosquitto.port) as publish:
                    publish(
                        "lab/sensors/temp",
                        f'{{"value": {received}, "timestamp": "2026-01-0{received}T00:00:00Z"}}',
                    )
                    publish("lab/e1/temp", "1")
            with ingesting(place, database, streams), publishing(mosquitto.port) as publish:
                received += 1
                publish(
                    PANEL, f'{{"value": {received}, "timestamp": "2026-01-0{received}T00:00:00Z"}}'
                )
                wait_for(partial(has_readings, database, 2 * received - 1), what="the readings")


def test_what_waits_in_a_session_that_is_ended_is_stored_once_where_topics_cross(
    settings: Make, mosquitto: Mosquitto, tmp_path: Path, declared: Declared
) -> None:
    streams = declared(esp=ESP, lab=LAB)
    old, new = (
        settings(
            mqtt_broker="127.0.0.1",
            mqtt_port=mosquitto.port,
            mqtt_protocol="5",
            mqtt_client_id=client_id,
        )
        for client_id in ("old", "new")
    )
    with prepared_database(f"sqlite:///{tmp_path}/test.db", streams) as database:
        with ingesting(old, database, streams):
            pass
        with publishing(mosquitto.port) as publish:
            publish(PANEL, "1")
        with ingesting(new, database, streams):
            pass
        pipeline = new_pipeline(database, streams)
        taken = end_session(new, streams, Target(database, pipeline), "old")
        assert (taken.stored, taken.duplicate, rows(database, "esp_readings")) == (1, 1, 1)


def test_with_mqtt_5_a_copy_is_counted_as_a_duplicate(
    settings: Make, mosquitto: Mosquitto, tmp_path: Path, declared: Declared
) -> None:
    streams = declared(esp=ESP)
    place = settings(mqtt_broker="127.0.0.1", mqtt_port=mosquitto.port, mqtt_protocol="5")
    with (
        prepared_database(f"sqlite:///{tmp_path}/test.db", streams) as database,
        publishing(mosquitto.port) as publish,
    ):
        with ingesting(place, database, streams):
            publish(PANEL, "1")
            wait_received(database, 2)
        now = counts(database)
        assert (now.received, now.stored, now.duplicate, now.first_deliveries) == (2, 1, 1, 2)
