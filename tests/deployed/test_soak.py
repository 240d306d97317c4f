"""Use over a long time, with `make chaos`: memory is as large at the end as after the first minutes."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.live import Got, Io, Sse, at_broker, serving
from tests.support import BackendProcess, Mosquitto, connected_client, payload

RATE, DEVICES = 300, 100
STREAMS, SOCKETS = 8, 7
WARM_UP_SECONDS, SECONDS = 800.0, 3600.0
"""At first each connection to SQLite fills its cache of 16 MB."""
MAX_GROWTH = 10_000_000


class Forgetful(list[Got]):
    """Keeps nothing of what a client of the test receives."""

    def append(self, event: Got, /) -> None:
        del event


@contextlib.contextmanager
def live_clients(backend: BackendProcess) -> Iterator[None]:
    """Clients that listen to all readings, or to those of one device."""
    with contextlib.ExitStack() as stack:
        for number in range(STREAMS):
            query = f"device_id=board{number}" if number % 2 else ""
            stack.enter_context(Sse(backend.port, query)).events = Forgetful()
        for _ in range(SOCKETS):
            client = stack.enter_context(Io(backend.port))
            client.events = Forgetful()
            client.subscribe(stream="sensors")
        yield


def publish(broker: Mosquitto, seconds: float) -> None:
    """Publish at a steady rate for so long."""
    client = connected_client(broker.port)
    began, sent = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        for number in range(sent, int(passed * RATE)):
            body = payload(temperature=number % 50, timestamp=time.time())
            client.publish(f"sensors/board{number % DEVICES}/data", body, qos=1)
            sent = number + 1
        time.sleep(0.02)  # the rate
    client.disconnect()
    client.loop_stop()


@pytest.mark.chaos
@pytest.mark.timeout(6000)
def test_memory_stays_flat_with_devices_and_live_clients(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    with serving(at_broker(tmp_path / "backend", mosquitto)) as backend, live_clients(backend):
        assert backend.process is not None
        process = psutil.Process(backend.process.pid)
        publish(mosquitto, WARM_UP_SECONDS)
        before = process.memory_info().rss
        publish(mosquitto, SECONDS)
        assert process.memory_info().rss - before < MAX_GROWTH
