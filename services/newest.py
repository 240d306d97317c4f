"""Return the newest reading of a stream for `latest`."""

from sqlalchemy import Connection, Table

import queries.devices
import queries.newest
from services import serializers
from streams.stream import Stream
from utils import clock
from utils.json_types import JsonObject


def reading(
    reader: Connection, stream: Stream, table: Table, device_id: str | None
) -> JsonObject | None:
    """Return the newest reading of one device, or of all devices; None if there is none.

    Where each metric has its own topic a row has one value. Then the answer covers one device, by
    default the one heard last: the newest value of each metric, with the time of each in `times`.
    """
    if stream.topic.has_metric and device_id is None:
        device_id = queries.devices.heard_last(reader, stream.name)
    row = queries.newest.latest(reader, table, device_id)
    if row is None:
        return None
    if not stream.topic.has_metric:
        return serializers.reading(row)
    newest = queries.newest.values(reader, stream.name, table, row["device_id"])
    found = {metric.name: newest.get(metric.name, (None, None)) for metric in stream.metrics}
    times = {name: timestamp and clock.rfc3339(timestamp) for name, (_, timestamp) in found.items()}
    return (
        serializers.reading(row)
        | {name: value for name, (value, _) in found.items()}
        | {"times": times}
    )
