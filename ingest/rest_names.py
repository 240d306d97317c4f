"""The names of fields that no metric takes: a device keeps the first ones, up to a limit."""

from collections import OrderedDict, defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection

import queries.rest_names
from database import Database
from ingest.message import Reading
from streams.rest import MAX_NAMES

MAX_DEVICES = 10_000
"""Devices whose names are remembered."""


class RestNameLimit:
    """Keeps the names of each device, and takes fields with further names out of readings."""

    def __init__(self, database: Database) -> None:
        self._keeping = queries.rest_names.keeping(database.upsert)
        # Only what was read from the database: a transaction may fail.
        self._known: OrderedDict[tuple[str, str], set[str]] = OrderedDict()

    def apply(self, connection: Connection, group: Sequence[Reading]) -> None:
        """Do so for readings of one stream, within a transaction. Raises DBAPIError."""
        stream = group[0].stream.name
        names: dict[str, set[str]] = {}
        new: defaultdict[str, set[str]] = defaultdict(set)
        for reading in group:
            device_id = reading.device_id
            known = self._known.get((stream, device_id), set())
            if not reading.rest or reading.rest.keys() <= known:
                continue
            if device_id not in names:
                names[device_id] = self._read(connection, stream, device_id)
            _admit(reading, names[device_id], new[device_id])
        queries.rest_names.keep(connection, self._keeping, stream, new)

    def _read(self, connection: Connection, stream: str, device_id: str) -> set[str]:
        names = queries.rest_names.of_device(connection, stream, device_id)
        self._known[stream, device_id] = names
        self._known.move_to_end((stream, device_id))
        if len(self._known) > MAX_DEVICES:
            self._known.popitem(last=False)
        return names


def _admit(reading: Reading, names: set[str], new: set[str]) -> None:
    """Add the reading's names that there is room for to the new ones, and take out the others."""
    kept = dict(reading.rest or {})
    for name in list(kept):
        if name in names or name in new:
            continue
        if len(names) + len(new) < MAX_NAMES:
            new.add(name)
        else:
            del kept[name]
            reading.left_out += 1
    reading.rest = kept
