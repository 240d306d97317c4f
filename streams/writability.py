"""Tell the streams whose payloads cannot be written so that they are read back the same."""

from collections.abc import Iterator

from streams.layout import FieldPlace, Layout, Region
from streams.paths import WHOLE, Path
from streams.stream import KEY, Stream


def unwritable(stream: Stream) -> str:
    """Return why the payloads of a stream cannot be written, or an empty text."""
    if stream.shape.format != "json":
        return f"they are {stream.shape.format}, and only json is written"
    doubts = _Doubts(stream)
    if stream.topic.has_metric:
        return doubts.alone()
    return next(filter(None, doubts.together()), "")


class _Doubts:
    """The reasons against a payload with all metrics, each empty if it does not hold."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._shape = stream.shape
        self._layout = Layout(stream)
        texts = [text for text in self._shape.exploded if text != WHOLE]
        self._explode = [Path.of(text) for text in texts]

    def alone(self) -> str:
        """Return the reason against payloads of one metric."""
        paths = [Path.of(metric.paths[0]) for metric in self._stream.metrics if metric.path]
        paths += [Path.of(text) for text in self._others()]
        is_indexed = any(isinstance(path.keys[0], int) for path in paths)
        return "a value on the topic of its metric has no index" if is_indexed else ""

    def together(self) -> Iterator[str]:
        """Yield the reasons."""
        yield self._mixes(Region.MEMBER)
        yield self._device()
        yield self._arrays()
        yield self._array_of_objects()
        yield self._top()
        yield self._beside()
        yield self._pairs()
        yield _nothing_inside(self._stream, self._layout)
        yield self._overlap()

    def _others(self) -> list[str]:
        stream = self._stream
        named = list(stream.device_paths) if stream.is_named_by_payload else []
        return [*stream.timestamp.fields, *named, *self._shape.only]

    def _mixes(self, region: Region) -> str:
        kinds = {place.is_index for place in self._layout.needed if place.region is region}
        where = "the payload" if region is Region.TOP else "a reading"
        return f"{where} has fields with names and others with an index" if len(kinds) > 1 else ""

    def _device(self) -> str:
        stream, layout = self._stream, self._layout
        lost = sorted(set(stream.device_paths) - layout.device.keys())
        if stream.is_named_by_payload and lost:
            return f"a reading has no place for {lost[0]}"
        return ""

    def _arrays(self) -> str:
        """Arrays that belong together have no keys, and hold nothing but a field."""
        if len(self._explode) < 2:
            return ""
        if KEY in self._stream.device_parts:
            return f"several arrays have no {KEY}"
        names = {path.keys[-1] for path in self._explode}
        inside = [place for place in self._layout.needed if place.region is Region.MEMBER]
        if any(place.path.keys[0] not in names for place in inside):
            return "a field is in none of several arrays"
        is_inside = bool(self._layout.beside_members()) or self._has_pairs_beside()
        return "a path from $. leads into an array of `explode`" if is_inside else ""

    def _array_of_objects(self) -> str:
        """An array of objects at the top, or in place of a reading, is several readings."""
        paths = list(self._explode)
        if self._shape.pairs is not None and self._shape.pairs.array:
            paths.append(Path.of(self._shape.pairs.array))
        if self._shape.exploded:
            inside = [p for p in self._layout.needed if p.region is Region.MEMBER]
            paths += [place.path for place in inside]
        has_key = KEY in self._stream.device_parts or self._layout.key is not None
        if self._explode and isinstance(self._explode[0].keys[0], int) and has_key:
            return "an array of objects is several readings"
        for path in paths:
            if isinstance(path.keys[0], int) and any(isinstance(key, str) for key in path.keys):
                return "an array of objects is several readings"
        return ""

    def _top(self) -> str:
        if mixed := self._mixes(Region.TOP):
            return mixed
        first = self._explode[0].keys[0] if self._explode else ""
        is_array = isinstance(first, int)
        if self._shape.pairs is not None and not self._shape.exploded:
            array = self._shape.pairs.array
            is_array = not array or isinstance(Path.of(array).keys[0], int)
        is_pairs = self._layout.is_array_of_pairs and not self._shape.exploded
        at_top = [p for p in self._places() if p.region is Region.TOP]
        if any(is_pairs or place.is_index is not is_array for place in at_top):
            return "the payload has no place for a path from $."
        return ""

    def _places(self) -> list[FieldPlace]:
        layout = self._layout
        return [*layout.needed, *layout.device.values(), *layout.times]

    def _beside(self) -> str:
        """What is beside readings in an object must not be one."""
        depth = 1 + (len(self._explode[0].keys) if self._explode else 0)
        beside = self._layout.beside_members()
        if self._has_pairs_beside():
            return "the pairs are in the place of a reading"
        if not beside:
            return ""
        if any(len(place.path.keys) != depth for place in beside) or not _ignores_values(
            self._stream, self._layout
        ):
            return "a path from $. leads to what would be a reading of its own"
        return ""

    def _has_pairs_beside(self) -> bool:
        """Return whether the pairs at the top are where members are."""
        pairs = self._shape.pairs
        array = Path.of(pairs.array) if pairs is not None and pairs.array else None
        if array is None or not array.from_top or not self._shape.exploded:
            return False
        holders = [path.keys for path in self._explode] or [()]
        kinds = {isinstance(keys[0], int) for keys in (array.keys, *filter(None, holders))}
        return len(kinds) > 1 or any(array.keys[: len(keys)] == keys for keys in holders)

    def _overlap(self) -> str:
        """One field cannot be inside of another, nor can one be an object and an array."""
        holders = [(Region.TOP if self._shape.exploded else Region.MEMBER, self._explode)]
        pairs = self._shape.pairs
        if pairs is not None and pairs.array:
            array = Path.of(pairs.array)
            is_around = array.from_top and bool(self._shape.exploded)
            holders.append((Region.TOP if is_around else Region.MEMBER, [array]))
        for region in Region:
            fields = {place.path.keys for place in self._places() if place.region is region}
            inner = [path.keys for where, paths in holders if where is region for path in paths]
            for first in fields:
                if any(_contradict(first, other) for other in [*fields, *inner]):
                    return "a field is in the place of another"
        return ""

    def _pairs(self) -> str:
        pairs = self._shape.pairs
        if pairs is None:
            return ""
        paths = [Path.of(text) for text in (pairs.name, pairs.value, pairs.time) if text]
        if any(path.from_top for path in paths):
            return "a pair has a path from $."
        kinds = {isinstance(path.keys[0], int) for path in paths}
        return "a pair has fields with names and others with an index" if len(kinds) > 1 else ""


def _ignores_values(stream: Stream, layout: Layout) -> bool:
    """Return whether a member that is a number or a text is ignored."""
    pairs = stream.shape.pairs
    if pairs is None and any(place.region is Region.MEMBER for place, _ in layout.only):
        return True
    read = [path for metric in stream.metrics for path in map(Path.of, metric.paths)]
    read += [place.path for place in layout.metrics.values()]
    is_read = any(path.from_top or path.keys[0] == "value" for path in read)
    is_at_top = any(place.region is Region.TOP for place in layout.metrics.values())
    has_required = len(stream.lackable) < len(stream.metrics)
    return stream.shape.empty == "ignore" and not (is_read or is_at_top or has_required)


def _nothing_inside(stream: Stream, layout: Layout) -> str:
    """A payload without pairs, or without the object `values`, is no reading."""
    places = layout.metrics.values()
    if stream.shape.pairs is not None and not any(p.region is Region.PAIRS for p in places):
        return "no metric is in the pairs"
    metrics = stream.metrics
    if stream.shape.values and all(Path.of(metric.paths[0]).from_top for metric in metrics):
        return "no metric is in `values`"
    return ""


def _contradict(first: tuple[str | int, ...], other: tuple[str | int, ...]) -> bool:
    """Return whether a field cannot be at the first path if another is at the other."""
    for key, its in zip(first, other, strict=False):
        if isinstance(key, int) is not isinstance(its, int):
            return True
        if key != its:
            return False
    return len(first) < len(other)
