"""What is new in the database, as events for live clients: all of it, or what one client missed."""

import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping, Table

import queries.commands
import queries.positions
import queries.presence
import queries.reader
import queries.readings
from broker.notifier import ChangeSet
from database import Database
from queries.readings import RowRange
from services import serializers
from services.feed import GAP, Event, Interest, gap
from streams.registry import Streams
from streams.stream import Metric, Stream
from utils import clock

PAGE = 500
CATCH_UPS = 2
"""Pages of what clients missed that are read at a time, so that others are answered meanwhile."""
MAX_SHOWN = 10_000
OVERLAP = timedelta(seconds=2)
"""How far the clocks of the machines may differ, and how long after its time a batch may be committed."""
MAX_LOOK_BACK = 20_000
"""How many readings `everything` goes back at most, and `missed` for what the clock dated earlier than it was."""


class ChangeReader:
    """Reads events; remembers how far it has looked. For one thread at a time, but for `missed`."""

    def __init__(self, database: Database, streams: Streams) -> None:
        self._database = database
        self._streams = streams
        self._turns = threading.Semaphore(CATCH_UPS)
        self._shown: dict[tuple[str, ...], int] = {}
        """Of what changed lately, the hash of what was made of it: a command may be long."""
        self.skip()

    def skip(self) -> None:
        """Pass over all that there is by now."""
        self._looked_at, self._looked_up = clock.now(), time.monotonic()
        self._looked_to: dict[str, int] = {}
        """By stream, the highest id when `everything` was looked at."""
        self._reached: dict[str, int] = {}
        """By stream, the highest id that was read."""

    def ask(self) -> None:
        """Ask the database for a sign of life. Raises Unavailable."""
        with self._database.reader() as reader:
            queries.reader.ping(reader)

    def read(self, changes: ChangeSet) -> list[Event]:
        """The newest reading of every device, what was left out of it, and new states. Raises Unavailable."""
        now, up = clock.now(), time.monotonic()
        with self._database.reader() as reader:
            streams = [
                stream for stream in self._streams if stream.name not in self._database.unusable
            ]
            looked_to = (
                {stream.name: self._newest(reader, stream) for stream in streams}
                if changes.everything
                else {}
            )
            events = [
                event for stream in streams for event in self._readings(reader, stream, changes)
            ]
            if changes.everything:
                events += self._states_since(reader, _earlier(self._last_look(now)))
            else:
                commands = queries.commands.commands_by_id(reader, changes.commands)
                events += _states(commands, queries.presence.presence(reader, changes.devices))
        if changes.everything:
            self._looked_at, self._looked_up = now, up
            self._looked_to = looked_to
        for event in events:
            self._reached[event.stream] = max(
                self._reached.get(event.stream, 0), event.reading_id or 0
            )
        return [event for event in events if self._is_new(event)]

    def missed(self, interest: Interest, since: int | datetime) -> Iterator[Event]:
        """What one client missed since it saw an id, or since a time: states, then readings as they were stored.

        It begins a little earlier, because what was stored first is not always sent first. An id that is not there
        yet, as after a backup was restored, is a gap. Raises Unavailable.
        """
        stream = self._streams[interest.stream]
        with self._turns, self._database.reader() as reader:
            changed, stretch = _beginning(reader, self._database.tables[stream.name], since)
            commands = queries.commands.commands_since(reader, changed, interest.device_id)
            presence = queries.presence.presence_since(reader, changed, interest.device_id)
        if isinstance(since, int) and since > stretch.end:
            yield gap(stream.name, interest.device_id, stretch.end + 1, since)
        yield from _states(commands, presence)
        yield from self._stretch(stream, interest.device_id, stretch)

    def newest_id(self, stream: str) -> int:
        """The id of the newest reading of a stream; 0 if there is none. Raises Unavailable."""
        with self._database.reader() as reader:
            return self._newest(reader, self._streams[stream])

    def _newest(self, reader: Connection, stream: Stream) -> int:
        return queries.readings.newest_id(reader, self._database.tables[stream.name])

    def _stretch(self, stream: Stream, device_id: str | None, stretch: RowRange) -> Iterator[Event]:
        table = self._database.tables[stream.name]
        while True:
            # Given back after each page, and never held while a client reads.
            with self._turns:
                with self._database.reader() as reader:
                    page = queries.readings.readings_of(reader, table, device_id, stretch, PAGE)
                events = [_reading(stream, row).made() for row in page]
            yield from events
            if len(page) < PAGE:
                return
            stretch = stretch._replace(start=page[-1]["id"] + 1)

    def _readings(self, reader: Connection, stream: Stream, changes: ChangeSet) -> Iterator[Event]:
        table = self._database.tables[stream.name]
        if changes.everything:
            start, skipped = self._start(reader, stream)
            condition, known = table.c.id >= start, self._reached.get(stream.name, 0)
            if skipped < start:
                yield gap(stream.name, None, skipped, start - 1)
        elif timestamps := changes.readings.get(stream.name):
            condition, known = table.c.created_at.in_(timestamps), 0
        else:
            return
        rows = queries.readings.newest_of_each(reader, stream, table, condition, known)
        yield from _left_out(stream, rows)
        yield from (_reading(stream, row) for row in rows)
        announced = [metric for metric in stream.metrics if metric.event]
        if announced:
            # Rows of one metric and of several may both be the newest of their kind.
            future = clock.future()
            by_time = sorted(
                rows, key=lambda row: (row["timestamp"] < future, row["timestamp"], row["id"])
            )
            for metric in announced:
                newest = {row["device_id"]: row for row in by_time if row[metric.name] is not None}
                yield from (_announcement(stream, metric, row) for row in newest.values())

    def _start(self, reader: Connection, stream: Stream) -> tuple[int, int]:
        """The id to look from, and the lowest that was not looked at before: where it is lower, there is too much."""
        table = self._database.tables[stream.name]
        looked_to = self._looked_to.get(stream.name)
        if looked_to is None:
            # What is dated later than now was stored before the clock was set back: that is not new.
            now = clock.now()
            begun = self._last_look(now) - OVERLAP
            first = queries.positions.first_stored_after(
                reader, table, begun, OVERLAP, now + OVERLAP
            )
        else:
            first = queries.positions.first_uncertain(reader, table, looked_to, OVERLAP)
        start = max(first, self._newest(reader, stream) - MAX_LOOK_BACK)
        return start, max(first, (looked_to or 0) + 1)

    def _last_look(self, now: datetime) -> datetime:
        """When `everything` was looked at last, by the clock of then or of now, whichever is earlier."""
        # Where the clock was set back meanwhile, what came since may be dated earlier than the look.
        return min(
            self._looked_at, now - timedelta(seconds=max(0.0, time.monotonic() - self._looked_up))
        )

    def _states_since(self, reader: Connection, timestamp: datetime) -> list[Event]:
        return _states(
            queries.commands.commands_since(reader, timestamp, None),
            queries.presence.presence_since(reader, timestamp, None),
        )

    def _is_new(self, event: Event) -> bool:
        if event.name == GAP:
            return True
        known, shown = self._shown.pop(event.key, None), hash(event.json)
        self._shown[event.key] = shown
        if len(self._shown) > MAX_SHOWN:
            del self._shown[next(iter(self._shown))]
        return known != shown


