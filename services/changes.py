"""What is new in the database, as events for live clients: all of it, or what one client missed."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping

import queries.devices
import queries.ingestion
import queries.readings
from database import Database
from ingest.payload import EARLIEST, MAX_AHEAD
from mqtt_notices import News
from services import documents
from services.feed import Event, Interest
from streams.declaration import Streams
from streams.stream import Metric, Stream
from utils import clock

PAGE = 500
MAX_SHOWN = 10_000
OVERLAP = timedelta(seconds=2)
"""How far the clocks of the machines may differ, and how long after its time a batch may be committed."""
LOOK_BACK = timedelta(seconds=30)
"""How far `everything` goes back at most; another process takes over ingesting within seconds."""


class Changes:
    """Reads events; remembers how far it has looked. For one thread at a time, but for `missed`."""

    def __init__(self, database: Database, streams: Streams) -> None:
        self._database = database
        self._streams = streams
        self._looked_at = clock.now()
        self._shown: dict[tuple[str, ...], str] = {}
        """Of what changed lately, what was made of it."""

    def skip(self) -> None:
        """Pass over all that there is by now."""
        self._looked_at = clock.now()

    def ask(self) -> None:
        """Ask the database for a sign of life. Raises Unavailable."""
        with self._database.reader() as reader:
            queries.ingestion.ping(reader)

    def read(self, news: News) -> list[Event]:
        """The newest reading of every device and the states that are new. Raises Unavailable."""
        now = clock.now()
        since = max(self._looked_at, now - LOOK_BACK) - OVERLAP
        with self._database.reader() as reader:
            events = [event for stream in self._streams for event in self._readings(reader, stream, news, since)]
            if news.everything:
                events += self._states_since(reader, since)
            else:
                commands = queries.devices.commands_by_id(reader, news.commands)
                events += _states(commands, queries.devices.presence(reader, news.devices))
        if news.everything:
            self._looked_at = now
        return [event for event in events if self._is_new(event)]

    def missed(self, interest: Interest, since: int | datetime) -> Iterator[Event]:
        """What one client missed since it saw an id, or since a time: states, then readings as they were stored.

        It begins a little earlier, because what was stored first is not always sent first. Raises Unavailable.
        """
        stream = self._streams[interest.stream]
        table = self._database.tables[stream.name]
        with self._database.reader() as reader:
            end = queries.readings.newest_id(reader, table)
            moment = queries.readings.written_at(reader, table, since) if isinstance(since, int) else since
            moment = max(moment, EARLIEST) - OVERLAP
            commands = queries.devices.commands_since(reader, moment, interest.device_id)
            presence = queries.devices.presence_since(reader, moment, interest.device_id)
        yield from _states(commands, presence)
        # A time that a client saw may be that of a device whose clock is ahead.
        later = None if isinstance(since, int) else moment
        stretch = queries.readings.Stretch(moment if later is None else moment - MAX_AHEAD, 0, end, later)
        while True:
            with self._database.reader() as reader:
                page = queries.readings.readings_after(reader, table, interest.device_id, stretch, PAGE)
            yield from (_reading(stream, row) for row in page)
            if len(page) < PAGE:
                return
            stretch = queries.readings.Stretch(page[-1]["created_at"], page[-1]["id"], end, later)

    def newest_id(self, stream: str) -> int:
        """The id of the newest reading of a stream; 0 if there is none. Raises Unavailable."""
        with self._database.reader() as reader:
            return queries.readings.newest_id(reader, self._database.tables[stream])

    def _readings(self, reader: Connection, stream: Stream, news: News, since: datetime) -> Iterator[Event]:
        table = self._database.tables[stream.name]
        if news.everything:
            # By time, because ids may be committed in another order.
            rows = queries.readings.newest_of_each(reader, stream, table, table.c.created_at >= since)
        elif moments := news.readings.get(stream.name):
            rows = queries.readings.newest_of_each(reader, stream, table, table.c.created_at.in_(moments))
        else:
            return
        yield from (_reading(stream, row) for row in rows)
        announced = [metric for metric in stream.metrics if metric.event]
        if announced:
            # Rows of one metric and of several may both be the newest of their kind.
            by_time = sorted(rows, key=lambda row: (row["timestamp"], row["id"]))
            for metric in announced:
                newest = {row["device_id"]: row for row in by_time if row[metric.name] is not None}
                yield from (_announcement(stream, metric, row) for row in newest.values())

    def _states_since(self, reader: Connection, moment: datetime) -> list[Event]:
        return _states(
            queries.devices.commands_since(reader, moment, None), queries.devices.presence_since(reader, moment, None)
        )

    def _is_new(self, event: Event) -> bool:
        known = self._shown.pop(event.key, None)
        self._shown[event.key] = event.json
        if len(self._shown) > MAX_SHOWN:
            del self._shown[next(iter(self._shown))]
        return known != event.json


def _reading(stream: Stream, row: RowMapping) -> Event:
    # Where each metric has a topic of its own, a reading replaces only readings of the same metric.
    has = [metric.name for metric in stream.metrics if stream.topic.has_metric and row[metric.name] is not None]
    return Event("reading", row["device_id"], documents.reading(row), stream.name, ",".join(has))


def _announcement(stream: Stream, metric: Metric, row: RowMapping) -> Event:
    told = documents.message(stream, metric, row)
    return Event(metric.event, row["device_id"], told, stream.name, metric.name, everyone=True)


def _states(commands: Iterable[RowMapping], presence: Iterable[RowMapping]) -> list[Event]:
    issued = [Event("command", row["device_id"], documents.command(row), part=row["command_id"]) for row in commands]
    return issued + [Event("presence", row["device_id"], documents.presence(row)) for row in presence]
