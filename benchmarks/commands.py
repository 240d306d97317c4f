"""The round trip of a command: `POST /api/control?wait=10` with a `ping` to a simulated board.

The request stores and publishes the command, the board answers over MQTT, the ingester stores the
answer and the request returns it. There is one request at a time, on one connection.
The baseline pings the boards over MQTT alone, before the backend runs: it is the time that the
broker and the boards take.
"""

import http.client
import json
import queue
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import broker
from benchmarks.bench import Bench
from benchmarks.processes import free_port, healthy, python, running, settings, wait_for
from benchmarks.report import ReportLine
from config import PROJECT
from utils.json_types import JsonObject

BOARDS = 10
WARM_UP = 20
COMMANDS = 300
REQUIRED = 20


def measure(bench: Bench) -> Iterator[ReportLine]:
    """Yield the median and the 99th percentile in milliseconds."""
    number = 100 if bench.quick else COMMANDS
    samples, plain = _round_trips(bench.folder("commands"), number)
    note = (
        f"{number} pings to {BOARDS} boards of `python -m simulators`, each 200 and succeeded; "
        f"{bench.broker}, `python app.py`, SQLite; baseline: a client that pings over MQTT"
    )
    middle, baseline = median(samples), median(plain)
    yield ReportLine(
        "command round trip, median",
        middle,
        "ms",
        baseline,
        middle / baseline,
        f"< {REQUIRED}",
        middle < REQUIRED,
        note,
    )
    high, baseline = quantiles(samples, n=100)[98], quantiles(plain, n=100)[98]
    yield ReportLine(
        "command round trip, 99 %",
        high,
        "ms",
        baseline,
        high / baseline,
        samples={"ms": samples, "mqtt": plain},
    )


def _round_trips(folder: Path, number: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds of the pings over HTTP and over MQTT, without the warm-up."""
    with broker.fitting(folder / "broker") as mqtt_port:
        port = free_port()
        url = f"sqlite:///{folder}/bench.db"
        environment = settings(folder, url, mqtt_port, FLASK_PORT=str(port))
        with running(python("simulators", "--devices", BOARDS), folder, environment):
            plain = list(_over_mqtt(mqtt_port, WARM_UP + number))
            with running([sys.executable, str(PROJECT / "app.py")], folder, environment):
                wait_for(lambda: healthy(port), "the backend")
                samples = list(over_http(port, WARM_UP + number))
    return samples[WARM_UP:], plain[WARM_UP:]


def over_http(port: int, number: int) -> Iterator[float]:
    """Yield the milliseconds of each ping. Raises RuntimeError for one that does not succeed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for count in range(number):
        body = json.dumps({"device_id": _board(count), "command": "ping"})
        headers = {"Content-Type": "application/json"}
        started = time.perf_counter()
        connection.request("POST", "/api/control?wait=10", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        yield 1000 * (time.perf_counter() - started)
        if answer.status != 200 or not _succeeded(json.loads(text)):
            raise RuntimeError(f"ping number {count + 1} was answered {answer.status} {text!r}")
    connection.close()


def _succeeded(command: JsonObject) -> bool:
    return command["status"] == "succeeded" and command["result"]["pong"] is True


def _over_mqtt(port: int, number: int) -> Iterator[float]:
    answers: queue.Queue[JsonObject] = queue.Queue()
    online: set[str] = set()
    subscribed = threading.Event()

    def on_message(_: object, __: object, message: paho.MQTTMessage) -> None:
        if message.topic.startswith("status/"):
            online.add(message.topic)
        else:
            answers.put(json.loads(message.payload))

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = on_message
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_socket_open = _no_delay
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe([("status/+", 1), ("control/+/ack", 1)])
    wait_for(lambda: subscribed.is_set() and len(online) == BOARDS, "the boards")
    for count in range(number):
        ping = {"command_id": str(uuid.uuid4()), "command": "ping", "parameters": {}}
        started = time.perf_counter()
        client.publish(f"control/{_board(count)}/command", json.dumps(ping), qos=1)
        answer = answers.get(timeout=10)
        yield 1000 * (time.perf_counter() - started)
        if answer["command_id"] != ping["command_id"] or answer["status"] != "succeeded":
            raise RuntimeError(f"the board answered {answer}")
    client.disconnect()
    client.loop_stop()


def _board(count: int) -> str:
    return f"ESP32_{count % BOARDS + 1:03d}"


def _no_delay(_: object, __: object, connection: Any) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
