"""Members: the parts of a decoded payload that are a reading each; pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

import msgspec
from msgspec.structs import replace

from ingest.fields import UNSET, NotConcerned, begins_with_index, nothing_read
from ingest.json_payloads import MAX_READINGS
from ingest.showing import few_shown, shortened, shown
from ingest.values import PayloadError, detached
from streams.paths import MISSING, WHOLE, Path
from streams.payload_shape import Pairs, PayloadShape
from streams.stream import Stream

MAX_PAIRS = 100_000
"""Names and values in all readings of a message; those at its top are read for each."""
MAX_COPIED = 1_000_000
"""Fields beside pairs with times, multiplied by the pairs."""


class Member(msgspec.Struct, gc=False):
    """A part of a payload that is a reading, or an error in its place."""

    content: Any
    """The decoded part; PayloadError or NotConcerned if it is none."""
    top: Any
    """The document in which paths from the top are found."""
    place: str = ""
    """Where it is, such as `readings[3]`; empty if it is the whole payload."""
    key: str | None = None
    """Its key in the object that explodes."""
    time: Any = UNSET
    """The time of its pairs."""
    unread: tuple[PayloadError, ...] = ()
    """The errors in its pairs."""


class MemberFinder:
    """Finds the members of the payloads of a stream."""

    def __init__(self, stream: Stream) -> None:
        shape = stream.shape
        self._paths = [Path.of(text) for text in shape.exploded if text != WHOLE]
        self._explodes_whole = WHOLE in shape.exploded
        self._shape = shape
        self._pairs = None if shape.pairs is None else PairReader(shape.pairs, shape)
        self.explodes = bool(shape.exploded) or shape.pairs is not None
        """Whether a payload that is an object can have several readings."""
        self._takes_list = (
            self._explodes_whole
            or begins_with_index(stream)
            or (shape.pairs is not None and not shape.pairs.array and not self._paths)
        )

    def members(self, document: Any) -> Sequence[Member]:
        """Return the members, at least one. Raises PayloadError, NotConcerned."""
        with few_shown():
            return self._found(document)

    def _found(self, document: Any) -> Sequence[Member]:
        documents = [Member(document, document)]
        if not self._takes_list and is_list_of_objects(document):
            documents = elements_of(document)
        if not self.explodes:
            return documents
        found: list[Member] = []
        for one in documents:
            exploded = self._exploded(one)
            found += exploded if self._pairs is None else _paired(exploded, self._pairs)
            check_count(len(found))
        return found

    def _exploded(self, whole: Member) -> Sequence[Member]:
        if not (self._paths or self._explodes_whole):
            return [whole]
        try:
            return self._parts(whole)
        except (PayloadError, NotConcerned) as error:
            return [replace(whole, content=detached(error))]

    def _parts(self, whole: Member) -> Sequence[Member]:
        if len(self._paths) > 1:
            return self._zipped(whole)
        document, name = whole.content, ""
        if self._paths:
            name = self._paths[0].text
            document = self._paths[0].find(whole.content, whole.top)
        return self._members_of(document, whole, name)

    def _members_of(self, found: Any, whole: Member, name: str) -> Sequence[Member]:
        """Return the members of an array or object. Raises PayloadError, NotConcerned."""
        top, place = whole.top, _inside(whole.place, name)
        if isinstance(found, dict) and found:
            check_count(len(found))
            named = (
                (_inside(place, shortened(key) or '""'), key, one) for key, one in found.items()
            )
            return _flat(Member(one, top, here, key) for here, key, one in named)
        if isinstance(found, list) and found:
            check_count(len(found))
            return _flat(Member(one, top, f"{place}[{i}]") for i, one in enumerate(found))
        if found is MISSING or found is None or found in ({}, []):
            raise nothing_read(self._shape, f"{name or 'the payload'}: no readings")
        expected = f"expected an array or an object, not {shown(found)}"
        raise PayloadError("not_an_object", f"{name or 'the payload'}: {expected}")

    def _zipped(self, whole: Member) -> Sequence[Member]:
        arrays: list[list[Any]] = []
        for path in self._paths:
            found = path.find(whole.content, whole.top)
            if found is MISSING or found is None:
                found = []
            if not isinstance(found, list):
                expected = f"expected an array, not {shown(found)}"
                raise PayloadError("not_an_array", f"{path.text}: {expected}")
            check_count(len(found))
            arrays.append(found)
        names = [path.keys[-1] for path in self._paths]
        rows = list(zip_longest(*arrays, fillvalue=MISSING))
        if not rows:
            listed = ", ".join(path.text for path in self._paths)
            raise nothing_read(self._shape, f"{listed}: no readings")
        contents = (
            {name: value for name, value in zip(names, row, strict=True) if value is not MISSING}
            for row in rows
        )
        top, place = whole.top, whole.place
        return [Member(one, top, f"{place}[{index}]") for index, one in enumerate(contents)]


class PairReader:
    """Reads an array of names and values as the fields of readings."""

    def __init__(self, declared: Pairs, shape: PayloadShape) -> None:
        self._shape = shape
        self._array = Path.of(declared.array) if declared.array else None
        self._name, self._value = Path.of(declared.name), Path.of(declared.value)
        self._time = Path.of(declared.time) if declared.time else None

    def count(self, whole: Member) -> int:
        """Return how many pairs a member has."""
        found = self._found(whole)
        return len(found) if isinstance(found, list) else 0

    def _found(self, whole: Member) -> Any:
        return whole.content if self._array is None else self._array.find(whole.content, whole.top)

    def readings(self, whole: Member) -> list[Member]:
        """Return a member for each time, or one that is an error."""
        content = whole.content
        if isinstance(content, Exception):
            return [whole]
        found = self._found(whole)
        place = self._array.text if self._array is not None else ""
        if found is MISSING or found is None or found == []:
            text = f"{place or 'the payload'}: no names and values"
            return [replace(whole, content=nothing_read(self._shape, text))]
        if not isinstance(found, list):
            expected = f"expected an array of names and values, not {shown(found)}"
            error = PayloadError("not_an_array", f"{place or 'the payload'}: {expected}")
            return [replace(whole, content=error)]
        return self._by_time(whole, found, place)

    def _by_time(self, whole: Member, pairs: list[Any], place: str) -> list[Member]:
        base = whole.content if isinstance(whole.content, dict) else {}
        self._check_work(len(pairs), len(base))
        place = _inside(whole.place, place)
        found: dict[tuple[str, int], Member] = {}
        times: Counter[tuple[str, str]] = Counter()
        unread: list[PayloadError] = []
        for index, pair in enumerate(pairs):
            name = self._name.find(pair, whole.top)
            here = f"{place}[{index}]"
            if isinstance(name, bool) or not isinstance(name, str | int):
                text = f"{here}.{self._name.text}: expected a name, not {_seen(name)}"
                unread.append(PayloadError("not_text", text))
                continue
            time, value = self._time_of(pair, whole.top), self._value.find(pair, whole.top)
            # The second value that a name has at one time begins another reading.
            moment, name = _moment(time), str(name)
            key = moment, times[moment, name]
            times[moment, name] += 1
            if key not in found:
                found[key] = Member({**base}, whole.top, here, whole.key, time)
            found[key].content[name] = None if value is MISSING else value
        if not found:
            return [replace(whole, content=unread[0])]
        first, *others = found.values()
        return [replace(first, unread=tuple(unread)), *others]

    def _check_work(self, pairs: int, fields: int) -> None:
        """Check what taking pairs apart costs: each time has a copy of the other fields."""
        if pairs > MAX_READINGS or pairs * fields > MAX_COPIED:
            text = f"{pairs} names and values beside {fields} fields; at most {MAX_READINGS}"
            raise PayloadError("too_many_readings", f"{text}, or {MAX_COPIED} of their product")

    def _time_of(self, pair: Any, top: Any) -> Any:
        if self._time is None:
            return UNSET
        time = self._time.find(pair, top)
        return UNSET if time is MISSING or time is None else time


def _paired(members: Sequence[Member], pairs: PairReader) -> list[Member]:
    found: list[Member] = []
    read = 0
    for member in members:
        read += pairs.count(member)
        if read > MAX_PAIRS:
            text = f"more than {MAX_PAIRS} names and values in its readings"
            raise PayloadError("too_many_readings", text)
        found += pairs.readings(member)
        check_count(len(found))
    return found


def is_list_of_objects(document: Any) -> bool:
    """Return whether a document is an array with an object in it, or with an error in its place."""
    is_list = isinstance(document, list)
    return is_list and any(isinstance(one, dict | PayloadError) for one in document)


def elements_of(document: Sequence[Any]) -> list[Member]:
    """Return the elements of an array at the top, each of which is a payload of its own.

    Raises PayloadError if they are too many.
    """
    check_count(len(document))
    # An error of a format says itself where it is.
    return [
        Member(one, one, "" if isinstance(one, PayloadError) else f"[{index}]")
        for index, one in enumerate(document)
    ]


def _flat(members: Iterable[Member]) -> list[Member]:
    """Return members, but of an array of objects its elements; a value is an object with it."""
    flat: list[Member] = []
    for member in members:
        content = member.content
        if type(content) is dict:
            flat.append(member)
        elif is_list_of_objects(content):
            check_count(len(flat) + len(content))
            top, place, key = member.top, member.place, member.key
            flat += [Member(one, top, f"{place}[{i}]", key) for i, one in enumerate(content)]
        else:
            if not isinstance(content, list):
                member.content = {"value": content}
            flat.append(member)
    return flat


def _inside(place: str, name: str) -> str:
    return f"{place}.{name}" if place and name else place or name


def check_count(readings: int) -> None:
    """Check that a message has not too many readings. Raises PayloadError."""
    if readings > MAX_READINGS:
        text = f"{readings} readings; at most {MAX_READINGS} are allowed in a message"
        raise PayloadError("too_many_readings", text)


def _moment(time: Any) -> str:
    """Return the same text for equal times; all that is no time is one of them."""
    return type(time).__name__ if isinstance(time, list | dict) else repr(time)


def _seen(found: Any) -> str:
    return "nothing" if found is MISSING else shown(found)
