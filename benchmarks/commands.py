"""The round trip of a command: `POST /api/control?wait=10` with a `ping` to a simulated board, until it is answered.

The request stores the command and publishes it, the board answers over MQTT, the ingester stores the answer and the
request tells it. One request at a time, on one connection. The baseline is the same over MQTT alone, before the backend
runs: what the broker and the boards take of the time.
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
from statistics import median, quantiles
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import broker
from benchmarks.bench import Bench
from benchmarks.processes import free_port, healthy, python, running, settings, wait_for
from benchmarks.report import Line
from config import PROJECT

BOARDS = 10
WARM_UP = 20
COMMANDS = 300
REQUIRED = 20


def measure(bench: Bench) -> Iterator[Line]:
    """Median and 99th percentile in milliseconds."""
    place = bench.place("commands")
    number = 100 if bench.quick else COMMANDS
    with broker.fitting(place / "broker") as mqtt_port:
        port = free_port()
        environment = settings(place, f"sqlite:///{place}/bench.db", mqtt_port, FLASK_PORT=str(port))
        with running(python("simulators", "--devices", BOARDS), place, environment):
            plain = list(_over_mqtt(mqtt_port, WARM_UP + number))[WARM_UP:]
            with running([sys.executable, str(PROJECT / "app.py")], place, environment):
                wait_for(lambda: healthy(port), "the backend")
                samples = list(over_http(port, WARM_UP + number))[WARM_UP:]
    note = (
        f"{number} pings to {BOARDS} boards of `python -m simulators`, each 200 and succeeded; {bench.broker}, "
        "`python app.py`, SQLite; baseline: a client that pings them over MQTT itself"
    )
    middle, baseline = median(samples), median(plain)
    yield Line(
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
    yield Line(
        "command round trip, 99 %", high, "ms", baseline, high / baseline, samples={"ms": samples, "mqtt": plain}
    )


def over_http(port: int, number: int) -> Iterator[float]:
    """Milliseconds of each ping. Raises RuntimeError for one that does not succeed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for count in range(number):
        body = json.dumps({"device_id": _board(count), "command": "ping"})
        started = time.perf_counter()
        connection.request("POST", "/api/control?wait=10", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        yield 1000 * (time.perf_counter() - started)
        command = json.loads(text)
        if answer.status != 200 or command["status"] != "succeeded" or command["result"]["pong"] is not True:
            raise RuntimeError(f"ping number {count + 1} was answered {answer.status} {text!r}")
    connection.close()


def _over_mqtt(port: int, number: int) -> Iterator[float]:
    answers: queue.Queue[dict[str, Any]] = queue.Queue()
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


def _no_delay(_: object, __: object, opened: Any) -> None:
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
