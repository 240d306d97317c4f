"""Names of fields that no metric takes, as they are stored in the column `rest`."""

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from streams.checks import LISTS_OF_ML_DATA
from streams.metric import Metric
from streams.paths import TOP, Path
from streams.payload_shape import INFLUX_FIELDS, INFLUX_OWN, PayloadShape
from streams.reserved import RESERVED_COLUMNS
from streams.stream import Stream
from utils.text import invisible, printable

BARE = "reading"
"""The name of a payload that is a value by itself."""
MAX_NAMES = 200
"""Different names that are kept of a device."""
MAX_NAME = 128
"""Characters of a name."""
Keys = tuple[str | int, ...]
_RESERVED = {name.lower() for name in (*RESERVED_COLUMNS, *LISTS_OF_ML_DATA, "health")}
_NEEDS_QUOTES = re.compile(r'[.\[\]"]|^\$|^$')


class RestNames:
    """Names the fields of a stream that no metric takes."""

    def __init__(self, stream: Stream) -> None:
        self._root: Keys = Path.of(stream.values).keys if stream.values else ()
        self._taken = frozenset(_taken(stream, self._root))
        self._copies = _copies(stream.shape)
        names = [name for metric in stream.metrics for name in (metric.name, metric.plural)]
        self._reserved = _reserved([*_RESERVED, *names])

    def is_taken(self, keys: Keys) -> bool:
        """Return whether a metric, the device id or the time takes a field, or it is a copy."""
        return keys in self._taken or (bool(self._copies) and self._is_copy(keys))

    def _is_copy(self, keys: Keys) -> bool:
        if keys[: len(self._copies)] != self._copies:
            return False
        return self._copies != (INFLUX_FIELDS,) or keys[1] not in INFLUX_OWN

    def of(self, keys: Keys) -> str:
        """Return the name of a field that is not taken.

        It is the path that a metric would need, or `_` behind one that is reserved.
        """
        return _free(_path(keys, self._root), self._reserved)


def kept_as(stream: Stream, metric: Metric) -> Sequence[str]:
    """Return the names under which the values of a metric were kept before it was declared."""
    root = Path.of(stream.values).keys if stream.values else ()
    reserved = _reserved(_RESERVED)
    return [_free(_path(keys, root), reserved) for keys in _keys_of(metric, root)]


def _path(keys: Keys, root: Keys) -> str:
    is_inside = keys[: len(root)] == root
    return written(keys[len(root) :]) if is_inside else TOP + written(keys)


def _reserved(names: Iterable[str]) -> Mapping[str, str]:
    """Return the underscores that follow names of fields, by names without any at their end.

    They are so many that no two fields, and no field and a reserved name, have one name.
    """
    marks: dict[str, str] = {}
    for name in map(str.lower, names):
        bare = name.rstrip("_")
        marks[bare] = max(marks.get(bare, ""), f"{name[len(bare) :]}_")
    return marks


def _free(name: str, reserved: Mapping[str, str]) -> str:
    return name + reserved.get(name.rstrip("_").lower(), "")


def written(keys: Keys) -> str:
    """Return the path with these names and indexes."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            name = key
            if _NEEDS_QUOTES.search(key) or invisible(key):
                name = printable(msgspec.json.encode(key).decode())
            text += f".{name}" if text else name
    return text


def _taken(stream: Stream, root: Keys) -> Sequence[Keys]:
    """Return where the fields are that something takes, from where readings begin."""
    own = (*stream.device_paths, *stream.timestamp.fields, *stream.shape.only)
    given: list[tuple[Keys, Path]] = [((), path) for path in map(Path.of, own)]
    for metric in stream.metrics:
        paths = list(map(Path.of, metric.paths))
        given += [(root, path) for path in paths]
        if metric.item is not None:
            given += [(root, path._replace(keys=(*path.keys, metric.item))) for path in paths]
    # In a reading of several, a path from the top is that of another field.
    is_several = bool(stream.shape.exploded)
    found = [pair for pair in given if not (is_several and pair[1].from_top)]
    taken = [_from_top(path, root) for root, path in found]
    # A field may also have a whole path as its name.
    taken += [(*root, path.text) for root, path in found if len(path.keys) > 1]
    if stream.shape.format == "influx":
        taken += [keys[1:] for keys in taken if keys[:1] == (INFLUX_FIELDS,)]
    return taken


def _copies(shape: PayloadShape) -> Keys:
    """Return where fields are that the payload has in another place, too; no keys if nowhere."""
    if shape.format == "influx":
        return (INFLUX_FIELDS,)
    array = Path.of(shape.pairs.array) if shape.pairs is not None and shape.pairs.array else None
    if array is None or (array.from_top and shape.exploded):
        return ()
    return array.keys


def _keys_of(metric: Metric, root: Keys) -> list[Keys]:
    """Return where a metric is, from the payload's top."""
    return [_from_top(path, root) for path in map(Path.of, metric.paths)]


def _from_top(path: Path, root: Keys) -> Keys:
    return path.keys if path.from_top else (*root, *path.keys)
