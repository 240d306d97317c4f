"""InfluxDB's line protocol: each line is a reading.

https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

import re
from typing import Any

from ingest.formats.members import Object, document_of, lines_of
from ingest.json_payloads import check_size
from ingest.showing import Spelled, shortened
from ingest.values import NUMBER, PayloadError, detached
from streams.payload_shape import INFLUX_OWN

_NAME_TEXT = r"(?:[^,= \\]|\\[,= ]?)++"
_STRING_TEXT = r'"(?:[^"\\]|\\["\\]?)*+"'
_SPACES = re.compile(" ++")
_MEASUREMENT = re.compile(r"(?:[^, \\]|\\[, ]?)++")
_NAME = re.compile(_NAME_TEXT)
_EQUALS = re.compile("=")
_STRING = re.compile(_STRING_TEXT)
_TAG = re.compile(f"({_NAME_TEXT})=({_NAME_TEXT})")
_FIELD = re.compile(f'({_NAME_TEXT})=({_STRING_TEXT}|[^," ]++)')
_IN_MEASUREMENT = re.compile(r"\\([, ])")
_IN_NAME = re.compile(r"\\([,= ])")
_IN_STRING = re.compile(r'\\(["\\])')
_TIME = re.compile(r"-?\d{1,19}(?= *$)", re.ASCII)
_INTEGER = re.compile(r"(-?\d{1,20})[iu]", re.ASCII)
_WHOLE = re.compile(r"-?\d{1,20}", re.ASCII)
_BOOLEANS = {
    **dict.fromkeys(("t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("f", "F", "false", "False", "FALSE"), False),
}
_VALUE = 'a value such as 21.5, 12i, true or "text"'


class _Line:
    """A line, read from left to right."""

    def __init__(self, number: int, text: str) -> None:
        self._number, self._text, self._at = number, text, 0

    @property
    def is_read(self) -> bool:
        return self._at == len(self._text)

    def skip(self, mark: str) -> bool:
        """Go behind a mark, if it comes next."""
        is_next = self._text.startswith(mark, self._at)
        self._at += len(mark) if is_next else 0
        return is_next

    def take(self, pattern: re.Pattern[str], expected: str) -> str:
        """Return what matches, and go behind it. Raises PayloadError."""
        found = pattern.match(self._text, self._at)
        if found is None:
            raise self.unexpected(expected)
        self._at = found.end()
        return found[0]

    def unexpected(self, expected: str, at: int | None = None) -> PayloadError:
        """Return the error for what comes next."""
        at = self._at if at is None else at
        rest = shortened(self._text[at : at + 61]) or "the end of the line"
        place = f"line {self._number}, column {at + 1}"
        return PayloadError("invalid_influx", f"{place}: expected {expected}, not {rest}")

    def pairs(self, what: str) -> Object:
        """Return names with their values, which commas separate. Raises PayloadError."""
        pattern, read = (_TAG, _name) if what == "tag" else (_FIELD, _value)
        found: Object = {}
        while True:
            pair = pattern.match(self._text, self._at)
            if pair is None:
                raise self._why_no_pair(what)
            name, value = _name(pair[1]), read(pair[2])
            if name in found:
                raise self.unexpected(f"each {what} once")
            if value is None:
                raise self.unexpected(_VALUE, pair.start(2))
            found[name] = value
            self._at = pair.end()
            if not self.skip(","):
                return found

    def _why_no_pair(self, what: str) -> PayloadError:
        self.take(_NAME, f"the name of a {what}")
        self.take(_EQUALS, "=")
        if what == "field" and self._text.startswith('"', self._at):
            self.take(_STRING, "a closing quote")
        return self.unexpected(_VALUE if what == "field" else "the value of the tag")


def decode(payload: bytes) -> Any:
    """Return the readings. Raises PayloadError.

    A reading has its fields, and `measurement`, `tags` and `timestamp`, if the line has one. All
    fields are in `fields`, too, where those are that have the name of one of these four.
    """
    lines = lines_of(payload)
    if len(lines) == 1:
        check_size(payload)  # before it is read
    written = [(number, line.strip(" \t\r\n")) for number, line in enumerate(lines, 1)]
    return document_of(
        [_member(number, line) for number, line in written if line and not line.startswith("#")]
    )


def _member(number: int, text: str) -> Object | PayloadError:
    try:
        return _reading(_Line(number, text))
    except PayloadError as error:
        return detached(error)


def _reading(line: _Line) -> Object:
    measurement = _IN_MEASUREMENT.sub(r"\1", line.take(_MEASUREMENT, "the name of a measurement"))
    tags = line.pairs("tag") if line.skip(",") else {}
    line.take(_SPACES, "a space before the fields")
    fields = line.pairs("field")
    reading = {name: value for name, value in fields.items() if name not in INFLUX_OWN}
    reading |= {"measurement": measurement, "tags": tags, "fields": fields}
    if not line.is_read:
        line.take(_SPACES, "a space before the time")
        reading["timestamp"] = int(line.take(_TIME, "a time as a whole number"))
    return reading


def _name(written: str) -> str:
    return _IN_NAME.sub(r"\1", written) if "\\" in written else written


def _value(word: str) -> str | int | float | bool | None:
    """Return the value of a field; None if it is none."""
    if word.startswith('"'):
        return _IN_STRING.sub(r"\1", word[1:-1])
    if word in _BOOLEANS:
        return _BOOLEANS[word]
    if found := _INTEGER.fullmatch(word):
        return int(found[1])
    if _WHOLE.fullmatch(word):
        return int(word)
    return Spelled(word) if NUMBER.fullmatch(word) else None