def _beginning(
    reader: Connection, table: Table, since: int | datetime
) -> tuple[datetime, RowRange]:
    """From when on states have changed, and which readings have come, since an id was seen or since a time."""
    end = queries.readings.newest_id(reader, table)
    if not isinstance(since, int):
        return _earlier(since), _since(reader, table, since, end)
    seen = min(since, end)
    stretch = RowRange(queries.positions.first_uncertain(reader, table, seen, OVERLAP), end)
    return _earlier(queries.positions.earliest_written(reader, table, seen, end)), stretch


def _since(reader: Connection, table: Table, since: datetime, end: int) -> RowRange:
    """What was measured or stored after a time, or stored after such a reading, whatever the clock said of it.

    After a clock was far ahead, the latter would be all that came since, for as long as it was ahead; so of readings
    that are dated earlier than the time, only some are sent.
    """
    # A time that a client saw may be that of a device whose clock is ahead.
    timestamp = max(since, clock.EPOCH + clock.MAX_AHEAD + OVERLAP) - OVERLAP
    first = queries.positions.first_stored_after(
        reader, table, timestamp - clock.MAX_AHEAD, OVERLAP
    )
    sure = queries.positions.first_stored_after(reader, table, timestamp)
    soonest = queries.positions.soonest_after(reader, table, timestamp)
    return RowRange(first, end, timestamp, max(sure, soonest - MAX_LOOK_BACK))


def _reading(stream: Stream, row: RowMapping) -> Event:
    document = serializers.reading(row)
    for name in queries.readings.LEFT_OUT:
        document.pop(name, None)
    return Event("reading", row["device_id"], document, stream.name, _part(stream, row))


def _part(stream: Stream, row: RowMapping) -> str:
    """Where each metric has a topic of its own, a reading replaces only readings of the same metric."""
    return ",".join(
        metric.name
        for metric in stream.metrics
        if stream.topic.has_metric and row[metric.name] is not None
    )


def _left_out(stream: Stream, rows: Iterable[RowMapping]) -> Iterator[Event]:
    """What is stored but not shown, because a batch has several readings of a device: a client can ask for it."""
    for row in rows:
        first, last = (row[name] for name in queries.readings.LEFT_OUT)
        if first is not None and first < last:
            last = last if last > row["id"] else last - 1
            yield gap(stream.name, row["device_id"], first, last, _part(stream, row))


def _earlier(timestamp: datetime) -> datetime:
    """A little before a time; if that is still to come, the clock was set back, and no time tells what is new."""
    return (
        clock.EPOCH
        if timestamp > clock.now() + clock.STEP
        else max(timestamp, clock.EPOCH + OVERLAP) - OVERLAP
    )


def _announcement(stream: Stream, metric: Metric, row: RowMapping) -> Event:
    document = serializers.message(stream, metric, row)
    return Event(metric.event, row["device_id"], document, stream.name, metric.name, everyone=True)


def _states(commands: Iterable[RowMapping], presence: Iterable[RowMapping]) -> list[Event]:
    issued = [
        Event("command", row["device_id"], serializers.command(row), part=row["command_id"])
        for row in commands
    ]
    return issued + [
        Event("presence", row["device_id"], serializers.presence(row)) for row in presence
    ]
