"""Report how full the table of rejected messages is, and which messages fill it."""

from typing import Any

from sqlalchemy import Connection

import queries.rejected
from database import Database
from ingest.rejected import RejectedLimits
from utils.json_types import JsonObject

NEARLY_FULL = 0.8
"""The part of a limit from which the backend is degraded."""


def kept(reader: Connection, limits: RejectedLimits) -> JsonObject:
    """Return the number and bytes of the kept messages, the limits, and how many were evicted."""
    totals = queries.rejected.totals(reader)
    return {**totals._asdict(), "max": limits._asdict()}


def concern(reader: Connection, limits: RejectedLimits) -> str | None:
    """Return a message that names what fills a limit, if it is nearly reached."""
    totals = queries.rejected.totals(reader)
    full = {"messages": totals.messages / limits.messages, "bytes": totals.bytes / limits.bytes}
    measure = max(full, key=lambda name: full[name])
    shares = queries.rejected.largest_shares(reader, measure, 1)
    if full[measure] < NEARLY_FULL or not shares:
        return None
    held, limit = getattr(totals, measure), getattr(limits, measure)
    amount = f"{held:,} of {limit:,} {measure}"
    advice = "see /api/rejected, then run flask forget-rejected"
    most = _name(shares[0])
    return f"Rejected messages: {full[measure]:.0%} full ({amount}), most by {most}; {advice}"


def forget(database: Database) -> int:
    """Delete the messages but keep their counts; return how many there were. Raises Unavailable.

    It is for the command line: a job uses the connection that `run` gets.
    """
    with database.write() as connection, database.transaction(connection):
        return queries.rejected.forget(connection)


def _name(share: Any) -> str:
    """Return a readable name for a share."""
    if share["reason"] is None:
        return "messages rejected before an upgrade"
    who = share["device_id"] or share["topic"]
    return f"{share['reason']} of {who!r}" if who else f"{share['reason']} of various devices"
