"""CSV, RFC 4180: each line below the names of the columns is a reading."""

import csv
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from ingest.formats.members import Object, document_of, lines_of
from ingest.showing import shortened
from ingest.values import PayloadError
from streams.payload_shape import MAX_COLUMNS

MAX_LINES = 64
"""Lines of one record: a quote that is not closed must not cost the rest of a long payload."""
MAX_AGAIN = 5_000
"""Lines that are read in vain behind quotes that are not closed; then a record is one line."""


class _Record(NamedTuple):
    line: int
    """The number of its first line, from 1."""
    cells: list[str]
    fault: str = ""


class Table:
    """Decodes the payloads of a stream."""

    def __init__(self, columns: Sequence[str], separator: str) -> None:
        self._columns = columns
        self._separator = separator

    def decode(self, payload: bytes) -> object:
        """Return the readings, whose values are texts. Raises PayloadError.

        A first line that only repeats the declared names is none. An empty cell is None, a cell
        that is missing at the end of a line is no field.
        """
        records = _records(lines_of(payload), self._separator)
        columns, first = self._columns, next(records, None)
        if not columns:
            columns = _header(first)
        elif first is not None and first.cells != [*columns]:
            records = chain([first], records)
        members = [_member(columns, record) for record in records]
        if not members:
            raise PayloadError("empty_payload", "no line below the names of the columns")
        return document_of(members)


def _records(lines: Sequence[str], separator: str) -> Iterator[_Record]:
    """Yield the records that are not blank, each with its own fault."""
    place, again = 0, 0
    while place < len(lines):
        number = place + 1
        is_long = '"' in lines[place] and again < MAX_AGAIN
        end = place + (MAX_LINES if is_long else 1)
        reader = csv.reader(lines[place:end], delimiter=separator, strict=True)
        try:
            cells = next(reader)
        except csv.Error as error:
            yield _Record(number, [], f"{error}: {shortened(lines[place].strip())}")
            again += reader.line_num - 1
            place += 1  # the lines behind it may be whole
            continue
        place += reader.line_num
        if len(cells) > 1 or (cells and cells[0].strip()):
            yield _Record(number, cells)


def _header(record: _Record | None) -> list[str]:
    """Return the names of the columns. Raises PayloadError."""
    if record is None:
        raise PayloadError("empty_payload", "the payload is empty")
    if record.fault:
        raise PayloadError("invalid_csv", _at(record, record.fault))
    names = [cell.strip() for cell in record.cells]
    if len(names) > MAX_COLUMNS:
        many = f"{len(names)} columns; at most {MAX_COLUMNS} are allowed"
        raise PayloadError("invalid_csv", _at(record, many))
    named = [name for name in names if name]
    if len(set(named)) < len(named):
        twice = next(name for name in named if named.count(name) > 1)
        fault = f"two columns are named {shortened(twice)}"
        raise PayloadError("invalid_csv", _at(record, fault))
    return names


def _member(columns: Sequence[str], record: _Record) -> Object | PayloadError:
    cells, fault = record.cells, record.fault
    # Many devices end a line with the separator.
    if len(cells) > len(columns) and any(cells[len(columns) :]):
        fault = f"{len(cells)} cells, but there are {len(columns)} columns"
    if fault:
        return PayloadError("invalid_csv", _at(record, fault))
    return {name: cell or None for name, cell in zip(columns, cells, strict=False) if name}


def _at(record: _Record, fault: str) -> str:
    return f"line {record.line}: {fault}"
