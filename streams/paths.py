"""Paths to the fields of a payload, such as `rxInfo[0].rssi`.

The syntax is JMESPath's (https://jmespath.org/specification.html) without its operators. Names
need quotes only if they have `.`, `[`, `]` or `"`.
"""

import re
from itertools import pairwise
from typing import Any, Final, NamedTuple, Self

import msgspec

TOP = "$."
"""Begins a path from the top of the payload."""
WHOLE = "*"
"""Stands for the payload itself where its members are readings."""
MAX_KEYS = 32
"""Names and indexes in a path."""
_NAME = r'(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<name>[^."\[\]]+)'
_INDEX = r"\[(?P<index>-?\d{1,9})\]"
_KEY = re.compile(rf"(?:{_NAME}|{_INDEX})(?P<end>\.(?!$)|(?=\[)|$)", re.DOTALL)


class Missing:
    """The type of `MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()
"""Found instead of a value where a path leads nowhere; null is a value."""


class Path(NamedTuple):
    """The way to a field."""

    text: str
    """As declared, without `$.`."""
    keys: tuple[str | int, ...]
    """The names and indexes."""
    from_top: bool = False
    """Whether it begins at the top of the payload, wherever the others begin."""

    @property
    def whole_name(self) -> str | int:
        """The name of a field that is the path, where no field has fields of its own."""
        return self.keys[0] if len(self.keys) == 1 else self.text

    @classmethod
    def of(cls, text: str) -> Self:
        """Parse a path. Raises ValueError, which says what was expected."""
        from_top = text.startswith(TOP)
        path = text.removeprefix(TOP) if from_top else text
        keys: list[str | int] = []
        place, more = 0, True
        while more:
            found = _KEY.match(path, place)
            if found is None:
                raise ValueError(_expected(path, place))
            keys.append(_key(found))
            place, more = found.end(), found.end() < len(path)
        if len(keys) > MAX_KEYS:
            raise ValueError(f"a path of at most {MAX_KEYS} names and indexes, not {len(keys)}")
        return cls(path, tuple(keys), from_top)

    def find(self, value: Any, top: Any) -> Any:
        """Return what is there in a decoded payload, or MISSING."""
        if self.from_top:
            value = top
        # Also a field of which the whole name is the path, as some devices flatten theirs.
        if len(self.keys) > 1 and type(value) is dict and self.text in value:
            return value[self.text]
        for key in self.keys:
            if type(value) is dict:
                value = value.get(key, MISSING)
            elif type(value) is list and type(key) is int and -len(value) <= key < len(value):
                value = value[key]
            else:
                return MISSING
        return value

    def place(self, document: Any, value: Any) -> None:
        """Set a value in a document, and make the objects and arrays on the way.

        Raises ValueError if another value is in the way.
        """
        here: Any = document
        for key, following in pairwise(self.keys):
            wanted = list if isinstance(following, int) else dict
            if (inner := self._inside(here, key)) is None:
                inner = here[key] = wanted()
            here = inner
        before = self._inside(here, self.keys[-1])
        if isinstance(before, list | dict) and type(before) is not type(value):
            raise self._not_free()
        here[self.keys[-1]] = value

    def _inside(self, holder: Any, key: str | int) -> Any:
        """Return what is at a key, None if nothing is, and lengthen an array until it has it."""
        if isinstance(holder, dict) and isinstance(key, str):
            return holder.get(key)
        if not (isinstance(holder, list) and isinstance(key, int)):
            raise self._not_free()
        holder += [None] * (key + 1 - len(holder) if key >= 0 else -key - len(holder))
        return holder[key]

    def _not_free(self) -> ValueError:
        named = ".".join(map(str, self.keys))
        return ValueError(f"{named} is in the place of another field")


def _key(found: re.Match[str]) -> str | int:
    if found["index"] is not None:
        return int(found["index"])
    if found["name"] is not None:
        return found["name"]
    try:
        name: str = msgspec.json.decode(found["quoted"], type=str)
    except msgspec.DecodeError as error:
        raise ValueError(f"a quoted name as in JSON, not {found['quoted'][:40]}") from error
    return name


def _expected(path: str, place: int) -> str:
    there = f"not {path[place:][:40]!r}" if place < len(path) else "not its end"
    return (
        'names and indexes such as rxInfo[0].rssi; a name with . [ ] or " is quoted, '
        f'such as "pm2.5_aqi"; {there}'
    )
