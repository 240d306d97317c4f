"""Changes to the static publisher's file: one at a time, each whole or not at all."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from config import Settings, SettingsError
from publisher.decoding import Unreadable, Written, decode_entries
from publisher.entries import MAX_VERSION, Repeated, check
from publisher.loader import ConfigurationError, ConfigurationLoader
from utils import clock, exact_numbers, files
from utils.exact_numbers import Inexact
from utils.json_types import JsonObject
from utils.text import printable

LOCK_SECONDS = 10


class NoSuchEntry(Exception):
    """No entry of the file has this id."""


class Conflict(Exception):
    """The file is not as the change supposes; the text says how it is."""


class BadEntry(Exception):
    """An entry is invalid; the text has each of its faults."""


class NotWritable(Exception):
    """The file cannot be replaced now; the text says why."""


class ConfigurationEditor:
    """The file of a path. Several processes and threads may change it at once.

    Changes raise NotWritable, and Conflict for a file that cannot be read; the others raise
    ConfigurationError.
    """

    def __init__(self, path: Path, lock_seconds: float = LOCK_SECONDS) -> None:
        self.path = path
        self._lock_seconds = lock_seconds
        self._loader = ConfigurationLoader(path)
        self._loading = threading.Lock()

    def entries(self) -> list[Any]:
        """All entries as they stand in the file, faulty ones too."""
        return [_shown(entry) for entry in self._read()]

    def check(self) -> tuple[int, list[str]]:
        """The number of valid entries, and the faults of the others."""
        with self._loading:
            return len(self._loader.load_configurations()), self._loader.faults

    def entry(self, entry_id: str) -> Any:
        """An entry as it stands in the file. Raises NoSuchEntry."""
        entries = self._read()
        return _shown(entries[self._index(entries, entry_id)])

    def add(self, entry: object) -> JsonObject:
        """Append an entry; return it as written. Raises BadEntry, Conflict."""
        added = _fields(entry, "created_at", "updated_at", "version")
        if faults := check(added)[1]:
            raise BadEntry("; ".join(faults))
        now = _now()
        added |= {"created_at": now, "updated_at": now, "version": 1}
        with self._changing() as entries:
            if any(_has_id(known, added["id"]) for known in entries):
                named = _quoted(added["id"])
                raise Conflict(f"There is a configuration {named} already. PUT changes it")
            entries.append(_written(added))
        return added

    def replace(self, entry_id: str, entry: object) -> JsonObject:
        """Replace the entry of this id, and of the version that `entry` has; return it as written.

        Raises BadEntry, NoSuchEntry, Conflict.
        """
        new: JsonObject = {"id": entry_id} | _fields(entry, "created_at", "updated_at")
        if faults := check(new)[1] + _faults_of_replacing(entry_id, new):
            raise BadEntry("; ".join(faults))
        with self._changing() as entries:
            index = self._index(entries, entry_id)
            old = entries[index].value
            _require_version(old, new["version"])
            created = {"created_at": old["created_at"]} if "created_at" in old else {}
            if not check(new | created)[1]:
                new |= created
            new["updated_at"] = _now()
            new["version"] = new.pop("version") % MAX_VERSION + 1
            entries[index] = _written(new)
        return new

    def remove(self, entry_id: str, version: int | None = None) -> Any:
        """Remove an entry, if a version is given only that one; return it as it stood there.

        Raises NoSuchEntry, Conflict.
        """
        with self._changing() as entries:
            index = self._index(entries, entry_id)
            if version is not None:
                _require_version(entries[index].value, version)
            return _shown(entries.pop(index))

    def _index(self, entries: list[Written], entry_id: str) -> int:
        for index, entry in enumerate(entries):
            if _has_id(entry, entry_id):
                return index
        raise NoSuchEntry(f"There is no configuration {_quoted(entry_id)} in {self.path}")

    def _read(self) -> list[Written]:
        try:
            return list(decode_entries(self.path.read_bytes()))
        except (OSError, ValueError, Unreadable) as error:
            self.check()  # it says what is wrong
            text = "is being written just now; try again"
            raise ConfigurationError(f"{self.path}: {text}") from error

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[Written]]:
        """The entries, locked against other editors; the list is written as it is at the end."""
        file = self.path.resolve()
        try:
            if not file.is_file():
                self.check()  # the lock would make a folder that is not there
            with FileLock(f"{file}.edit.lock", timeout=self._lock_seconds, poll_interval=0.01):
                entries = self._read()
                yield entries
                files.replace(file, _file_of(entries))
        except ConfigurationError as error:
            raise Conflict(f"{error}. Nothing was changed: mend the file first") from error
        except Timeout as error:
            text = "is being changed by another process. Nothing was changed, try again"
            raise NotWritable(f"{self.path} {text}") from error
        except OSError as error:
            text = f"{error.strerror}. Nothing was changed; its folder must be writable"
            raise NotWritable(f"{self.path} cannot be written: {text}") from error


def check_file(settings: Settings) -> None:
    """Raise SettingsError for a file that cannot be published, at a start of the backend."""
    path = settings.publisher_config
    try:
        if path is not None:
            ConfigurationLoader(path).load_configurations()
    except ConfigurationError as error:
        # It begins with the path.
        raise SettingsError(f"PUBLISHER_CONFIG={error}") from error


def _shown(entry: Written) -> Any:
    """The value of an entry; its text where JSON has no such value."""
    try:
        return _VERBATIM.decode(entry.text)
    except (msgspec.DecodeError, RecursionError):
        return entry.text


def _verbatim(spelling: str) -> float | msgspec.Raw:
    number = exact_numbers.number(spelling)
    return msgspec.Raw(spelling.encode()) if isinstance(number, Inexact) else number


_VERBATIM: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=_verbatim)


def _written(entry: JsonObject) -> Written:
    text = msgspec.json.format(msgspec.json.encode(entry), indent=2).decode()
    return Written(text.replace("\n", "\n  "), entry)


def _file_of(entries: list[Written]) -> bytes:
    inside = ",\n  ".join(entry.text for entry in entries)
    return f"[\n  {inside}\n]\n".encode() if entries else b"[]\n"


def _has_id(entry: Written, entry_id: str) -> bool:
    return isinstance(entry.value, dict) and entry.value.get("id") == entry_id


def _fields(entry: object, *left_out: str) -> JsonObject:
    """Return a copy of an entry without some fields.

    Raises BadEntry unless the entry is an object with unique keys.
    """
    if not isinstance(entry, dict) or isinstance(entry, Repeated):
        raise BadEntry("; ".join(check(entry)[1]))
    return {name: value for name, value in entry.items() if name not in left_out}


def _faults_of_replacing(entry_id: str, entry: JsonObject) -> list[str]:
    found = []
    if (new := entry["id"]) != entry_id:
        allowed = f"must be {_quoted(entry_id)} as in the path, or be left out"
        found.append(f"id = {_quoted(new)}: {allowed}")
    if "version" not in entry:
        found.append("version is missing: must be the version that was read before the change")
    return found


def _require_version(entry: JsonObject, version: int) -> None:
    """Raise Conflict for another version. An entry that has none that is allowed has version 1."""
    present = entry.get("version")
    if type(present) is not int or not 1 <= present <= MAX_VERSION:
        present = 1
    if present != version:
        text = f"Configuration {_quoted(entry['id'])} has version {present} now, not {version}"
        raise Conflict(f"{text}: it was changed in between. GET it again and change that")


def _now() -> str:
    return clock.now().isoformat(timespec="microseconds")


def _quoted(entry_id: object) -> str:
    return f'"{printable(str(entry_id)[:128])}"'
