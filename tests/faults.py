"""Devices that publish to an ingester that is killed, and the database that tells what is stored."""

import json
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from storage.dialects import dialect_of
from tests.support import PROJECT, BackendProcess, Mosquitto, connected_client, payload, wait_for

INGEST = [sys.executable, "-m", "ingest"]
GAUGE = 'topic = "gauge/{device_id}"\n[metrics.level]\nrequired = true\n'
SENSORS = PROJECT / "streams" / "sensors.toml"
EACH_DATABASE = pytest.mark.parametrize(
    "database_url",
    [
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.chaos),
        pytest.param("mariadb", marks=pytest.mark.chaos),
    ],
    indirect=True,
)
"""SQLite in the short form too, the servers in the long one."""


class Plant:
    """Devices that publish, an ingester that is killed, and the database that tells what is stored."""

    def __init__(self, folder: Path, broker: Mosquitto, url: str, seed: int) -> None:
        streams = folder / "streams"
        streams.mkdir()
        (streams / "sensors.toml").write_text(SENSORS.read_text())
        (streams / "gauge.toml").write_text(GAUGE)
        self.broker = broker
        self.random = random.Random(seed)
        self.published = 0
        self.engine: Engine = dialect_of(make_url(url)).create_engine()
        self.ingester = BackendProcess(
            folder,
            INGEST,
            DATABASE_URL=url,
            MQTT_BROKER="127.0.0.1",
            MQTT_PORT=str(broker.port),
            STREAMS_DIR=str(streams),
        )

    def start(self) -> None:
        """Start the ingester; it may still be connecting."""
        self.ingester.start(wait=False)

    def kill(self) -> None:
        """End it without a word of warning."""
        self.ingester.stop(signal.SIGKILL)

    def publish(self, count: int) -> Callable[[], None]:
        """Publish the next messages, half with a device time and half without; returns what waits for the broker."""
        client = connected_client(self.broker.port)
        infos = []
        for number in range(self.published, self.published + count):
            if number % 2:
                body = payload(temperature=number, timestamp=1_790_000_000 + number / 1000)
                infos.append(client.publish(f"sensors/board{number % 100}/data", body, qos=1))
            else:
                infos.append(
                    client.publish(f"gauge/{number % 100}", json.dumps({"level": number}), qos=1)
                )
        self.published += count

        def finish() -> None:
            for info in infos:
                info.wait_for_publish(300)
            client.disconnect()
            client.loop_stop()

        return finish

    def stored(self) -> int:
        """How many readings the database has; 0 while it is away or empty."""
        try:
            with self.engine.connect() as connection:
                return sum(
                    connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
                    for table in ("sensor_readings", "gauge_readings")
                )
        except DBAPIError:
            return 0

    def wait_until_stored(self, count: int) -> None:
        """Wait for so many readings."""
        wait_for(
            lambda: self.stored() >= count,
            seconds=300,
            what=f"{count} stored readings; see {self.ingester.console}",
        )

    def assert_everything_is_stored_once(self) -> None:
        """Compare the database with what was published, message by message."""
        self.wait_until_stored(self.published)
        with self.engine.connect() as connection:
            sensors = (
                connection.execute(text("SELECT temperature FROM sensor_readings")).scalars().all()
            )
            gauges = connection.execute(text("SELECT level FROM gauge_readings")).scalars().all()
            rejected = connection.execute(text("SELECT count(*) FROM rejected_messages")).scalar()
        assert sorted([*sensors, *gauges]) == list(range(self.published))
        assert rejected == 0


def plant(folder: Path, broker: Mosquitto, url: str, request: pytest.FixtureRequest) -> Plant:
    made = Plant(folder, broker, url, seed=7)
    request.addfinalizer(made.engine.dispose)
    request.addfinalizer(made.kill)
    return made
