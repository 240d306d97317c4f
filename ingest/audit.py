"""The audit trail: a CSV file with a row for every message received and its outcome."""

import csv
import io
import logging
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from broker.message import Message
from config import Settings
from ingest.message import DeviceMessage, Parsed, Reading, Rejection
from ingest.outcome import Outcome
from ingest.presence import PresenceNotice
from ingest.rejected import KEPT
from streams.registry import Streams
from utils.clock import rfc3339
from utils.logger import MEGABYTE, Rotation, Throttle, append
from utils.paths import AUDIT_HEADER
from utils.text import printable

logger = logging.getLogger(__name__)
COLUMNS = (
    "received_at",
    "source",
    "topic",
    "stream",
    "device_id",
    "timestamp",
    "outcome",
    "reason",
    "payload",
)
Result = Literal["accepted", "repeated", "rejected", "ignored"]
"""What the column `outcome` has."""
HEADER = ",".join(COLUMNS).encode() + b"\n"
# Prefixes of cells that a spreadsheet may run as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


class AuditTrail:
    """Writes the file of AUDIT_CSV; each row is one line, whatever the message contains."""

    def __init__(self, settings: Settings, streams: Streams) -> None:
        self._file = settings.audit_csv
        self._megabytes, self._kept = settings.audit_csv_mb, settings.audit_csv_count
        self._streams = streams
        self._lock = threading.Lock()
        self._missing = 0
        self._throttle = Throttle(seconds=10)

    def recorder(self, source: str) -> Callable[[Outcome], None]:
        """Return the function that a pipeline calls with the outcome after each commit."""
        file = self._file
        if file is None:
            return lambda _: None
        return lambda outcome: self._record(file, source, outcome)

    def _record(self, file: Path, source: str, outcome: Outcome) -> None:
        rotation = Rotation(self._megabytes * MEGABYTE, self._kept, AUDIT_HEADER)
        written = io.StringIO()
        csv.writer(written, lineterminator="\n").writerows(self._rows(source, outcome))
        try:
            with self._lock:
                append(file, HEADER, written.getvalue().encode(), rotation)
        except OSError as error:
            # The readings are stored, so a full disk need not stop ingestion.
            self._missing += outcome.received
            missing = f"{self._missing} rows are missing from the audit trail so far"
            text = f"AUDIT_CSV={file}: cannot be written: {error}; {missing}"
            self._throttle.warn(logger, "audit", text)

    def _rows(self, source: str, outcome: Outcome) -> Iterator[tuple[str, ...]]:
        """Yield the rows in the order in which the messages were received."""
        reasons: dict[object, tuple[Result, str]] = {
            one.message.serial(): ("rejected", one.reason) for one in outcome.rejections
        }
        reasons |= {one.message.serial(): ("ignored", one.reason) for one in outcome.ignored}
        items: list[tuple[Message, Parsed | None]] = [(one.message, one) for one in outcome.parsed]
        items += [(message, None) for message in outcome.repeated]
        for message, item in sorted(items, key=lambda pair: pair[0].received_at):
            default: tuple[Result, str] = ("repeated" if item is None else "accepted", "")
            result, reason = reasons.get(message.serial(), default)
            stream, device_id, timestamp = self._identity(message, item)
            yield (
                rfc3339(message.received_at),
                source,
                _cell(message.topic),
                stream,
                _cell(device_id),
                timestamp,
                result,
                reason,
                _cell(_text(message.payload)),
            )

    def _identity(self, message: Message, item: Parsed | None) -> tuple[str, str, str]:
        """Return stream, device and time of a message; empty texts where they are unknown."""
        if isinstance(item, Reading):
            return item.stream.name, item.device_id, rfc3339(item.timestamp)
        if isinstance(item, DeviceMessage):
            stream = item.stream if isinstance(item, PresenceNotice) else ""
            return stream, item.device_id, ""
        found = self._streams.match(message.topic) if message.valid_topic else None
        stream, device_id = "", ""
        if found is not None:
            stream, device_id = found.stream.name, found.device_id or ""
        if isinstance(item, Rejection):
            stream = item.stream or ""
        return stream, device_id, ""


def _text(payload: bytes) -> str:
    text = payload[:KEPT].decode(errors="backslashreplace")
    return text if len(payload) <= KEPT else f"{text}…"


def _cell(text: str) -> str:
    """Escape a text from outside, so that it is no formula and no row break in a spreadsheet."""
    escaped = text if text.isprintable() else printable(text)
    is_formula = text.startswith(_FORMULA) and not _NUMBER.fullmatch(text)
    return f"'{escaped}" if is_formula else escaped
