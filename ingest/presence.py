"""Which devices are online, as they and their brokers say."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, update

import queries.devices
from ingest.device_messages import PresenceNotice
from ingest.message import Applied
from models import Presence


def announce(connection: Connection, notices: Sequence[PresenceNotice], moment: datetime) -> Applied:
    """Apply notices in their order; a broker repeats the newest of each device at every connection."""
    rows = queries.devices.presence(connection, {notice.device_id for notice in notices})
    known = {row["device_id"]: row["online"] for row in rows}
    online = dict(known)
    changed: dict[str, dict[str, Any]] = {}
    applied = Applied()
    for notice in notices:
        if online.get(notice.device_id) is notice.online:
            applied.repeated += 1
            continue
        applied.stored += 1
        online[notice.device_id] = notice.online
        changed[notice.device_id] = {"online": notice.online, "changed_at": moment}
    applied.changed = sorted(changed)
    new = [{"device_id": device, **changed[device]} for device in applied.changed if device not in known]
    if new:
        connection.execute(insert(Presence), new)
    old = [{"device": device, **changed[device]} for device in applied.changed if device in known]
    if old:
        connection.execute(update(Presence).where(Presence.device_id == bindparam("device")), old)
    return applied
