"""Names of fields that no metric takes, as they are stored in the column `rest`."""

import re
from collections.abc import Collection, Sequence

import msgspec

from streams.checks import LISTS_OF_ML_DATA
from streams.metric import Metric
from streams.paths import TOP, Path
from streams.reserved import RESERVED_COLUMNS
from streams.stream import Stream

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
        names = [name for metric in stream.metrics for name in (metric.name, metric.plural)]
        self._reserved = _RESERVED | {name.lower() for name in names}

    def is_taken(self, keys: Keys) -> bool:
        """Return whether a metric, the device id or the time takes a field."""
        return keys in self._taken

    def of(self, keys: Keys) -> str:
        """Return the name of a field that is not taken.

        It is the path that a metric would need, or `_` behind one that is reserved.
        """
        return _free(_path(keys, self._root), self._reserved)


def kept_as(stream: Stream, metric: Metric) -> Sequence[str]:
    """Return the names under which the values of a metric were kept before it was declared."""
    root = Path.of(stream.values).keys if stream.values else ()
    names = [_path(keys, root) for keys in _keys_of(metric, root)]
    return [_free(name, _RESERVED) for name in names]


def _path(keys: Keys, root: Keys) -> str:
    is_inside = keys[: len(root)] == root
    return written(keys[len(root) :]) if is_inside else TOP + written(keys)


def _free(name: str, reserved: Collection[str]) -> str:
    return f"{name}_" if name.lower() in reserved else name


def written(keys: Keys) -> str:
    """Return the path with these names and indexes."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            name = msgspec.json.encode(key).decode() if _NEEDS_QUOTES.search(key) else key
            text += f".{name}" if text else name
    return text


def _taken(stream: Stream, root: Keys) -> Sequence[Keys]:
    metrics = [keys for metric in stream.metrics for keys in _keys_of(metric, root)]
    own = (*stream.device_paths, *stream.timestamp.fields, *stream.shape.only)
    return [*metrics, *(Path.of(text).keys for text in own)]


def _keys_of(metric: Metric, root: Keys) -> list[Keys]:
    """Return where a metric is, from the payload's top."""
    paths = map(Path.of, metric.paths)
    return [path.keys if path.from_top else (*root, *path.keys) for path in paths]
