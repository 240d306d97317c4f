"""Presence for live clients: which of a device's reports counts, and the events that say so."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

from sqlalchemy import RowMapping

from services import serializers
from services.feed import Event

ALL = ""
"""In place of a stream: what a device said for all streams."""


def counting(said: Iterable[RowMapping]) -> RowMapping:
    """Return the newest of a device's reports; what was cleared counts only if nothing else does.

    `queries.presence.online_in` is the same rule in SQL.
    """
    return max(said, key=lambda row: (row["online"] is not None, row["place"]))


def events(rows: Iterable[RowMapping], streams: Collection[str]) -> Iterator[Event]:
    """Yield the presence of devices; `streams` are those that declare a topic of it.

    A device that said something in a stream has an event of its own there.
    """
    by_device: defaultdict[str, dict[str, RowMapping]] = defaultdict(dict)
    for row in rows:
        by_device[row["device_id"]][row["stream"]] = row
    for device_id, said in by_device.items():
        yield from _events_of(device_id, said, streams)


def _events_of(
    device_id: str, said: Mapping[str, RowMapping], streams: Collection[str]
) -> Iterator[Event]:
    own = frozenset(said).intersection(streams)
    if (common := said.get(ALL)) is not None:
        yield Event("presence", device_id, serializers.presence(common), excluded=own)
    for stream in sorted(own):
        row = counting([said[stream], *([] if common is None else [common])])
        yield Event("presence", device_id, serializers.presence(row, stream), stream)
