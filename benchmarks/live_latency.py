"""From publish to a Socket.IO client that is subscribed to all readings, at 200 messages a second.

A reading's timestamp is the time at which the generator sent it; the client records the arrival on
the same clock. Each device sends 4 readings a second, below the rate at which live push coalesces
the readings of a device, so that every reading has to arrive.
The baseline is a plain MQTT client that receives the same from the broker, without the backend.
"""

import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import broker, socket_clients
from benchmarks.bench import Bench
from benchmarks.processes import answer, free_port, healthy, python, running, settings, wait_for
from benchmarks.report import ReportLine
from benchmarks.socket_clients import CrowdResult
from config import PROJECT

RATE, DEVICES = 200, 50
SECONDS, PLAIN_SECONDS = 20, 5
REQUIRED = 25
_GRACE_SECONDS = 1.0


def measure(bench: Bench) -> Iterator[ReportLine]:
    """Yield the median and 99th percentile in milliseconds, and how many readings arrived."""
    folder = bench.folder("live-latency")
    messages = RATE * (5 if bench.quick else SECONDS)
    with broker.fitting(folder / "broker") as mqtt_port:
        plain = _over_mqtt(folder, mqtt_port)
        received = _over_socket(folder, mqtt_port, messages)
    note = (
        f"{bench.broker}, `python app.py`, SQLite, {RATE} messages/s of {DEVICES} devices; "
        "one Socket.IO client; baseline: the same to a plain MQTT client"
    )
    middle, baseline = median(received.ages), median(plain)
    yield ReportLine(
        "publish to Socket.IO client, median",
        middle,
        "ms",
        baseline,
        middle / baseline,
        f"< {REQUIRED}",
        middle < REQUIRED,
        note,
    )
    high, baseline = quantiles(received.ages, n=100)[98], quantiles(plain, n=100)[98]
    yield ReportLine(
        "publish to Socket.IO client, 99 %",
        high,
        "ms",
        baseline,
        high / baseline,
        samples={"ms": received.ages, "mqtt": plain},
    )
    yield _arrived(received.events, messages)


def _arrived(events: int, messages: int) -> ReportLine:
    return ReportLine(
        "of them arrived",
        events,
        "readings",
        messages,
        events / messages,
        "= 1",
        events == messages,
    )


def _over_socket(folder: Path, mqtt_port: int, messages: int) -> CrowdResult:
    port = free_port()
    url = f"sqlite:///{folder}/bench.db"
    environment = settings(folder, url, mqtt_port, FLASK_PORT=str(port))
    with running([sys.executable, str(PROJECT / "app.py")], folder, environment):
        wait_for(lambda: healthy(port), "the backend")
        with socket_clients.crowd(folder, port, clients=1) as client:
            _publish(folder, mqtt_port, messages)
            time.sleep(_GRACE_SECONDS)
            return socket_clients.finish(client)


def _over_mqtt(folder: Path, mqtt_port: int) -> list[float]:
    """Return the milliseconds from a message's timestamp to its arrival at a plain MQTT client."""
    ages: list[float] = []
    subscribed: list[int] = []

    def on_message(_: object, __: object, message: paho.MQTTMessage) -> None:
        now = datetime.now(UTC).replace(tzinfo=None)
        sent_at = datetime.fromisoformat(json.loads(message.payload)["timestamp"])
        ages.append((now - sent_at).total_seconds() * 1000)

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = on_message
    client.on_subscribe = lambda *_: subscribed.append(1)
    client.connect("127.0.0.1", mqtt_port)
    client.loop_start()
    client.subscribe(broker.TOPIC, 1)
    wait_for(lambda: subscribed, "the subscription")
    _publish(folder, mqtt_port, RATE * PLAIN_SECONDS)
    wait_for(lambda: len(ages) == RATE * PLAIN_SECONDS, "the messages")
    client.disconnect()
    client.loop_stop()
    return ages


def _publish(folder: Path, port: int, messages: int) -> None:
    options = ("--port", port, "--messages", messages, "--rate", RATE, "--devices", DEVICES)
    with running(python("benchmarks.load", *options), folder, {}) as generator:
        answer(generator)
