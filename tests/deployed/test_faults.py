"""Faults: whatever is killed or stopped, every published message is stored, and none twice.

The short forms run with the other tests, the long ones with `make chaos`.
"""

import contextlib
import json
import os
import random
import re
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from benchmarks import load
from benchmarks.broker import lets_in
from tests.faults import EACH_DATABASE, plant
from tests.live import at_broker, serving
from tests.support import (
    BackendProcess,
    Mosquitto,
    PostgresServer,
    connected_client,
    free_port,
    payload,
    publishing,
    wait_for,
)

SHORT = pytest.param(4_000, 3, id="short")
LONG = pytest.param(20_000, 10, id="long", marks=pytest.mark.chaos)


@pytest.mark.process
@pytest.mark.parametrize(("messages", "kills"), [SHORT, LONG])
@pytest.mark.parametrize("database_url", ["sqlite", "postgresql", "mariadb"], indirect=True)
def test_an_ingester_killed_at_random_moments_loses_and_doubles_nothing(
    tmp_path: Path,
    mosquitto: Mosquitto,
    database_url: str,
    request: pytest.FixtureRequest,
    messages: int,
    kills: int,
) -> None:
    made = plant(tmp_path, mosquitto, database_url, request)
    made.start()
    wait_for(
        lambda: "Subscribed" in made.ingester.console.read_text(), what="the first subscription"
    )
    for _ in range(kills):
        before = made.published
        finish = made.publish(messages // kills)
        made.wait_until_stored(before + made.random.randrange(messages // kills))
        made.kill()
        finish()
        made.start()
    made.publish(messages - made.published)()
    made.assert_everything_is_stored_once()


@pytest.mark.process
@pytest.mark.parametrize(("messages", "stops"), [SHORT, LONG])
def test_a_broker_that_restarts_meanwhile_loses_and_doubles_nothing(
    tmp_path: Path, mosquitto: Mosquitto, request: pytest.FixtureRequest, messages: int, stops: int
) -> None:
    made = plant(tmp_path, mosquitto, f"sqlite:///{tmp_path}/test.db", request)
    made.start()
    wait_for(
        lambda: "Subscribed" in made.ingester.console.read_text(), what="the first subscription"
    )
    for _ in range(stops):
        before = made.published
        made.publish(messages // stops)()
        made.wait_until_stored(before + made.random.randrange(messages // stops))
        mosquitto.stop()
        mosquitto.start()
    made.publish(messages - made.published)()
    made.assert_everything_is_stored_once()


@pytest.mark.process
@pytest.mark.parametrize(("messages", "stops"), [SHORT, LONG])
def test_a_database_that_is_stopped_meanwhile_loses_and_doubles_nothing(
    tmp_path: Path,
    mosquitto: Mosquitto,
    own_postgres: PostgresServer,
    request: pytest.FixtureRequest,
    messages: int,
    stops: int,
) -> None:
    made = plant(tmp_path, mosquitto, own_postgres.url, request)
    made.start()
    wait_for(
        lambda: "Subscribed" in made.ingester.console.read_text(), what="the first subscription"
    )
    for _ in range(stops):
        before = made.published
        finish = made.publish(messages // stops)
        made.wait_until_stored(before + made.random.randrange(messages // stops))
        made.engine.dispose()
        own_postgres.stop()
        finish()
        own_postgres.start()
    made.publish(messages - made.published)()
    made.assert_everything_is_stored_once()


WORD = re.compile(r"[\w.:-]{4,65}")


@contextlib.contextmanager
def overheard(port: int) -> Iterator[set[str]]:
    """Every word of every topic and payload that a device can receive."""
    words: set[str] = set()
    client = connected_client(port)
    client.on_message = lambda _, __, message: words.update(
        WORD.findall(f"{message.topic} {message.payload.decode(errors='replace')}")
    )
    client.subscribe([("#", 0), ("$SYS/#", 0)])
    yield words
    client.disconnect()
    client.loop_stop()


def shown(backend: BackendProcess) -> set[str]:
    """Every word that the API answers about itself."""
    paths = ("/health", "/api/health", "/api/streams", "/api/mqtt/status", "/api/sensor/status")
    return {word for path in paths for word in WORD.findall(json.dumps(backend.get(path)[1]))}


@pytest.mark.process
@EACH_DATABASE
@pytest.mark.parametrize(("messages", "kills"), [SHORT, LONG])
def test_a_client_that_takes_every_id_it_can_learn_wipes_no_message_that_waits(
    tmp_path: Path, mosquitto: Mosquitto, database_url: str, messages: int, kills: int
) -> None:
    made = at_broker(tmp_path / "backend", mosquitto, DATABASE_URL=database_url)
    with overheard(mosquitto.port) as heard, serving(made) as backend:
        wait_for(backend.ready, what="a healthy backend")
        published = 0
        for _ in range(kills):
            known = sorted(heard | shown(backend))
            assert {"autoforge", "AutoForge"} <= set(known)
            backend.stop(signal.SIGKILL)
            with publishing(mosquitto.port, wait=False) as publish:
                for number in range(published, published + messages // kills):
                    publish(f"sensors/board{number % 100}/data", payload(temperature=number))
            published += messages // kills
            for name in known:
                load.connect(mosquitto.port, name).close()
            backend.start()
        counted = partial(_count, backend)
        wait_for(lambda: counted() >= published, seconds=300, what="all that was acknowledged")
        assert counted() == published


def _count(backend: BackendProcess) -> int:
    return int(backend.get("/api/sensors/stats")[1]["stats"]["count"])


@pytest.mark.broker
@pytest.mark.process
@pytest.mark.parametrize(("messages", "kills"), [SHORT, LONG])
@pytest.mark.parametrize("victim", ["backend", "broker"])
def test_what_the_embedded_broker_acknowledged_survives_the_kill_of_both(
    tmp_path: Path, victim: str, messages: int, kills: int
) -> None:
    port, chance = free_port(), random.Random(7)
    with serving(BackendProcess(tmp_path, None, MQTT_PORT=str(port))) as backend:
        for turn in range(kills):
            wait_for(partial(_is_subscribed, backend), seconds=60, what="the subscription")
            wait_for(partial(lets_in, port), what="a broker that lets devices in")
            client = connected_client(port)
            numbers = range(turn * (messages // kills), (turn + 1) * (messages // kills))
            infos = [
                client.publish(
                    f"sensors/board{number % 100}/data", payload(temperature=number), qos=1
                )
                for number in numbers
            ]
            infos[chance.randrange(len(infos))].wait_for_publish(60)
            if victim == "backend":
                backend.stop(signal.SIGKILL)
                backend.start()
            else:
                wait_for(
                    partial(_kill_embedded_broker, tmp_path), what="a broker that can be killed"
                )
            for info in infos:
                info.wait_for_publish(120)
            client.disconnect()
            client.loop_stop()
        published = kills * (messages // kills)
        wait_for(
            lambda: _count(backend) >= published, seconds=120, what="all that was acknowledged"
        )
        assert _count(backend) == published
        assert (backend.answers() or {})["mqtt"]["rejected"] == 0


def _kill_embedded_broker(folder: Path) -> bool:
    """Kill it, unless it is just being started again."""
    with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
        os.kill(int((folder / "sensors.db.broker" / "broker.pid").read_text()), signal.SIGKILL)
        return True
    return False


def _is_subscribed(backend: BackendProcess) -> bool:
    return bool((backend.answers() or {}).get("mqtt", {}).get("subscribed"))
