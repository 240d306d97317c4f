"""The ingester's session at the broker: what is noted of it, and told when it is forgotten, used by others or left."""

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import text, update
from sqlalchemy.engine import make_url

import queries.ingest_status
import queries.installation
import queries.rejected
from config import Settings
from database import Database
from models import Installation
from services import status
from streams import declaration
from streams.registry import Streams
from tests.brokers import RealBroker, each_broker
from tests.ingesting import aside, ingesting, is_subscribed, received, wait_received
from tests.support import DEVICE_TOPICS, Mosquitto, payload, publishing, wait_for
from utils import clock

pytestmark = pytest.mark.long

Make = Callable[..., Settings]


def at(settings: Make, broker: RealBroker, **values: object) -> Settings:
    return settings(**broker.settings, **values)


def installation(database: Database) -> Installation:
    with database.read() as reader:
        return queries.installation.installation(reader)


def connect_with(client_id: str, port: int, *, clean: bool = True) -> None:
    """Somebody connects with a client id, and leaves again."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id, clean_session=clean)
    client.connect("127.0.0.1", port)
    wait_for(lambda: client.loop(0.1) == 0 and client.is_connected())
    client.disconnect()


Warnings = Callable[[], str]


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Warnings:
    """What was warned of our session until now."""

    def told() -> str:
        return "\n".join(
            one.message
            for one in caplog.records
            if one.levelno >= logging.WARNING and "session" in one.name
        )

    return told


def concerns(place: Settings, database: Database) -> str:
    told = status.health(place, database)
    assert (told["status"] == "degraded") == (told["message"] is not None)
    return told["message"] or ""


def test_a_session_that_the_broker_forgot_while_nobody_ingested_is_told(
    settings: Make,
    mosquitto: Mosquitto,
    sqlite: Database,
    streams: Streams,
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = at(settings, mosquitto)
    with ingesting(place, sqlite, streams):
        assert concerns(place, sqlite) == ""
    with ingesting(place, sqlite, streams):
        assert concerns(place, sqlite) == "", "the session is there still"
    connect_with(installation(sqlite).client_id, mosquitto.port)
    with ingesting(place, sqlite, streams):
        wait_for(lambda: "lost AutoForge's session" in concerns(place, sqlite), what="the concern")
    assert "forgot our session" in caplog.text
    assert "or another client used our client id" in caplog.text
    assert "that no other client uses AutoForge's client id" in concerns(place, sqlite)
    assert installation(sqlite).client_id not in concerns(place, sqlite)
    with ingesting(place, sqlite, streams):
        assert "lost AutoForge's session" in concerns(place, sqlite), "after a restart too"


def test_what_happened_to_the_session_is_told_for_a_while(settings: Make, sqlite: Database) -> None:
    for age, told in (
        (timedelta(minutes=9), 3),
        (timedelta(minutes=11), 2),
        (timedelta(hours=25), 0),
    ):
        with sqlite.write() as connection, sqlite.transaction(connection):
            moment = clock.now() - age
            connection.execute(update(Installation).values(evicted_at=moment, forgotten_at=moment))
        message = concerns(settings(), sqlite)
        assert message.count("client id") + message.count("lost AutoForge") == told
        assert message.startswith("MQTT: no process ingests")


def test_another_broker_is_no_forgotten_session_and_the_one_before_is_named(
    settings: Make,
    mosquitto: Mosquitto,
    tmp_path: Path,
    sqlite: Database,
    streams: Streams,
    warnings: Warnings,
) -> None:
    other = Mosquitto(tmp_path / "other")
    other.start()
    with ingesting(at(settings, mosquitto), sqlite, streams):
        pass
    with ingesting(at(settings, other), sqlite, streams):
        assert concerns(at(settings, other), sqlite) == ""
    other.stop()
    assert (
        f"If mqtt://127.0.0.1:{mosquitto.port} is another broker, run AutoForge there once more"
        in warnings()
    )


def test_a_session_that_is_forgotten_while_the_address_changes_is_told(
    settings: Make, mosquitto: Mosquitto, sqlite: Database, streams: Streams, warnings: Warnings
) -> None:
    with ingesting(at(settings, mosquitto), sqlite, streams):
        pass
    respelt = settings(mqtt_broker="localhost", mqtt_port=mosquitto.own_port)
    with ingesting(respelt, sqlite, streams):
        assert warnings() == "", "the session is there"
    connect_with(installation(sqlite).client_id, mosquitto.port)
    with ingesting(at(settings, mosquitto), sqlite, streams):
        sentence = (
            f"If it is the one at mqtt://localhost:{mosquitto.own_port}, it forgot our session"
        )
        assert sentence in warnings()
    assert installation(sqlite).client_id not in warnings()


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_another_client_with_our_client_id_degrades_the_health(
    settings: Make, mosquitto: Mosquitto, sqlite: Database, streams: Streams, version: str
) -> None:
    place = at(settings, mosquitto, mqtt_protocol=version)
    with ingesting(place, sqlite, streams):
        for _ in range(3):
            since = clock.now()
            connect_with(installation(sqlite).client_id, mosquitto.port, clean=False)
            wait_for(partial(is_subscribed, sqlite, since), what="the next connection")
        wait_for(
            lambda: "another client used AutoForge's client id" in concerns(place, sqlite),
            what="the concern",
        )
        assert installation(sqlite).client_id not in concerns(place, sqlite)


@each_broker
def test_a_broker_that_restarts_is_no_other_client(
    settings: Make, real_broker: RealBroker, sqlite: Database, streams: Streams
) -> None:
    place = at(settings, real_broker)
    with ingesting(place, sqlite, streams):
        since = clock.now()
        real_broker.stop()
        real_broker.start()
        wait_for(
            lambda: is_subscribed(sqlite, since + timedelta(seconds=1)), what="the next connection"
        )
        assert concerns(place, sqlite) == ""


def test_a_changed_client_id_is_a_warning_that_names_the_old_session(
    settings: Make,
    mosquitto: Mosquitto,
    sqlite: Database,
    streams: Streams,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for client_id in ("one", "one", "two"):
        assert "flask end-session" not in caplog.text
        with ingesting(at(settings, mosquitto, mqtt_client_id=client_id), sqlite, streams):
            pass
    assert "`flask end-session one`" in caplog.text


def test_packet_ids_of_another_session_are_no_redeliveries(
    settings: Make, mosquitto: Mosquitto, sqlite: Database, streams: Streams
) -> None:
    for before, client_id in enumerate(("one", "two")):
        with ingesting(at(settings, mosquitto, mqtt_client_id=client_id), sqlite, streams):
            with publishing(mosquitto.port) as publish:
                publish("panel/p/volt", "230")
            wait_received(sqlite, before + 1)
        with sqlite.read() as reader:
            assert reader.execute(text("SELECT count(*) FROM delivered_batches")).scalar() == 1


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_filters_of_an_earlier_version_are_given_up_so_that_nothing_comes_twice(
    settings: Make, mosquitto: Mosquitto, sqlite: Database, streams: Streams, version: str
) -> None:
    place = at(settings, mosquitto, mqtt_client_id="kept", mqtt_protocol=version)
    client = paho.Client(CallbackAPIVersion.VERSION2, "kept", clean_session=False)
    granted: list[int] = []
    client.on_subscribe = lambda *_: granted.append(1)
    client.connect("127.0.0.1", mosquitto.port)
    wait_for(client.is_connected) if client.loop_start() else None
    client.subscribe([(one, 1) for one in (*streams.subscriptions(), "removed/+")])
    wait_for(lambda: granted)
    client.disconnect()
    client.loop_stop()
    with sqlite.write() as connection, sqlite.transaction(connection):
        known = "" if version == "5" else '["panel/+/volt", "removed/+"]'
        connection.execute(update(Installation).values(session_filters=known or None))
    with ingesting(place, sqlite, streams), publishing(mosquitto.port) as publish:
        publish("panel/p/volt", "230")
        publish("sensors/a/data", payload(timestamp=None))
        if version == "3.1.1":
            publish("removed/a", "1")
        publish("panel/p/ampere", "1")
        wait_received(sqlite, 3)
        time.sleep(0.3)
        assert received(sqlite) == 3


def test_an_undeclared_quantity_is_set_aside(
    settings: Make, mosquitto: Mosquitto, sqlite: Database, streams: Streams
) -> None:
    with ingesting(at(settings, mosquitto), sqlite, streams), publishing(mosquitto.port) as publish:
        publish("panel/t1/nothing", "1")
        wait_received(sqlite, 1)
    (row,) = aside(sqlite)
    assert (row["stream"], row["topic"], row["payload"]) == ("panels", "panel/t1/nothing", b"1")
    assert row["message"].endswith("its metrics are volt, ampere, power, energy_cost")


def test_with_a_catch_all_every_message_is_accounted_for_once(
    settings: Make, mosquitto: Mosquitto, sqlite: Database
) -> None:
    place = at(settings, mosquitto, catch_all_topic="#", mqtt_protocol="5")
    with (
        ingesting(place, sqlite, declaration.declared(place)),
        publishing(mosquitto.port) as publish,
    ):
        for topic in ("control/a/command", "autoforge/x/notices", "harit-samarth/status"):
            publish(topic, "own")
        publish("panel/p/volt", "230")
        publish("sensors/a/dta", payload())
        publish("panel/p/vlot", "230")
        publish("panel/p/ampere", "1")
        wait_received(sqlite, 4)
    with sqlite.read() as reader:
        now = queries.ingest_status.ingest_status(reader)["mqtt"]
    assert (now.received, now.stored, now.rejected) == (4, 2, 2)
    assert sorted(row["topic"] for row in aside(sqlite)) == ["panel/p/vlot", "sensors/a/dta"]


def test_a_stream_that_is_removed_is_no_longer_subscribed_to(
    settings: Make, mosquitto: Mosquitto, sqlite: Database, streams: Streams, tmp_path: Path
) -> None:
    (tmp_path / "halls").mkdir()
    (tmp_path / "halls" / "halls.toml").write_text('topic = "hall/{device_id}"\n[metrics.t]\n')
    more = declaration.load(tmp_path / "halls", {}, DEVICE_TOPICS)
    database = Database(make_url(f"sqlite:///{tmp_path}/test.db"), more)
    with ingesting(at(settings, mosquitto), database, more):
        pass
    database.close()
    with publishing(mosquitto.port) as publish:
        publish("hall/a", "1")
        with ingesting(at(settings, mosquitto), sqlite, streams):
            publish("hall/a", "2")
            publish("panel/p/volt", "230")
            wait_received(sqlite, 2)
    (row,) = aside(sqlite)
    assert (row["topic"], row["payload"]) == ("hall/a", b"1"), (
        "what waited is set aside, and nothing comes any more"
    )
