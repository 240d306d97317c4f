"""Read the fields of a payload that no metric takes; pure."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from ingest.showing import shown
from ingest.values import PayloadError, ValueFault, integer, number, text
from streams.metric import Value
from streams.rest import MAX_NAME, MAX_NAMES, Keys, RestNames
from streams.stream import Stream
from utils.exact_numbers import EXACT
from utils.identity import MAX_DEPTH

MAX_LEFT_OUT = 1_000
"""Fields that are left out and counted; what follows is not looked at."""
MAX_KNOWN = 1_000
"""Names that are remembered, because the next reading has the same."""
TOO_DEEP = object()
"""Stands for what is nested too deeply to be kept."""
RestFields = dict[str, Value]
"""What is kept, by name."""


class RestReader:
    """Reads what the metrics of a stream leave over."""

    def __init__(self, stream: Stream) -> None:
        self._names = RestNames(stream)
        self._known: dict[Keys, str] = {}

    def read(self, payload: Any, faults: list[ValueFault]) -> tuple[RestFields, int]:
        """Return the numbers, texts and booleans of a payload, and how many are left out.

        Faults in values are added to `faults`.
        """
        kept: RestFields = {}
        left_out = 0
        for keys, found in _scalars(payload, ()):
            if self._names.is_taken(keys):
                continue
            if left_out > MAX_LEFT_OUT:
                break
            is_kept = found is not TOO_DEEP and len(kept) < MAX_NAMES
            name = self._name(keys) if is_kept else ""
            if not is_kept or len(name) > MAX_NAME:
                left_out += 1
                continue
            try:
                kept[name] = _stored(name, found)
            except PayloadError as error:
                # Without a name, because a device may have any number of these.
                faults.append(ValueFault.of("", shown(found), error))
        return kept, left_out

    def _name(self, keys: Keys) -> str:
        name = self._known.get(keys)
        if name is None:
            name = self._names.of(keys)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            if len(name) <= MAX_NAME:
                self._known[keys] = name
        return name


def encoded(kept: RestFields | None) -> str | None:
    """Return the fields as they are stored, None if there are none."""
    return msgspec.json.encode(kept).decode() if kept else None


def _scalars(found: Any, keys: Keys) -> Iterator[tuple[Keys, Any]]:
    """Yield what is neither null nor an object or array in such a one, with its keys."""
    if len(keys) > MAX_DEPTH:
        yield keys, TOO_DEEP
        return
    items: Iterable[tuple[str | int, Any]] = (
        found.items() if isinstance(found, dict) else enumerate(found)
    )
    for key, inner in items:
        if isinstance(inner, dict | list):
            yield from _scalars(inner, (*keys, key))
        elif inner is not None:
            yield (*keys, key), inner


def _stored(name: str, found: Any) -> Value:
    if isinstance(found, bool):
        return found
    if isinstance(found, int):
        if -EXACT < found < EXACT:
            return found
        return integer(name, found, shown(found))
    if isinstance(found, float):
        if found and -EXACT < found < EXACT:
            return float(found)
        return number(name, found, shown(found))
    return str(text(name, found))
