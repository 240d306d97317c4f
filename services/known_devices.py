"""Suggest known device ids for misspelt ones."""

import difflib
import heapq
from collections.abc import Iterable

from sqlalchemy import Connection

import queries.devices
import queries.presence
from database import Database
from streams.registry import Streams

MOST_COMPARED = 1_000
MOST_SHOWN = 3
MOST_WEIGHED = 20
"""Ids compared letter by letter, which takes up to 10 ms for ids of 128 letters."""
ALIKE = 0.8
"""The least similarity of two ids, from 0 to 1."""


class KnownDevices:
    """Suggests ids from the devices of all streams."""

    def __init__(self, database: Database, streams: Streams) -> None:
        self._database = database
        self._streams = streams

    def hint(self, device_id: str) -> str | None:
        """Return a hint for a command to an unknown device, else None. Raises Unavailable."""
        streams = [stream.name for stream in self._streams]
        with self._database.read() as reader:
            if queries.presence.presence(reader, [device_id]) or queries.devices.is_known(
                reader, streams, device_id
            ):
                return None
            alike = _alike(device_id, queries.devices.ids(reader, streams, MOST_COMPARED))
        never = "No reading and no status of this device has ever been seen"
        return f"{never}. Did you mean {' or '.join(alike)}?" if alike else never

    @staticmethod
    def similar(reader: Connection, stream: str, device_id: str) -> list[str]:
        """Return the ids of a stream's devices most similar to this one. Raises Unavailable."""
        return _alike(device_id, queries.devices.ids(reader, [stream], MOST_COMPARED))


def _alike(device_id: str, ids: Iterable[str]) -> list[str]:
    """Return ids that differ only in case, then similar ones."""
    by_folded: dict[str, list[str]] = {}
    for found in ids:
        by_folded.setdefault(found.casefold(), []).append(found)
    asked = device_id.casefold()
    same = by_folded.pop(asked, [])
    close = difflib.get_close_matches(asked, _candidates(asked, by_folded), MOST_SHOWN, ALIKE)
    return [*same, *(found for folded in close for found in by_folded[folded])][:MOST_SHOWN]


def _candidates(asked: str, ids: Iterable[str]) -> list[str]:
    """Return the ids with the most letters in common, in any order."""
    matcher = difflib.SequenceMatcher(b=asked)
    shared: list[tuple[float, str]] = []
    for found in ids:
        matcher.set_seq1(found)
        if matcher.real_quick_ratio() >= ALIKE and (ratio := matcher.quick_ratio()) >= ALIKE:
            shared.append((ratio, found))
    return [found for _, found in heapq.nlargest(MOST_WEIGHED, shared)]
