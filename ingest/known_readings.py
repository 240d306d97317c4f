"""Known readings: readings that an earlier delivery stored under another key.

The unique key of a table is device, time and values. Two deliveries of one reading get different
keys if the clock was set between them, so that only one of the times was believed, or if a metric
was declared or removed between them, so that only one has its value. Such readings are looked up
by the time that the device stated, but only for repeated messages and for times in the future.
All other readings have `stated` None and cost nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache

from sqlalchemy import Connection, Table

import queries.newest
import queries.readings
from ingest.message import Reading
from ingest.rest import encoded
from streams.metric import Values
from streams.stream import Stream

Lacked = Callable[[str, int], bool]
"""Returns whether a device's reading may lack the metric with an index: it was undeclared then."""


def known(
    connection: Connection, stream: Stream, table: Table, group: Sequence[Reading]
) -> set[int]:
    """Return the indexes of the readings in a group that are already stored.

    Of equal readings in the group, all except the first are included. Raises DBAPIError.
    """
    doubtful = [index for index, reading in enumerate(group) if reading.stated is not None]
    if not doubtful:
        return set()
    names = [metric.name for metric in stream.metrics]
    if stream.keeps_rest:
        names.append("rest")
    times = {(r.device_id, r.stated) for r in group if r.stated is not None}
    stored: dict[tuple[str, datetime | None], list[Values]] = defaultdict(list)
    for device_id, timestamp, values in queries.readings.stated(connection, table, names, times):
        stored[device_id, timestamp].append(values)
    lacked = _lacked(connection, stream)
    known: set[int] = set()
    earlier: set[tuple[str, datetime | None, Values]] = set()
    for index in doubtful:
        reading = group[index]
        key = reading.device_id, reading.stated
        values = reading.values
        if stream.keeps_rest:
            values = (*values, encoded(reading.rest))
        is_repeated = (*key, values) in earlier
        if is_repeated or any(_is_same(one, values, reading, lacked) for one in stored[key]):
            known.add(index)
        earlier.add((*key, values))
    return known


def _lacked(connection: Connection, stream: Stream) -> Lacked:
    lackable = {metric.name for metric in stream.lackable}

    @cache
    def sent(device_id: str) -> set[str]:
        return queries.newest.metrics(connection, stream.name, device_id)

    def lacked(device_id: str, index: int) -> bool:
        if index == len(stream.metrics):  # the rest
            return False
        name = stream.metrics[index].name
        return name not in lackable or name not in sent(device_id)

    return lacked


def _is_same(stored: Values, values: Values, reading: Reading, lacked: Lacked) -> bool:
    """Return whether a stored reading has at least one value and lacks only undeclared metrics."""
    for index, (before, now) in enumerate(zip(stored, values, strict=True)):
        if before == now:
            continue
        if before is not None or not lacked(reading.device_id, index):
            return False
    return any(value is not None for value in stored)
