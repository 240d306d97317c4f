"""The publisher's file: read as a whole or not at all, and each of its entries judged by itself."""

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from services.publisher.entries import Fault, PublishConfig, Unusable, read
from utils.text import printable

DEFAULT_PATH = Path("JSON/payloadStaticConfig.json")
_BOM = b"\xef\xbb\xbf"
_NEWLINE = b"\n"
_PADDING = b" " * 8
"""Behind an escape, so that it is judged where it stands and not taken for the end of the file."""
_PLACE = re.compile(r"(?:JSON is malformed: )?(.*) \(byte (\d+)\)")
_KINDS = {"object": "one object", "str": "text", "int": "a number", "float": "a number", "bool": "true or false"}
_Mark = tuple[int, ...]


class ConfigurationError(Exception):
    """The file cannot be read at all; the text is one line that names it and says what to do."""


class ConfigurationLoader:
    """Reads a file of entries, and keeps what it has read while the file stays the same."""

    def __init__(self, path: str | Path = DEFAULT_PATH) -> None:
        self.path = Path(path)
        self.faults: list[Fault] = []
        """Of the last load that succeeded."""
        self._configs: list[PublishConfig] = []
        self._loaded: _Mark | None = None
        self._tried: _Mark | None = ()

    def load_configurations(self) -> list[PublishConfig]:
        """The valid entries; the same list while the file is unchanged. Raises ConfigurationError."""
        mark = self._mark()
        self._tried = mark
        if mark is None or mark != self._loaded:
            self._load()
        return self._configs

    def changed(self) -> bool:
        """Whether the file is another than at the last load, also one that failed, or has gone or come since."""
        return self._tried != self._mark()

    def _load(self) -> None:
        try:
            mark, text = _content(self.path)
            self._configs, self.faults = read(_entries(text))
            self._loaded = mark
        except ConfigurationError as error:
            raise ConfigurationError(f"{printable(str(self.path))}: {error}") from error.__cause__

    def _mark(self) -> _Mark | None:
        """What tells this file from another one and from itself after a change; None where there is none."""
        try:
            return _mark(self.path.stat())
        except (OSError, ValueError):
            return None


def _mark(state: os.stat_result) -> _Mark:
    # ctime, because a copy may bring an old mtime with it.
    return state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino


def _content(path: Path) -> tuple[_Mark, bytes]:
    try:
        # Reading a pipe or a terminal would wait for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigurationError("must be a file; it is a folder or a device")
        with path.open("rb") as file:
            return _mark(os.fstat(file.fileno())), file.read()
    except FileNotFoundError as error:
        raise ConfigurationError("there is no such file; create it, with [] for no entries, or name another") from error
    except PermissionError as error:
        raise ConfigurationError("may not be read; give the publisher's user the permission to") from error
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _entries(content: bytes) -> Iterator[object]:
    """The entries as they stand in a file, each decoded when it is asked for. Raises ConfigurationError."""
    return map(_entry, _array(_text(content)))


def _text(content: bytes) -> bytes:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:4]:
        raise ConfigurationError("is UTF-16 or UTF-32; save it as UTF-8")
    text = content.removeprefix(_BOM)
    try:
        text.decode()
    except UnicodeDecodeError as error:
        place = _place(text, error.start)
        raise ConfigurationError(f"{place}: byte 0x{text[error.start]:02x} is not UTF-8; save it as UTF-8") from error
    if not text.strip():
        raise ConfigurationError("is empty; write [] for no entries")
    return text


def _array(text: bytes) -> list[msgspec.Raw]:
    try:
        return msgspec.json.decode(text + _PADDING, type=list[msgspec.Raw])
    except msgspec.ValidationError as error:
        kind = str(error).rpartition("got ")[2].strip("`")
        message = f"must be a JSON array of entries, [ … ], not {_KINDS.get(kind, kind)}"
        raise ConfigurationError(message) from error
    except msgspec.DecodeError as error:
        raise ConfigurationError(_sentence(text, error)) from error
    except RecursionError as error:
        raise ConfigurationError("is nested too deeply; an entry's data may be nested 32 deep") from error


def _sentence(text: bytes, error: msgspec.DecodeError) -> str:
    found = _PLACE.fullmatch(str(error))
    if found is None:
        return f"{_place(text, len(text))}: not JSON: the file ends before the array does"
    what, byte = found[1], int(found[2])
    # Of these it tells the byte after the first one.
    byte -= what == "trailing characters"
    return f"{_place(text, byte)}: not JSON: {what}"


def _place(text: bytes, byte: int) -> str:
    before = text[:byte]
    # The byte may be within a character.
    column = len(before[before.rfind(_NEWLINE) + 1 :].decode(errors="ignore")) + 1
    return f"line {before.count(_NEWLINE) + 1}, column {column}"


def _entry(raw: msgspec.Raw) -> object:
    try:
        entry: object = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return _by_field(raw)
    return _by_field(raw) if any(_repeated(raw)) else entry


def _by_field(raw: msgspec.Raw) -> object:
    """An entry in which what cannot be used is marked, for the rest of it is judged all the same."""
    try:
        fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return _unusable(raw)
    twice = _repeated(raw)[-1]
    return {
        name: _unusable(value, "must stand only once in an entry") if name in twice else _field(value)
        for name, value in fields.items()
    }


def _field(raw: msgspec.Raw) -> object:
    if names := sorted(set().union(*_repeated(raw))):
        return _unusable(raw, f'must not have the key "{printable(names[0][:60])}" twice in one object')
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return _unusable(raw)


def _unusable(raw: msgspec.Raw, allowed: str | None = None) -> Unusable:
    return Unusable(" ".join(bytes(raw).decode().split()), allowed)


def _repeated(raw: msgspec.Raw) -> list[set[str]]:
    """The keys that stand more than once in each of the objects of a JSON value, the outermost last.

    Decoders take the last one, but the file does not tell which one was meant.
    """
    objects: list[set[str]] = []

    def note(pairs: list[tuple[str, object]]) -> None:
        names = [name for name, _ in pairs]
        few = len(set(names)) < len(names)
        objects.append({name for name, times in Counter(names).items() if times > 1} if few else set())

    try:
        # Only the keys matter, and int() takes no more than 4,300 digits.
        json.loads(bytes(raw), object_pairs_hook=note, parse_int=float)
    except RecursionError:
        return [set()]
    return objects
