"""Where the fields of a reading are in the payloads that are written."""

from enum import Enum, auto
from typing import NamedTuple

from streams.metric import Metric
from streams.paths import WHOLE, Path
from streams.payload_shape import PayloadShape
from streams.reach import Reach
from streams.stream import Stream

_SOME_KEY = "reading"
"""The key of a reading in an object whose keys mean nothing."""


class Region(Enum):
    """The part of a payload in which a path begins."""

    MEMBER = auto()
    """The reading: the payload itself, or the member of it that `explode` takes."""
    PAIRS = auto()
    """The names of the pairs in the reading."""
    TOP = auto()
    """The payload around the reading."""


class FieldPlace(NamedTuple):
    """The place of a field."""

    path: Path
    region: Region

    @property
    def is_index(self) -> bool:
        """Whether it is in an array."""
        return isinstance(self.path.keys[0], int)


class Layout:
    """The places of the fields of a stream. Some fields may have none."""

    def __init__(self, stream: Stream) -> None:
        self._shape = stream.shape
        self._reach = Reach(stream.shape)
        self._root = Path.of(stream.values) if stream.values else None
        self.is_array_of_pairs = _all_in_pairs(stream.shape)
        """Whether a reading has no other fields than its pairs."""
        self.metrics = {metric.name: self._of_metric(metric) for metric in stream.metrics}
        self.only = [(self._of(Path.of(text)), value) for text, value in self._shape.only.items()]
        self.needed = [*self.metrics.values(), *(place for place, _ in self.only)]
        """The places of the fields without which there is no reading."""
        inside = [place.is_index for place in self.needed if place.region is Region.MEMBER]
        self.is_array = any(inside)
        """Whether a reading is an array instead of an object."""
        devices = {text: self._of(path) for text, path in _paths(stream.device_paths)}
        self.device = {
            text: devices[text]
            for text, path in _paths(stream.device_paths)
            if self._has_room(path, devices[text])
        }
        """The places of the parts of the device id, by their path as declared."""
        times = [(path, self._of(path)) for _, path in _paths(stream.timestamp.fields)]
        has_room = all(self._has_room(path, place) for path, place in times)
        is_in_pairs = self._shape.pairs is not None and self._shape.pairs.time
        self.times = [place for _, place in times] if has_room and not is_in_pairs else []
        self.has_time = bool(self.times or is_in_pairs)
        """Whether payloads say the time."""

    @property
    def key(self) -> str | None:
        """The key of a reading that has no other; None if readings are in an array."""
        return _SOME_KEY if self.beside_members() else None

    def beside_members(self) -> list[FieldPlace]:
        """Return the places at the top that are in the object of which readings are members."""
        explode = [Path.of(text).keys for text in self._shape.exploded if text != WHOLE]
        holders = explode or ([()] if self._shape.exploded else [])
        places = [*self.needed, *self.device.values(), *self.times]
        return [
            place
            for place in places
            if place.region is Region.TOP
            and any(place.path.keys[: len(keys)] == keys for keys in holders)
        ]

    def _of_metric(self, metric: Metric) -> FieldPlace:
        paths = [Path.of(text) for text in metric.paths]
        if self._root is None:
            found = next((path for path in paths if not self._reach.fault(path)), paths[0])
            return self._of(found, is_metric=True)
        path = paths[0]
        if not path.from_top:
            path = Path("", (*self._root.keys, *path.keys), self._root.from_top)
        return self._of(path, is_metric=True)

    def _of(self, path: Path, *, is_metric: bool = False) -> FieldPlace:
        pairs = self._shape.pairs
        if path.from_top and (self._shape.exploded or pairs is not None):
            return FieldPlace(Path("", path.keys), Region.TOP)
        whole_name = Path("", (path.whole_name,))
        if self.is_array_of_pairs or (pairs is not None and is_metric):
            return FieldPlace(whole_name, Region.PAIRS)
        is_whole = path.text in self._reach.arrays
        return FieldPlace(whole_name if is_whole else Path("", path.keys), Region.MEMBER)

    def _has_room(self, path: Path, place: FieldPlace) -> bool:
        """Return whether a reading, as the needed fields shape it, can have this field too."""
        if place.region is Region.PAIRS:
            return not self._reach.fault(path)
        if place.region is Region.MEMBER and place.is_index != self.is_array:
            return False
        return not self._reach.fault_beside(path)


def _all_in_pairs(shape: PayloadShape) -> bool:
    """Return whether a reading is an array of pairs, or one that has it, without other fields."""
    if shape.pairs is None:
        return False
    path = Path.of(shape.pairs.array) if shape.pairs.array else None
    is_beside = path is not None and path.from_top and bool(shape.exploded)
    return path is None or (isinstance(path.keys[0], int) and not is_beside)


def _paths(texts: tuple[str, ...]) -> list[tuple[str, Path]]:
    return [(text, Path.of(text)) for text in texts]
