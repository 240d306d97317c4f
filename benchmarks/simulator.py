"""The simulator at full speed, `python -m simulators --rate 0`, against paho's `loop_start()`."""

import time
from collections.abc import Iterator

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import broker
from benchmarks.bench import Bench
from benchmarks.processes import python, running, settings
from benchmarks.report import Line

MESSAGES, PLAIN_MESSAGES = 100_000, 5_000
REQUIRED = 8_000


def measure(bench: Bench) -> Iterator[Line]:
    """Acknowledged messages a second; the time is that of the whole process, with its start."""
    place = bench.place("simulator")
    with broker.fitting(place / "broker") as port:
        plain = _plain(port, bench.size(PLAIN_MESSAGES))
        command = python("simulators", "--rate", 0, "--count", bench.size(MESSAGES))
        started = time.perf_counter()
        with running(command, place, settings(place, f"sqlite:///{place}/unused.db", port)) as process:
            code = process.wait(600)
        rate = bench.size(MESSAGES) / (time.perf_counter() - started)
    if code != 0:
        raise RuntimeError(f"the simulator ended with {code}: not everything was acknowledged")
    note = f"every message acknowledged; {bench.broker}; baseline: publishing with paho's loop_start()"
    yield Line(
        "simulator", rate, "messages/s", plain, rate / plain, f"≥ {REQUIRED:,} messages/s", rate >= REQUIRED, note
    )


def _plain(port: int, messages: int) -> float:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    started = time.perf_counter()
    infos = [client.publish("sensors/ESP32_001/data", b"x" * 110, qos=1) for _ in range(messages)]
    for info in infos:
        info.wait_for_publish(120)
    seconds = time.perf_counter() - started
    client.disconnect()
    client.loop_stop()
    return messages / seconds
