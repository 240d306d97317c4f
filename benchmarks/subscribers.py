"""The sides of the ingest comparisons, each in a fresh process: `python -m benchmarks.subscribers SIDE MESSAGES`.

`plain` is paho's `loop_start()` with automatic acknowledgements and an `on_message` that only counts.
`ingest` is the product's ingester with the settings of the environment, as `python -m ingest` runs it.
`ingest-silent` is the same without live push: nobody is told of what is stored.
All print, as JSON, the seconds from the first message received: `plain` to the last message received, which is
acknowledged at once; the others to the end of the ingester, which is after the last commit, the last acknowledgement
written, and the disconnect.
"""

import argparse
import json
import threading
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.broker import CLIENT_ID, TOPIC
from benchmarks.processes import wait_for
from broker.notifier import ChangeSet, Notifier
from config import Settings, load_settings
from database import Database
from ingest.ingester import Ingester
from ingest.outcome import Outcome
from ingest.pipeline import Listeners
from streams import declaration
from streams.registry import Streams
from utils import clock, logger
from wiring.backend import notices_topic
from wiring.pipelines import new_pipeline


class MeasuredIngester(Ingester):
    """The ingester, which notes when it begins and ends itself after so many messages."""

    def __init__(
        self, settings: Settings, database: Database, streams: Streams, tell: Callable[[ChangeSet], None], expected: int
    ) -> None:
        listeners = Listeners(tell, self._note)
        own = new_pipeline(database, streams, "mqtt", listeners)
        super().__init__(settings, database, streams, own)
        self._expected = expected
        self.received = 0
        self.batches = 0
        self.first_at: datetime | None = None

    def _note(self, outcome: Outcome) -> None:
        self.first_at = self.first_at or outcome.parsed[0].message.received_at
        self.received += outcome.received
        self.batches += 1
        if self.received >= self._expected:
            self.request_stop()


def ingest(expected: int, live: bool) -> dict[str, Any]:
    """Receive, store and acknowledge so many messages; `live` tells the other processes of them."""
    settings = load_settings()
    logger.configure(settings.log_level, settings.log_file, "ingest")
    streams = declaration.declared(settings)
    database = Database(settings.url, streams)
    database.prepare()
    notifier = Notifier(settings, partial(notices_topic, database))
    if live:
        notifier.start()
        # It would otherwise store the first messages in silence.
        wait_for(lambda: notifier.listening, "the connection for the notices")
    ingester = MeasuredIngester(settings, database, streams, notifier.notify if live else lambda _: None, expected)
    ingester.run()
    ended = clock.now()
    if ingester.first_at is None:
        raise RuntimeError("the ingester ended without having received anything")
    seconds = (ended - ingester.first_at).total_seconds()
    notifier.stop()
    return {"received": ingester.received, "seconds": seconds, "batches": ingester.batches}


def plain(expected: int) -> dict[str, Any]:
    """Receive and acknowledge so many messages, and do nothing with them."""
    settings = load_settings()
    moments: list[float] = []
    received = 0
    done = threading.Event()

    def on_message(*_: object) -> None:
        nonlocal received
        received += 1
        if received in (1, expected):
            moments.append(time.perf_counter())
            if received == expected:
                done.set()

    def on_connect(*_: object) -> None:
        client.subscribe(TOPIC, 1)

    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=CLIENT_ID, clean_session=False)
    client.on_connect = on_connect
    client.on_message = on_message
    client.connect(settings.broker.host, settings.broker.port, settings.mqtt_keepalive)
    client.loop_start()
    done.wait()
    time.sleep(0.2)  # the last acknowledgement follows the last callback
    client.disconnect()
    client.loop_stop()
    return {"received": received, "seconds": moments[-1] - moments[0]}


def main() -> None:
    """Run one side and print the result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.subscribers")
    parser.add_argument("side", choices=("plain", "ingest", "ingest-silent"))
    parser.add_argument("messages", type=int)
    options = parser.parse_args()
    before = time.process_time()
    result = plain(options.messages) if options.side == "plain" else ingest(options.messages, options.side == "ingest")
    print(json.dumps({**result, "cpu_seconds": time.process_time() - before}))


if __name__ == "__main__":
    main()
