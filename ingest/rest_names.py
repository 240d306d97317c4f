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
Device = tuple[str, str]
"""Stream and device id."""


class RestNameLimit:
    """Keeps the names of each device, and takes fields with further names out of readings."""

    def __init__(self, database: Database) -> None:
        self._keeping = queries.rest_names.keeping(database.upsert)
        # Only what was read from the database: a transaction may fail.
        self._known: OrderedDict[Device, set[str]] = OrderedDict()

    def apply(self, connection: Connection, group: Sequence[Reading]) -> None:
        """Do so for readings of one stream, within a transaction. Raises DBAPIError."""
        stream = group[0].stream.name
        new: defaultdict[str, set[str]] = defaultdict(set)
        for reading in group:
            if reading.rest and not reading.rest.keys() <= self._known_of(
                stream, reading.device_id
            ):
                self._admit(connection, reading, new[reading.device_id])
        queries.rest_names.keep(connection, self._keeping, stream, new)

    def _admit(self, connection: Connection, reading: Reading, new: set[str]) -> None:
        device = (reading.stream.name, reading.device_id)
        names = self._known_of(*device)
        if not new:
            names = self._known[device] = queries.rest_names.of_device(connection, *device)
            self._known.move_to_end(device)
            if len(self._known) > MAX_DEVICES:
                self._known.popitem(last=False)
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

    def _known_of(self, stream: str, device_id: str) -> set[str]:
        return self._known.get((stream, device_id), set())
