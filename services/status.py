"""The state of the backend for `/api/health`."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping

import queries.ingest_status
import queries.installation
import queries.jobs
import queries.processes
from config import VERSION, Settings
from database import Database, Unavailable
from ingest.rejected import RejectedLimits
from models import IngestStatus, Installation
from services import rejected
from storage.schema import SOURCES
from utils import clock
from utils.json_types import JsonObject

HEARTBEAT_LIMIT = timedelta(seconds=10)
"""Largest age of a live heartbeat; one far in the future is from before the clock was set back."""
EVICTED, FORGOTTEN = timedelta(minutes=10), timedelta(days=1)
"""How long health reports an eviction or a forgotten session."""
FAILING = timedelta(minutes=1)
"""How long a job may fail before it degrades health."""
SERVICE = "AutoForge IoT Backend"


def health(settings: Settings, database: Database) -> JsonObject:
    """Return the health document.

    `status` is healthy, degraded (`message` says why, `mqtt.since` since when) or unhealthy, which
    means without a database.
    """
    base: JsonObject = {"service": SERVICE, "version": VERSION}
    try:
        with database.read() as reader:
            sources = _sources(reader)
            mqtt = _mqtt(reader, sources["mqtt"], settings)
            mqtt |= _past(queries.installation.installation(reader))
            http = _counts(reader, sources["http"])
            limits = RejectedLimits.of(settings)
            kept = rejected.kept(reader, limits)
            filled = rejected.concern(reader, limits)
            processes = queries.processes.declarations(reader, clock.now())
            jobs = queries.jobs.states(reader)
    except Unavailable as error:
        reachable = {"reachable": False, "url": str(database)}
        reason = f"The database cannot be used: {error}"
        return {"status": "unhealthy", **base, "message": reason, "database": reachable}
    trouble = database.trouble.reason
    if trouble is not None:
        # The ingester's own state is in the database, and outdated by now.
        mqtt["problem"] = f"the database cannot be written: {trouble}"
    declared = _declared(database, processes)
    concerns = _concerns(mqtt, declared, trouble, filled) + _failing(jobs)
    base |= {
        "database": {"reachable": True, "url": str(database), "problem": trouble},
        "streams": declared,
    }
    parts = {
        "mqtt": mqtt,
        "http": http,
        "rejected_messages": kept,
        "jobs": [_job(row) for row in jobs],
    }
    message = "; ".join(concerns) or None
    return {"status": "degraded" if concerns else "healthy", "message": message, **base, **parts}


def _declared(database: Database, processes: dict[str, str]) -> JsonObject:
    return {
        "declarations": database.declarations,
        "processes": processes,
        "unusable": dict(database.unusable),
    }


def _concerns(
    mqtt: JsonObject, declared: JsonObject, trouble: str | None, filled: str | None
) -> list[str]:
    """Return the reasons for `degraded`, the worst first."""
    concerns = []
    if trouble is not None:
        concerns.append(f"The database cannot be written: {trouble}")
    elif mqtt["problem"] is not None:
        concerns.append(f"MQTT: {mqtt['problem']}")
    if mqtt["evicted_at"] is not None:
        concerns.append(
            f"MQTT: another client used AutoForge's client id at {mqtt['evicted_at']}, "
            "and can receive its messages: give each copy of the database its own MQTT_CLIENT_ID, "
            "and devices a listener of their own"
        )
    if mqtt["forgotten_at"] is not None:
        concerns.append(
            f"MQTT: {mqtt['broker']} lost AutoForge's session at {mqtt['forgotten_at']}: "
            "the messages queued there are lost; "
            "make sure that it keeps sessions over a restart, "
            "and that no other client uses AutoForge's client id: one that begins a new session "
            "ends this one"
        )
    if filled is not None:
        concerns.append(filled)
    concerns += [
        f"The stream {name} cannot be used: {why}" for name, why in declared["unusable"].items()
    ]
    if len({declared["declarations"], *declared["processes"].values()}) > 1:
        listed = ", ".join(f"{name} ({digest})" for name, digest in declared["processes"].items())
        differ = "Processes run with different declarations of streams; restart the older ones"
        concerns.append(f"{differ}: {listed}")
    return concerns


def _failing(jobs: Sequence[RowMapping]) -> list[str]:
    """Return a message for each job that has failed for longer than FAILING."""
    limit = clock.now() - FAILING
    failing = [
        row for row in jobs if row["failing_since"] is not None and row["failing_since"] <= limit
    ]
    return [f"The job {row['name']} fails: {row['error']}" for row in failing]


def _job(row: RowMapping) -> JsonObject:
    return {**row, "ran_at": _time(row["ran_at"]), "failing_since": _time(row["failing_since"])}


def _past(installation: Installation) -> JsonObject:
    """Return when the session at the broker was evicted or lost, if recently."""
    return {
        "evicted_at": _recent(installation.evicted_at, EVICTED),
        "forgotten_at": _recent(installation.forgotten_at, FORGOTTEN),
    }


def _recent(timestamp: datetime | None, limit: timedelta) -> str | None:
    if timestamp is None or abs(clock.now() - timestamp) >= limit:
        return None
    return clock.rfc3339(timestamp)


def ingestion(settings: Settings, database: Database) -> JsonObject:
    """Return the state and the counts of the ingester. Raises Unavailable."""
    with database.read() as reader:
        return _mqtt(reader, _sources(reader)["mqtt"], settings)


def _sources(reader: Connection) -> dict[str, IngestStatus]:
    """Return the status of each source.

    Raises Unavailable while another process creates the tables, which is not atomic everywhere.
    """
    sources = queries.ingest_status.ingest_status(reader)
    if not sources.keys() >= set(SOURCES):
        raise Unavailable("its tables are being created")
    return sources


def _mqtt(reader: Connection, status: IngestStatus, settings: Settings) -> JsonObject:
    beat, now = status.heartbeat_at, clock.now()
    running = status.holder is not None and beat is not None and abs(now - beat) < HEARTBEAT_LIMIT
    # A heartbeat in the future does not say when the ingester ended.
    ended = beat if beat is None or beat <= now else None
    return {
        "broker": str(settings.broker),
        "holder": status.holder,
        "heartbeat_at": _time(beat),
        "running": running,
        "connected": running and status.connected,
        "subscribed": running and status.subscribed,
        "problem": status.problem if running else "no process ingests",
        "since": _time(status.changed_at if running else ended),
        "uptime": _seconds_since(status.changed_at) if running and status.problem is None else None,
        "waiting": status.waiting if running else 0,
        "messages_per_second": status.messages_per_second if running else None,
        "processing_ms": status.processing_ms if running else None,
        "best_effort": status.best_effort,
        **_counts(reader, status),
    }


def _counts(reader: Connection, status: IngestStatus) -> JsonObject:
    counts: JsonObject = {
        name: getattr(status, name)
        for name in ("received", "stored", "duplicate", "rejected", "ignored", "values_left_out")
    }
    reasons = queries.ingest_status.ignored_counts(reader, status.source)
    counts["readings"] = {
        name: getattr(status, f"readings_{name}") for name in ("stored", "duplicate", "rejected")
    }
    return {**counts, "ignored_by_reason": reasons, "last_batch_at": _time(status.last_batch_at)}


def _seconds_since(timestamp: datetime | None) -> float | None:
    if timestamp is None:
        return None
    # The clock may have been set back since.
    return max(0.0, round((clock.now() - timestamp).total_seconds(), 3))


def _time(timestamp: datetime | None) -> str | None:
    return None if timestamp is None else clock.rfc3339(timestamp)
