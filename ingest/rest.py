"""Read the fields of a payload that no metric takes; pure."""

from collections.abc import Iterator
from typing import Any

import msgspec

from ingest.values import PayloadError, ValueFault, integer, number, shown, text
from streams.metric import Value
from streams.rest import MAX_NAME, MAX_NAMES, Keys, RestNames
from streams.stream import Stream
from utils.identity import MAX_DEPTH

MAX_LEFT_OUT = 10_000
"""Fields that are left out and counted; what follows is not looked at."""
TOO_DEEP = object()
"""Stands for what is nested too deeply to be kept."""
RestFields = dict[str, Value]
"""What is kept, by name."""


class RestReader:
    """Reads what the metrics of a stream leave over."""

    def __init__(self, stream: Stream) -> None:
        self._names = RestNames(stream)

    def read(self, payload: Any, faults: list[ValueFault]) -> tuple[RestFields, int]:
        """Return the numbers, texts and booleans of a payload, and how many are left out.

        Faults in values are added to `faults`.
        """
        kept: RestFields = {}
        left_out = 0
        for keys, found in _scalars(payload, ()):
            name = self._names.of(keys)
            if name is None or found is None:
                continue
            if left_out > MAX_LEFT_OUT:
                break
            if found is TOO_DEEP or len(kept) >= MAX_NAMES or len(name) > MAX_NAME:
                left_out += 1
                continue
            try:
                kept[_free(name, kept)] = _stored(name, found)
            except PayloadError as error:
                # Without a name, because a device may have any number of these.
                faults.append(ValueFault.of("", shown(found), error))
        return kept, left_out


def encoded(kept: RestFields | None) -> str | None:
    """Return the fields as they are stored, None if there are none."""
    return msgspec.json.encode(kept).decode() if kept else None


def _scalars(found: Any, keys: Keys) -> Iterator[tuple[Keys, Any]]:
    if len(keys) > MAX_DEPTH:
        yield keys, TOO_DEEP
    elif isinstance(found, dict):
        for name, inner in found.items():
            yield from _scalars(inner, (*keys, name))
    elif isinstance(found, list):
        for index, inner in enumerate(found):
            yield from _scalars(inner, (*keys, index))
    else:
        yield keys, found


def _stored(name: str, found: Any) -> Value:
    if isinstance(found, bool):
        return found
    if isinstance(found, int):
        return integer(name, found, shown(found))
    if isinstance(found, float):
        return number(name, found, shown(found))
    return str(text(name, found))


def _free(name: str, kept: RestFields) -> str:
    """Return a name that is not in use; only names that are reserved can meet another."""
    while name in kept:
        name = f"{name}_"
    return name
