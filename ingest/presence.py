"""Presence: which devices are online, as reported by devices and brokers."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

import queries.presence
from broker.message import Message
from broker.notifier import ChangeSet
from ingest.device_messages import read_object
from ingest.message import DeviceMessage
from ingest.outcome import Applied
from ingest.values import PayloadError, shown
from streams.topics import TopicPattern
from utils.lenient_json import BOM


class PresenceNotice(DeviceMessage, gc=False):
    """A report that a device is online, or offline; the broker may send it as the last will."""

    online: bool | None
    """None if the report was cleared."""


class PresenceNotices:
    """The kind of message that reports whether a device is online."""

    parsed = PresenceNotice

    def __init__(self, topic: TopicPattern) -> None:
        self.topic = topic

    def read(self, device_id: str, message: Message) -> PresenceNotice:
        """Parse a presence message. Raises PayloadError."""
        return PresenceNotice(device_id, message, _is_online(message.payload))

    def apply(
        self, connection: Connection, notices: Sequence[PresenceNotice], now: datetime
    ) -> Applied:
        """Apply presence messages; the broker repeats retained ones at every connection."""
        rows = queries.presence.presence(connection, {notice.device_id for notice in notices})
        known = {row["device_id"]: row["online"] for row in rows}
        online = dict(known)
        applied = Applied(unkeyed=[notice.message for notice in notices])
        changed: set[str] = set()
        for notice in notices:
            if online.get(notice.device_id) is notice.online:
                applied.duplicate += 1
                continue
            applied.stored += 1
            online[notice.device_id] = notice.online
            changed.add(notice.device_id)
        applied.changes = ChangeSet(devices=sorted(changed))
        new = {device: online[device] for device in changed if device not in known}
        queries.presence.add(connection, new, now)
        old = {device: online[device] for device in changed if device in known}
        queries.presence.change(connection, old, now)
        return applied


def _is_online(payload: bytes) -> bool | None:
    if not payload:
        return None
    text = payload.removeprefix(BOM).strip()
    if text in (b"online", b"offline"):
        return text == b"online"
    status = read_object(payload).get("status")
    if status not in ("online", "offline"):
        message = f"status: expected online or offline, not {shown(status)}"
        raise PayloadError("invalid_presence", message)
    return bool(status == "online")
