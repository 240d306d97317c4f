"""Known readings: those that an earlier delivery has stored under another key.

The unique key of a table is of device, time and values. It misses a reading where the two deliveries were not
read alike: the clock was set between them, so that only one of the times was believed; or a metric was declared
or removed between them, so that only one had its value. Both are looked up by the time that the device stated,
for messages that are repeated and for those whose time is ahead. All others have `stated` None and cost nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache

from sqlalchemy import Connection, Table

import queries.newest
import queries.readings
from ingest.message import Reading
from streams.stream import Stream

Values = tuple[float | str | None, ...]
Lacked = Callable[[str, int], bool]
"""Whether a reading of a device without a value of a metric, given by its index, can be from before it was declared."""


def known(connection: Connection, stream: Stream, table: Table, group: Sequence[Reading]) -> set[int]:
    """The indexes in a group of readings of a stream of those that are stored already.

    Of those that come more than once in the group, all but the first. Raises DBAPIError.
    """
    doubtful = [index for index, reading in enumerate(group) if reading.stated is not None]
    if not doubtful:
        return set()
    names = [metric.name for metric in stream.metrics]
    times = {(r.device_id, r.stated) for r in group if r.stated is not None}
    stored: dict[tuple[str, datetime | None], list[Values]] = defaultdict(list)
    for device_id, timestamp, values in queries.readings.stated(connection, table, names, times):
        stored[device_id, timestamp].append(values)
    lacked = _lacked(connection, stream)
    found: set[int] = set()
    fresh: set[tuple[str, datetime | None, Values]] = set()
    for index in doubtful:
        reading = group[index]
        key = reading.device_id, reading.stated
        is_repeated = (*key, reading.values) in fresh
        if is_repeated or any(_is_same(one, reading, lacked) for one in stored[key]):
            found.add(index)
        fresh.add((*key, reading.values))
    return found


def _lacked(connection: Connection, stream: Stream) -> Lacked:
    lackable = {metric.name for metric in stream.lackable}

    @cache
    def sent(device_id: str) -> set[str]:
        return queries.newest.metrics(connection, stream.name, device_id)

    def lacked(device_id: str, index: int) -> bool:
        name = stream.metrics[index].name
        return name not in lackable or name not in sent(device_id)

    return lacked


def _is_same(stored: Values, reading: Reading, lacked: Lacked) -> bool:
    """Whether the values are equal that both have, one at least, and no other was sent when these were stored."""
    pairs = list(zip(stored, reading.values, strict=True))
    different = [index for index, (before, now) in enumerate(pairs) if before != now]
    if any(stored[index] is not None or not lacked(reading.device_id, index) for index in different):
        return False
    return any(before is not None for before, _ in pairs)
