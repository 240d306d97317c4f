"""Read changes from the database as events: all changes for the hub, or what one client missed."""

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
import services.presence
from broker.notifier import ChangeSet
from database import Database
from queries.readings import RowRange
from services import serializers
from services.feed import GAP, Event, Interest, gap, wants
from streams.metric import Metric
from streams.registry import Streams
from streams.stream import Stream
from utils import clock

PAGE = 500
CATCH_UPS = 2
"""Pages of missed events read at a time, so that other requests are served meanwhile."""
MAX_SHOWN = 10_000
OVERLAP = timedelta(seconds=2)
"""How far the machines' clocks may differ, and how late after its time a batch may commit."""
MAX_LOOK_BACK = 20_000
"""How many readings `everything` goes back at most.

The same limit holds in `missed` for readings that a clock dated too early.
"""


class ChangeReader:
    """Reads events and remembers its position. Only `missed` may be called from several threads."""

    def __init__(self, database: Database, streams: Streams) -> None:
        self._database = database
        self._streams = streams
        self._turns = threading.Semaphore(CATCH_UPS)
        # By key, the hash of the event last made: a hash, because a command may be long.
        self._shown: dict[tuple[str, ...], int] = {}
        self.skip()

    def skip(self) -> None:
        """Skip all changes until now."""
        self._looked_at, self._looked_up = clock.now(), time.monotonic()
        # By stream, the highest id at the last look at `everything`.
        self._looked_to: dict[str, int] = {}
        # By stream, the highest id that was read.
        self._reached: dict[str, int] = {}

    def ask(self) -> None:
        """Check that the database answers. Raises Unavailable."""
        with self._database.read() as reader:
            queries.reader.ping(reader)

    def read(self, changes: ChangeSet) -> list[Event]:
        """Return the newest reading of every device, gaps and new states. Raises Unavailable."""
        now, up = clock.now(), time.monotonic()
        with self._database.read() as reader:
            streams = [
                stream for stream in self._streams if stream.name not in self._database.unusable
            ]
            looked_to: dict[str, int] = {}
            if changes.everything:
                looked_to = {stream.name: self._newest(reader, stream) for stream in streams}
            events = [
                event for stream in streams for event in self._readings(reader, stream, changes)
            ]
            if changes.everything:
                events += self._states_since(reader, _earlier(self._last_look(now)), None)
            else:
                commands = queries.commands.commands_by_id(reader, changes.commands)
                events += self._states(commands, queries.presence.presence(reader, changes.devices))
        if changes.everything:
            self._looked_at, self._looked_up = now, up
            self._looked_to = looked_to
        for event in events:
            self._reached[event.stream] = max(
                self._reached.get(event.stream, 0), event.reading_id or 0
            )
        return [event for event in events if self._is_new(event)]

    def missed(self, interest: Interest, since: int | datetime) -> Iterator[Event]:
        """Yield what a client missed since an id or a time: states, then readings in stored order.

        It begins a little earlier, because readings are not always sent in the order of storage. An
        id that does not exist yet, as after a backup was restored, is a gap. Raises Unavailable.
        """
        stream = self._streams[interest.stream]
        with self._turns, self._database.read() as reader:
            changed, row_range = _beginning(reader, self._database.tables[stream.name], since)
            states = self._states_since(reader, changed, interest.device_id)
        if isinstance(since, int) and since > row_range.end:
            yield gap(stream.name, interest.device_id, row_range.end + 1, since)
        yield from (event for event in states if wants(frozenset([interest]), event))
        yield from self._pages(stream, interest.device_id, row_range)

    def newest_id(self, stream: str) -> int:
        """Return the id of the newest reading of a stream, or 0. Raises Unavailable."""
        with self._database.read() as reader:
            return self._newest(reader, self._streams[stream])

    def _newest(self, reader: Connection, stream: Stream) -> int:
        return queries.readings.newest_id(reader, self._database.tables[stream.name])

    def _pages(self, stream: Stream, device_id: str | None, row_range: RowRange) -> Iterator[Event]:
        table = self._database.tables[stream.name]
        while True:
            # Released after each page, and never held while a client reads.
            with self._turns:
                with self._database.read() as reader:
                    page = queries.readings.readings_of(reader, table, device_id, row_range, PAGE)
                events = [_reading(stream, row).made() for row in page]
            yield from events
            if len(page) < PAGE:
                return
            row_range = row_range._replace(start=page[-1]["id"] + 1)

    def _states_since(
        self, reader: Connection, timestamp: datetime, device_id: str | None
    ) -> list[Event]:
        commands = queries.commands.commands_since(reader, timestamp, device_id)
        presence = queries.presence.presence_since(reader, timestamp, device_id)
        return self._states(commands, presence)

    def _states(
        self, commands: Iterable[RowMapping], presence: Iterable[RowMapping]
    ) -> list[Event]:
        issued = [
            Event("command", row["device_id"], serializers.command(row), part=row["command_id"])
            for row in commands
        ]
        declaring = [stream.name for stream in self._streams if stream.presence is not None]
        return [*issued, *services.presence.events(presence, declaring)]

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
            # The newest row of one metric and that of several may be different rows.
            future = clock.future()
            by_time = sorted(
                rows, key=lambda row: (row["timestamp"] < future, row["timestamp"], row["id"])
            )
            for metric in announced:
                newest = {row["device_id"]: row for row in by_time if row[metric.name] is not None}
                yield from (_announcement(stream, metric, row) for row in newest.values())

    def _start(self, reader: Connection, stream: Stream) -> tuple[int, int]:
        """Return the id to start from and the lowest new id; a lower one means a gap between."""
        table = self._database.tables[stream.name]
        looked_to = self._looked_to.get(stream.name)
        if looked_to is None:
            # A reading dated in the future was stored before the clock was set back: it is not new.
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
        """Return the time of the last look at `everything`, by the clock of then or of now.

        The earlier one counts: after a clock was set back, newer rows may be dated before it.
        """
        return min(
            self._looked_at, now - timedelta(seconds=max(0.0, time.monotonic() - self._looked_up))
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
    """Return the time from which states have changed, and the range of readings that are new."""
    end = queries.readings.newest_id(reader, table)
    if not isinstance(since, int):
        return _earlier(since), _since(reader, table, since, end)
    seen = min(since, end)
    row_range = RowRange(queries.positions.first_uncertain(reader, table, seen, OVERLAP), end)
    return _earlier(queries.positions.earliest_written(reader, table, seen, end)), row_range


def _since(reader: Connection, table: Table, since: datetime, end: int) -> RowRange:
    """Return the range of readings measured or stored after a time, whatever their own clock says.

    After a clock was far ahead, the range would include every later reading until real time catches
    up; so of the readings dated before the time, only the newest are included.
    """
    # A client may pass the timestamp of a device whose clock is ahead.
    timestamp = max(since, clock.EPOCH + clock.MAX_AHEAD + OVERLAP) - OVERLAP
    first = queries.positions.first_stored_after(
        reader, table, timestamp - clock.MAX_AHEAD, OVERLAP
    )
    sure = queries.positions.first_stored_after(reader, table, timestamp)
    soonest = queries.positions.soonest_after(reader, table, timestamp)
    return RowRange(first, end, timestamp, max(sure, soonest - MAX_LOOK_BACK))


def _reading(stream: Stream, row: RowMapping) -> Event:
    reading = serializers.reading(row)
    for name in queries.readings.LEFT_OUT:
        reading.pop(name, None)
    return Event("reading", row["device_id"], reading, stream.name, _part(stream, row))


def _part(stream: Stream, row: RowMapping) -> str:
    """Return the metrics of a reading as text, where each metric has its own topic.

    There a reading replaces only readings of the same metrics.
    """
    return ",".join(
        metric.name
        for metric in stream.metrics
        if stream.topic.has_metric and row[metric.name] is not None
    )


def _left_out(stream: Stream, rows: Iterable[RowMapping]) -> Iterator[Event]:
    """Yield a gap for each device with several readings in a batch, of which one is sent."""
    for row in rows:
        first, last = (row[name] for name in queries.readings.LEFT_OUT)
        if first is not None and first < last:
            last = last if last > row["id"] else last - 1
            yield gap(stream.name, row["device_id"], first, last, _part(stream, row))


def _earlier(timestamp: datetime) -> datetime:
    """Return a time a little earlier; EPOCH if the time is in the future.

    Then the clock was set back, and no time separates new rows from old ones.
    """
    return (
        clock.EPOCH
        if timestamp > clock.now() + clock.STEP
        else max(timestamp, clock.EPOCH + OVERLAP) - OVERLAP
    )


def _announcement(stream: Stream, metric: Metric, row: RowMapping) -> Event:
    message = serializers.message(stream, metric, row)
    return Event(metric.event, row["device_id"], message, stream.name, metric.name, everyone=True)
