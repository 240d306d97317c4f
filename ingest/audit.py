"""The audit trail: every message that came in, and what became of it, as a row of a CSV file."""

import csv
import io
import logging
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from broker.message import Message
from config import Settings
from ingest.message import DeviceMessage, Parsed, Reading, Rejection
from ingest.outcome import Outcome
from ingest.rejected import KEPT
from streams.registry import Streams
from utils.clock import rfc3339
from utils.logger import MEGABYTE, Rotation, Throttle, append
from utils.text import printable

logger = logging.getLogger(__name__)
COLUMNS = ("received_at", "source", "topic", "stream", "device_id", "timestamp", "outcome", "reason", "payload")
HEADER = ",".join(COLUMNS).encode() + b"\n"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet may run."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


class AuditTrail:
    """Writes the file of AUDIT_CSV; each row is one line, whatever the message holds."""

    def __init__(self, settings: Settings, streams: Streams) -> None:
        self._file = settings.audit_csv
        self._megabytes, self._kept = settings.audit_csv_mb, settings.audit_csv_count
        self._streams = streams
        self._lock = threading.Lock()
        self._missing = 0
        self._throttle = Throttle(seconds=10)

    def recorder(self, source: str) -> Callable[[Outcome], None]:
        """What a pipeline is to call after each commit."""
        file = self._file
        if file is None:
            return lambda _: None
        return lambda outcome: self._record(file, source, outcome)

    def _record(self, file: Path, source: str, outcome: Outcome) -> None:
        rotation = Rotation(self._megabytes * MEGABYTE, self._kept)
        written = io.StringIO()
        csv.writer(written, lineterminator="\n").writerows(self._rows(source, outcome))
        try:
            with self._lock:
                append(file, HEADER, written.getvalue().encode(), rotation)
        except OSError as error:
            # The readings are stored: a full disk is no reason to keep devices waiting.
            self._missing += outcome.received
            missing = f"{self._missing} rows are missing from the audit trail so far"
            self._throttle.warn(logger, "audit", f"AUDIT_CSV={file}: cannot be written: {error}; {missing}")

    def _rows(self, source: str, outcome: Outcome) -> Iterator[tuple[str, ...]]:
        """In the order in which the messages came."""
        reasons = {one.message.serial(): ("rejected", one.reason) for one in outcome.rejections}
        reasons |= {one.message.serial(): ("ignored", one.reason) for one in outcome.ignored}
        items: list[tuple[Message, Parsed | None]] = [(one.message, one) for one in outcome.parsed]
        items += [(message, None) for message in outcome.repeated]
        for message, item in sorted(items, key=lambda pair: pair[0].received_at):
            otherwise = ("repeated" if item is None else "accepted", "")
            became, reason = reasons.get(message.serial(), otherwise)
            stream, device_id, timestamp = self._understood(message, item)
            yield (
                rfc3339(message.received_at),
                source,
                _cell(message.topic),
                stream,
                _cell(device_id),
                timestamp,
                became,
                reason,
                _cell(_text(message.payload)),
            )

    def _understood(self, message: Message, item: Parsed | None) -> tuple[str, str, str]:
        """The stream, the device and the time of a message, as far as they are known."""
        if isinstance(item, Reading):
            return item.stream.name, item.device_id, rfc3339(item.timestamp)
        if isinstance(item, DeviceMessage):
            return "", item.device_id, ""
        found = self._streams.match(message.topic) if message.valid_topic else None
        stream, device_id = (found[0].name, found[1] or "") if found else ("", "")
        return (item.stream or "" if isinstance(item, Rejection) else stream), device_id, ""


def _text(payload: bytes) -> str:
    text = payload[:KEPT].decode(errors="backslashreplace")
    return text if len(payload) <= KEPT else f"{text}…"


def _cell(text: str) -> str:
    """Text from outside, so that a spreadsheet neither runs it nor begins a new row in it."""
    shown = text if text.isprintable() else printable(text)
    return f"'{shown}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else shown
