"""Rows as people get them, the same over REST and live."""

from datetime import datetime

import msgspec
from sqlalchemy import RowMapping

from streams.stream import Metric, Stream
from utils import clock
from utils.json_types import JsonObject


def reading(row: RowMapping) -> JsonObject:
    """A stored reading."""
    times = {
        "timestamp": clock.rfc3339(row["timestamp"]),
        "created_at": clock.rfc3339(row["created_at"]),
    }
    return {**row, **times}


def message(stream: Stream, metric: Metric, row: RowMapping) -> JsonObject:
    """One value of a reading, as it is on the topic of its metric."""
    topic = stream.topic.fill(row["device_id"], metric.level)
    return {"topic": topic, "value": row[metric.name], "timestamp": clock.rfc3339(row["timestamp"])}


def command(row: RowMapping, root: str = "") -> JsonObject:
    """A command with its state; `root` is the path below which the API is served."""
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
    """A device of a stream; `silent_for` is in seconds since the server heard it, whatever its own clock says."""
    times = {
        name: row[name] and clock.rfc3339(row[name])
        for name in ("first_seen", "last_seen", "last_heard")
    }
    silent = _silent_for(row["last_heard"], now)
    return {"device_id": row["device_id"], **times, "silent_for": silent, "online": row["online"]}


def _silent_for(heard: datetime | None, now: datetime) -> float | None:
    """None of what was heard at a time that is still to come: the clock was set back, and a 0 would look alive."""
    if heard is None or heard > now + clock.STEP:
        return None
    return round(max(0.0, (now - heard).total_seconds()), 3)


def presence(row: RowMapping) -> JsonObject:
    """Whether a device is online, and since when; null once the message that said so was cleared."""
    return {
        "device_id": row["device_id"],
        "online": row["online"],
        "since": clock.rfc3339(row["changed_at"]),
    }


def rounded(value: float | None, digits: int) -> float | None:
    """A figure with so many decimals, or None; never -0.0."""
    return None if value is None else round(value, digits) + 0.0
