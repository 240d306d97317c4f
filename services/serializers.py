"""Serialize rows for clients, the same over REST and live push."""

from datetime import datetime

import msgspec
from sqlalchemy import RowMapping

from streams.metric import Metric, Value
from streams.stream import Stream
from utils import clock
from utils.json_types import JsonObject

REST = "rest"
"""The column with the fields that no metric takes."""
_REST = msgspec.json.Decoder(dict[str, Value])


def reading(row: RowMapping) -> JsonObject:
    """Return a stored reading."""
    times = {
        "timestamp": clock.rfc3339(row["timestamp"]),
        "created_at": clock.rfc3339(row["created_at"]),
    }
    shown = {**row, **times}
    if REST not in shown:
        return shown
    # A metric that was declared later has no value yet in older readings.
    kept = fields_of(shown.pop(REST))
    return shown | {name: value for name, value in kept.items() if shown.get(name) is None}


def fields_of(rest: str | None) -> dict[str, Value]:
    """Return the fields that no metric takes, by name."""
    return _REST.decode(rest) if rest else {}


def message(stream: Stream, metric: Metric, row: RowMapping) -> JsonObject:
    """Return one value of a reading in the form of its metric's topic."""
    topic = stream.topic_of(row["device_id"], metric.level)
    return {"topic": topic, "value": row[metric.name], "timestamp": clock.rfc3339(row["timestamp"])}


def command(row: RowMapping, root: str = "") -> JsonObject:
    """Return a command with its state; `root` is the path that the API is served below."""
    shown = ("command_id", "device_id", "command", "status", "reason")
    times = {
        name: row[name] and clock.rfc3339(row[name])
        for name in ("issued_at", "expires_at", "sent_at")
    }
    return {
        **{name: row[name] for name in shown},
        "parameters": msgspec.json.decode(row["parameters"]),
        "result": row["result"] and msgspec.json.decode(row["result"]),
        **times,
        "updated_at": clock.rfc3339(row["updated_at"]),
        "url": f"{root}/api/control/{row['command_id']}",
    }


def device(row: RowMapping, now: datetime) -> JsonObject:
    """Return a device of a stream.

    `silent_for` is in seconds since the server last received a message, by the server's clock.
    """
    times = {
        name: row[name] and clock.rfc3339(row[name])
        for name in ("first_seen", "last_seen", "last_heard")
    }
    silent = _silent_for(row["last_heard"], now)
    return {"device_id": row["device_id"], **times, "silent_for": silent, "online": row["online"]}


def _silent_for(heard: datetime | None, now: datetime) -> float | None:
    """Return None for a time in the future: the clock was set back, and 0 would look alive."""
    if heard is None or heard > now + clock.STEP:
        return None
    return round(max(0.0, (now - heard).total_seconds()), 3)


def presence(row: RowMapping, stream: str | None = None) -> JsonObject:
    """Return whether a device is online and since when; null once its status was cleared.

    `stream` is that of the device, None if it is the device of all streams.
    """
    return {
        "stream": stream,
        "device_id": row["device_id"],
        "online": row["online"],
        "since": clock.rfc3339(row["changed_at"]),
    }


def rounded(value: float | None, digits: int) -> float | None:
    """Return a value rounded to `digits` decimals, or None; never -0.0."""
    return None if value is None else round(value, digits) + 0.0
