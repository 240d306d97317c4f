"""The status of a publisher: as JSON for REST and a file, and as text."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field
from typing_extensions import TypedDict  # pydantic cannot describe that of Python 3.11

from utils import clock, files
from utils.logger import Throttle

logger = logging.getLogger(__name__)
Name = Literal["published", "acknowledged", "failed", "missed"]
NAMES: tuple[Name, ...] = ("published", "acknowledged", "failed", "missed")
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
_RUNNING = "Whether a process publishes; if not, the figures are the last saved ones."
_RETAINED = "Topics on which the broker may hold a retained message of an entry."


class MessageCounts(TypedDict):
    """The counts of an entry's messages, by outcome."""

    published: int
    acknowledged: int
    failed: int
    missed: int
    last_published_at: Time | None


class EntryStatus(MessageCounts):
    """An entry that is published."""

    id: str
    topic: str
    connected: bool


class Totals(TypedDict):
    """Totals over restarts; times are null while there is none."""

    total_published: int
    total_acknowledged: int
    total_failed: int
    total_missed: Annotated[int, Field(description="Fell due while there was no connection.")]
    total_errors: int
    last_published_at: Time | None
    uptime_seconds: float
    started_at: Time | None
    saved_at: Time


class ConnectionCounts(TypedDict):
    """One for all entries without a last will, and one for each entry that has one."""

    open: int
    needed: int


class PublicationStatus(TypedDict):
    """The status of a publication."""

    connected: bool
    problem: str | None
    connections: ConnectionCounts
    publisher_id: Annotated[str, Field(description="Random, kept; the client ids come from it.")]
    retained: Annotated[list[str], Field(description=_RETAINED)]
    statistics: Totals
    configs: list[EntryStatus]


class PublisherStatus(PublicationStatus):
    """The publisher of a file, in any process."""

    running: Annotated[bool, Field(description=_RUNNING)]
    broker: str
    config: str
    active_configs: int
    faults: list[str]


class StatusFile:
    """The file in which a process saves its status, for other processes and after restarts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._throttle = Throttle(60)

    def read(self) -> PublisherStatus | None:
        """Return the status in the file, or None if there is none or it cannot be read."""
        try:
            fields = msgspec.json.decode(self.path.read_bytes(), type=dict[str, Any])
            # Earlier versions kept no topics.
            found = msgspec.convert({"retained": []} | fields, PublisherStatus)
            saved_at = found["statistics"]["saved_at"]
            for time in (saved_at, *(entry["last_published_at"] for entry in found["configs"])):
                clock.parse(time or saved_at)
        except FileNotFoundError:
            return None
        except (OSError, RecursionError, ValueError) as error:  # msgspec's errors are ValueErrors
            logger.warning("%s cannot be read; the statistics start at 0: %s", self.path, error)
            return None
        return found

    def write(self, status: PublisherStatus) -> None:
        """Replace the file."""
        try:
            files.replace(self.path, msgspec.json.encode(status))
        except OSError as error:
            self._throttle.warn(logger, "save", f"{self.path}: cannot be saved: {error.strerror}")


def total_of(status: PublisherStatus) -> EntryStatus:
    """Return the total in the form of an entry."""
    totals = status["statistics"]
    return {
        "id": "total",
        "topic": "",
        "connected": status["connected"],
        "published": totals["total_published"],
        "acknowledged": totals["total_acknowledged"],
        "failed": totals["total_failed"],
        "missed": totals["total_missed"],
        "last_published_at": totals["last_published_at"],
    }


def summary(status: PublisherStatus) -> str:
    """Return a status as one line."""
    total = total_of(status)
    counts = ", ".join(f"{total[name]:,} {name}" for name in NAMES)
    connection = "connected" if status["connected"] else status["problem"]
    uptime = f"uptime {status['statistics']['uptime_seconds']:.0f} s"
    return f"{status['active_configs']:,} active configurations, {counts}, {uptime}, {connection}"


def table(status: PublisherStatus, most: int | None = None) -> Iterator[str]:
    """Yield a status as lines: headings, the total, and up to `most` entries."""
    entries = status["configs"]
    rows: list[tuple[str, ...]] = [("id", *NAMES, "last published", "connection", "topic")]
    rows += map(_row, [total_of(status), *entries[:most]])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()
    if most is not None and len(entries) > most:
        yield f"and {len(entries) - most:,} more"


def _row(entry: EntryStatus) -> tuple[str, ...]:
    last = entry["last_published_at"]
    shown = "never" if last is None else f"{last[:19]}Z"
    connection = "open" if entry["connected"] else "closed"
    counts = (f"{entry[name]:,}" for name in NAMES)
    return entry["id"], *counts, shown, connection, entry["topic"]
