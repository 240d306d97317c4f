"""The sides of the ingest comparisons: `python -m benchmarks.subscribers SIDE MESSAGES`.

- `plain`: paho's `loop_start()`, automatic acknowledgements and an `on_message` that only counts;
- `ingest`: the ingester with the settings of the environment, as `python -m ingest` runs it;
- `ingest-silent`: the same without live push, so no change notifications are sent.

Each runs in a fresh process and prints, as JSON, the seconds from the first received message.
For `plain` they end with the last received message, which is acknowledged at once; for the others
with the end of the ingester: after the last commit, the last acknowledgement and the disconnect.
"""

import argparse
import json
import threading
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial

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
from utils.json_types import JsonObject
from wiring.backend import notices_topic
from wiring.pipelines import new_pipeline


class MeasuredIngester(Ingester):
    """An ingester that records its first message and stops after `expected` messages."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        streams: Streams,
        notify: Callable[[ChangeSet], None],
        expected: int,
    ) -> None:
        pipeline = new_pipeline(database, streams, "mqtt", Listeners(notify, self._record))
        super().__init__(settings, database, streams, pipeline)
        self._expected = expected
        self.received = 0
        self.batches = 0
        self.first_at: datetime | None = None

    def _record(self, outcome: Outcome) -> None:
        self.first_at = self.first_at or outcome.parsed[0].message.received_at
        self.received += outcome.received
        self.batches += 1
        if self.received >= self._expected:
            self.request_stop()


def ingest(expected: int, live: bool) -> JsonObject:
    """Receive, store and acknowledge `expected` messages; `live` sends change notifications."""
    settings = load_settings()
    logger.configure(settings.log_level, settings.log_file, "ingest")
    streams = declaration.declared(settings)
    database = Database(settings.url, streams)
    database.prepare()
    notifier = Notifier(settings, partial(notices_topic, database))
    if live:
        notifier.start()
        # Otherwise it would store the first messages without a notification.
        wait_for(lambda: notifier.listening, "the connection for the change notifications")
    notify = notifier.notify if live else lambda _: None
    ingester = MeasuredIngester(settings, database, streams, notify, expected)
    ingester.run()
    ended = clock.now()
    if ingester.first_at is None:
        raise RuntimeError("the ingester ended without a message")
    seconds = (ended - ingester.first_at).total_seconds()
    notifier.stop()
    return {"received": ingester.received, "seconds": seconds, "batches": ingester.batches}


def plain(expected: int) -> JsonObject:
    """Receive and acknowledge `expected` messages without processing them."""
    settings = load_settings()
    times: list[float] = []
    received = 0
    done = threading.Event()

    def on_message(*_: object) -> None:
        nonlocal received
        received += 1
        if received in (1, expected):
            times.append(time.perf_counter())
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
    return {"received": received, "seconds": times[-1] - times[0]}


def main() -> None:
    """Run one side and print its result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.subscribers")
    parser.add_argument("side", choices=("plain", "ingest", "ingest-silent"))
    parser.add_argument("messages", type=int)
    options = parser.parse_args()
    before = time.process_time()
    if options.side == "plain":
        result = plain(options.messages)
    else:
        result = ingest(options.messages, live=options.side == "ingest")
    print(json.dumps({**result, "cpu_seconds": time.process_time() - before}))


if __name__ == "__main__":
    main()
