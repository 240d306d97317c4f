"""Changes to the configuration file: one at a time, each whole or not at all, and nothing beside the one entry."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from publisher.decoding import Unreadable, raw_entries
from publisher.entries import MAX_VERSION, Fault, Unusable, check
from publisher.loader import ConfigurationError, ConfigurationLoader
from utils import clock, files
from utils.text import printable

Entry = dict[str, Any]
LOCK_SECONDS = 10
_TIMES = ("created_at", "updated_at")


class NoSuchEntry(Exception):
    """No entry of the file has this id."""


class Conflict(Exception):
    """The file is not as the change supposes; the text says how it is."""


class BadEntry(Exception):
    """An entry cannot be used; the text has a sentence for each fault."""


class NotWritable(Exception):
    """The file cannot be replaced now; the text says why."""


class ConfigurationEditor:
    """The file of a path. Several processes and threads may change it at once."""

    def __init__(self, path: Path, lock_seconds: float = LOCK_SECONDS) -> None:
        self.path = path
        self._lock_seconds = lock_seconds
        self._loader = ConfigurationLoader(path)
        self._loading = threading.Lock()

    def entries(self) -> list[Any]:
        """All entries as they stand in the file, faulty ones too. Raises ConfigurationError."""
        return [_decoded(raw) for raw in self._raws()]

    def check(self) -> tuple[int, list[str]]:
        """How many entries can be published, and a line for each fault of the others. Raises ConfigurationError."""
        with self._loading:
            count = len(self._loader.load_configurations())
            return count, [str(fault) for fault in self._loader.faults]

    def entry(self, entry_id: str) -> Entry:
        """The entry with this id as it stands in the file. Raises NoSuchEntry, ConfigurationError."""
        return self._found(self._raws(), entry_id)[1]

    def add(self, entry: object) -> Entry:
        """Append an entry, which is returned as it was written. Raises BadEntry, Conflict, NotWritable."""
        added = _checked(_without(entry, *_TIMES, "version"))
        now = _now()
        added |= {"created_at": now, "updated_at": now, "version": 1}
        with self._changing() as raws:
            if any(_has_id(_decoded(raw), added["id"]) for raw in raws):
                raise Conflict(f"There is a configuration {_quoted(added['id'])} already. PUT changes it")
            raws.append(_encoded(added))
        return added

    def replace(self, entry_id: str, entry: object, version: int | None = None) -> Entry:
        """Put an entry in the place of the one that has this id and version; the entry itself may say the version.

        It is returned as it was written. Raises BadEntry, NoSuchEntry, Conflict, NotWritable.
        """
        told = _without(entry, *_TIMES) | ({} if version is None else {"version": version})
        new = _checked({"id": entry_id} | told, _faults_of_replacing(entry_id, told))
        known = new.pop("version")
        with self._changing() as raws:
            place, old = self._found(raws, entry_id)
            _require_version(old, known)
            new |= _kept_creation(old, new) | {"updated_at": _now(), "version": known % MAX_VERSION + 1}
            raws[place] = _encoded(new)
        return new

    def remove(self, entry_id: str, version: int | None = None) -> Entry:
        """Take an entry out, if a version is given only that one; it is returned as it stood there.

        Raises NoSuchEntry, Conflict, NotWritable.
        """
        with self._changing() as raws:
            place, old = self._found(raws, entry_id)
            if version is not None:
                _require_version(old, version)
            del raws[place]
        return old

    def _found(self, raws: list[msgspec.Raw], entry_id: str) -> tuple[int, Entry]:
        for place, raw in enumerate(raws):
            if _has_id(entry := _decoded(raw), entry_id):
                return place, entry
        raise NoSuchEntry(f"There is no configuration {_quoted(entry_id)} in {self.path}")

    def _raws(self) -> list[msgspec.Raw]:
        """The entries as they were written, so that they can be written again. Raises ConfigurationError."""
        try:
            return raw_entries(self.path.read_bytes())
        except (OSError, ValueError, Unreadable) as error:
            # The words are the loader's.
            self.check()
            raise ConfigurationError(f"{self.path}: is being written just now; try again") from error

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[msgspec.Raw]]:
        """The entries, locked against other editors; as the list is at the end, it is written."""
        file = self.path.resolve()
        try:
            if not file.is_file():
                # The lock would make a folder that is not there.
                self.check()
            with FileLock(f"{file}.edit.lock", timeout=self._lock_seconds, poll_interval=0.01):
                raws = self._raws()
                yield raws
                files.replace(file, msgspec.json.format(msgspec.json.encode(raws), indent=2) + b"\n")
        except ConfigurationError as error:
            raise Conflict(f"{error}. Nothing was changed: mend the file first") from error
        except Timeout as error:
            message = f"{self.path} is being changed by another process for {self._lock_seconds:g} s now"
            raise NotWritable(f"{message}. Nothing was changed, try again") from error
        except OSError as error:
            message = f"{self.path} cannot be written: {error.strerror}. Nothing was changed"
            raise NotWritable(f"{message}; it is replaced as a whole, so its folder must be writable") from error


def _decoded(raw: msgspec.Raw) -> Any:
    """The value of an entry; of one that is no JSON the text."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return bytes(raw).decode(errors="backslashreplace")


def _encoded(entry: Entry) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(entry))


def _has_id(entry: object, entry_id: str) -> bool:
    return isinstance(entry, dict) and entry.get("id") == entry_id


def _without(entry: object, *fields: str) -> Entry:
    """A copy of a JSON object without some of its fields, if they can be read. Raises BadEntry for anything else."""
    if not isinstance(entry, dict):
        raise BadEntry(_sentences(check(entry)[1]))
    return {name: value for name, value in entry.items() if name not in fields or isinstance(value, Unusable)}


def _checked(entry: Entry, own: list[Fault] | None = None) -> Entry:
    """The entry itself. Raises BadEntry with its faults, and after them `own`."""
    if faults := check(entry)[1] + (own or []):
        raise BadEntry(_sentences(faults))
    return entry


def _sentences(faults: list[Fault]) -> str:
    return "; ".join(map(str, faults))


def _faults_of_replacing(entry_id: str, entry: Entry) -> list[Fault]:
    found = []
    if entry.get("id", entry_id) != entry_id and not isinstance(entry["id"], Unusable):
        found.append(
            Fault(
                None,
                entry_id,
                "id",
                _quoted(entry["id"]),
                f"must be {_quoted(entry_id)} as in the path, or be left out",
            )
        )
    if "version" not in entry:
        found.append(Fault(None, entry_id, "version", None, "must be the version that was read before the change"))
    return found


def _version(entry: Entry) -> int:
    """The version of an entry in the file; 1 where it says none that is allowed."""
    version = entry.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and 1 <= version <= MAX_VERSION:
        return version
    return 1


def _require_version(entry: Entry, version: int) -> None:
    if (present := _version(entry)) != version:
        message = f"Configuration {_quoted(entry['id'])} has version {present} now, not {version}"
        raise Conflict(f"{message}: it was changed in between. GET it again and change that")


def _kept_creation(old: Entry, new: Entry) -> Entry:
    """When the old entry was created, if it says so in a way that is allowed."""
    kept = {name: old[name] for name in ("created_at",) if name in old}
    return {} if check(new | kept)[1] else kept


def _now() -> str:
    return clock.now().isoformat(timespec="microseconds")


def _quoted(entry_id: object) -> str:
    return f'"{printable(str(entry_id)[:128])}"'
