"""The simulator at full speed, `python -m simulators --rate 0`, against paho's `loop_start()`."""

import time
from collections.abc import Iterator

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import broker
from benchmarks.bench import Bench
from benchmarks.processes import python, running, settings
from benchmarks.report import ReportLine

MESSAGES, PLAIN_MESSAGES = 100_000, 5_000
REQUIRED = 8_000


def measure(bench: Bench) -> Iterator[ReportLine]:
    """Yield the acknowledged messages a second over the whole process, including its start."""
    folder = bench.folder("simulator")
    with broker.fitting(folder / "broker") as port:
        plain = _plain(port, bench.size(PLAIN_MESSAGES))
        command = python("simulators", "--rate", 0, "--count", bench.size(MESSAGES))
        environment = settings(folder, f"sqlite:///{folder}/unused.db", port)
        started = time.perf_counter()
        with running(command, folder, environment) as process:
            code = process.wait(600)
        rate = bench.size(MESSAGES) / (time.perf_counter() - started)
    if code != 0:
        raise RuntimeError(
            f"the simulator exited with code {code}: some messages were not acknowledged"
        )
    yield ReportLine(
        "simulator",
        rate,
        "messages/s",
        plain,
        rate / plain,
        f"≥ {REQUIRED:,} messages/s",
        rate >= REQUIRED,
        f"all messages acknowledged; {bench.broker}; baseline: publishing with paho's loop_start()",
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
