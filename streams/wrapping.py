"""Wrap the fields of a reading as payloads do that have several: the inverse of taking them apart.

What belongs to the top of such a payload (`$.`) is added to the wrapped one by `Path.place`.
"""

from collections.abc import Mapping
from typing import Any

from streams.paths import WHOLE, Path


class MemberWrapper:
    """Wraps a reading as the only member of an array or object, from which `explode` takes it."""

    def __init__(self, explode: str | tuple[str, ...]) -> None:
        texts = (explode,) if isinstance(explode, str) else explode
        self._paths = [Path.of(text) for text in texts if text != WHOLE]

    def wrap(self, member: Any, key: str | None = None) -> Any:
        """Return the payload with a member: under its key in an object, or in an array.

        With several paths, each has an array with one field of the member. Raises ValueError if
        the member has fields that none of them is the place of.
        """
        if not self._paths:
            return _container(member, key)
        if len(self._paths) == 1:
            return _placed(self._paths[0], _container(member, key))
        return self._divided(member, key)

    def _divided(self, member: Mapping[str, Any], key: str | None) -> Any:
        names = {_last_name(path): path for path in self._paths}
        if other := sorted(member.keys() - names.keys()):
            raise ValueError(
                f"no array for {', '.join(other)}; expected {', '.join(names)}, or paths from $."
            )
        payload = _empty(self._paths[0])
        for name, path in names.items():
            # An array is never left out: they have to be of one length.
            path.place(payload, _container(member.get(name), key))
        return payload


class PairWrapper:
    """Writes the fields of a reading as an array of pairs, from which `pairs` takes them."""

    def __init__(self, array: str, name: str, value: str, time: str = "") -> None:
        self._array = Path.of(array) if array else None
        self._name, self._value = Path.of(name), Path.of(value)
        self._time = Path.of(time) if time else None

    @property
    def has_time(self) -> bool:
        """Whether the time is in the pairs, and so nowhere else."""
        return self._time is not None

    def wrap(self, fields: Mapping[str, Any], time: Any = None) -> Any:
        """Return the payload with these fields, and with the time as written if pairs have it."""
        pairs = [self._pair(name, value, time) for name, value in fields.items()]
        return pairs if self._array is None else _placed(self._array, pairs)

    def _pair(self, name: str, value: Any, time: Any) -> Any:
        pair = _empty(self._name)
        self._name.place(pair, name)
        self._value.place(pair, value)
        if self._time is not None:
            self._time.place(pair, time)
        return pair


def _container(member: Any, key: str | None) -> Any:
    return [member] if key is None else {key: member}


def _placed(path: Path, value: Any) -> Any:
    payload = _empty(path)
    path.place(payload, value)
    return payload


def _empty(path: Path) -> Any:
    return [] if isinstance(path.keys[0], int) else {}


def _last_name(path: Path) -> str:
    return next(key for key in reversed(path.keys) if isinstance(key, str))
