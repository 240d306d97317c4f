"""Write times as payloads have them: the inverse of reading them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from streams.stream import Timestamp
from utils.calendar import zone_or_offset
from utils.clock import EPOCH, MICROSECOND, PER_SECOND, naive_utc, rfc3339

_TWO_FIELDS = "%Y-%m-%d %H:%M:%S.%f"


class TimeWriter:
    """Writes times in the declared fields, format and zone."""

    def __init__(self, declared: Timestamp) -> None:
        self._fields = len(declared.fields)
        self._per_second = PER_SECOND.get(declared.format, 0)
        self._zone = zone_or_offset(declared.zone) if declared.zone else None
        format_of_text = "" if self._per_second else declared.format
        self._format = format_of_text or (_TWO_FIELDS if self._fields > 1 else "")
        self._step = _step(declared.format)

    def representable(self, time: datetime) -> datetime:
        """Return the time that is read where this one is written; both are naive UTC."""
        if self._per_second or not self._format:
            return time - (time - EPOCH) % self._step
        try:
            read = datetime.strptime(self.text(time), self._format)  # noqa: DTZ007 - see below
        except ValueError:
            return time  # a name of a zone that `strptime` does not know: it is not read at all
        if read.tzinfo is None:
            # Of an hour that comes twice, the earlier one is read.
            read = read.replace(tzinfo=self._zone or UTC, fold=0)
        return naive_utc(read)

    def parts(self, time: datetime) -> list[Any]:
        """Return what the fields have for a naive UTC time."""
        whole = self.whole(time)
        if self._fields == 1:
            return [whole]
        date, _, clock = str(whole).partition(" ")
        return [date, clock]

    def whole(self, time: datetime) -> Any:
        """Return what one field has for a naive UTC time: a number or a text."""
        if self._per_second:
            return (time - EPOCH) // MICROSECOND * self._per_second // 10**6
        return self.text(time)

    def text(self, time: datetime) -> str:
        """Return the text for a naive UTC time."""
        if self._zone is None and not self._format:
            return rfc3339(time)
        local = time.replace(tzinfo=UTC).astimezone(self._zone or UTC)
        if self._format:
            return local.strftime(self._format)
        # The offset tells apart the two hours that have one name.
        return local.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _step(unit: str) -> timedelta:
    """Return the time between two numbers of a unit, or between two texts."""
    steps = {"s": timedelta(seconds=1), "ms": timedelta(milliseconds=1)}
    return steps.get(unit, MICROSECOND)
