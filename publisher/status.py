"""The status: how the publisher of a file does, as JSON, as it is kept in a file, and as text."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NotRequired, TypedDict

import msgspec

from utils import clock

logger = logging.getLogger(__name__)
NAMES = ("published", "acknowledged", "failed", "missed")


class Published(TypedDict):
    """What became of the messages of an entry."""

    published: int
    acknowledged: int
    failed: int
    missed: int
    last_published_at: str | None


class EntryStatus(Published):
    """An entry that is published."""

    id: str
    topic: str
    connected: bool


class Totals(TypedDict):
    """What became of all messages, over restarts; since when this run goes on."""

    total_published: int
    total_acknowledged: int
    total_failed: int
    total_missed: int
    total_errors: int
    last_published_at: str | None
    uptime_seconds: float
    started_at: str | None
    saved_at: str


class Connections(TypedDict):
    """How many there are, and should be."""

    open: int
    needed: int


class Progress(TypedDict):
    """How a run does."""

    connected: bool
    problem: str | None
    connections: Connections
    publisher_id: str
    """Random, kept for ever; the client ids at the broker come from it."""
    retained: NotRequired[list[str]]
    """Topics on which the broker may keep a message of ours."""
    statistics: Totals
    configs: list[EntryStatus]


class Status(Progress):
    """The whole: times are RFC 3339 with `Z`."""

    running: bool
    broker: str
    config: str
    active_configs: int
    faults: list[str]


def saved(file: Path) -> Status | None:
    """The status that a file has, or None where there is no such file or nothing can be read from it."""
    try:
        found = msgspec.json.decode(file.read_bytes(), type=Status)
        for moment in (found["statistics"]["saved_at"], *(entry["last_published_at"] for entry in found["configs"])):
            clock.parse(moment or found["statistics"]["saved_at"])
    except FileNotFoundError:
        return None
    except (OSError, RecursionError, ValueError) as error:  # msgspec's errors are ValueErrors
        logger.warning("%s cannot be read: the statistics begin anew: %s", file, error)
        return None
    found.setdefault("retained", [])
    return found


def summary(status: Status) -> str:
    """A status in one line."""
    told = status["statistics"]
    counts = ", ".join(f"{count:,} {name}" for name, count in zip(NAMES, _total(told), strict=True))
    connection = "connected" if status["connected"] else status["problem"]
    uptime = f"uptime {told['uptime_seconds']:.0f} s"
    return f"{status['active_configs']:,} active configurations, {counts}, {uptime}, {connection}"


def table(status: Status, most: int | None = None) -> Iterator[str]:
    """A status in lines: headings, the total, and up to `most` entries."""
    told, entries = status["statistics"], status["configs"]
    total = _row("total", _total(told), told["last_published_at"], status["connected"], "")
    rows = [("id", *NAMES, "last published", "connection", "topic"), total, *map(_entry, entries[:most])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    if len(rows) - 2 < len(entries):
        yield f"and {len(entries) + 2 - len(rows):,} more"


def _total(told: Totals) -> tuple[int, ...]:
    return told["total_published"], told["total_acknowledged"], told["total_failed"], told["total_missed"]


def _entry(entry: EntryStatus) -> tuple[str, ...]:
    counts = entry["published"], entry["acknowledged"], entry["failed"], entry["missed"]
    return _row(entry["id"], counts, entry["last_published_at"], entry["connected"], entry["topic"])


def _row(name: str, counts: tuple[int, ...], last: str | None, connected: bool, topic: str) -> tuple[str, ...]:
    shown = "never" if last is None else f"{last[:19]}Z"
    return (name, *(f"{count:,}" for count in counts), shown, "open" if connected else "closed", topic)
