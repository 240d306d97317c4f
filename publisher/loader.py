"""The publisher's file: it is read as a whole or not at all; each entry is checked alone."""

import os
import stat
from pathlib import Path

from publisher.decoding import Unreadable, decode_entries
from publisher.entries import PublishConfig, read
from utils.text import printable

DEFAULT_PATH = Path("JSON/payloadStaticConfig.json")
_Mark = tuple[int, ...]


class ConfigurationError(Exception):
    """The file cannot be read; the text is one line that names it and says what to do."""


class ConfigurationLoader:
    """Loads a file of entries, and keeps the result until the file changes."""

    def __init__(self, path: str | Path = DEFAULT_PATH) -> None:
        self.path = Path(path)
        self.faults: list[str] = []  # of the last load that succeeded
        self._configs: list[PublishConfig] = []
        self._loaded: _Mark | None = None
        self._tried: _Mark | None = ()

    def load_configurations(self) -> list[PublishConfig]:
        """Return the valid entries, cached for an unchanged file. Raises ConfigurationError."""
        mark = self._tried = self._mark()
        if mark is None or mark != self._loaded:
            self._load()
        return self._configs

    def changed(self) -> bool:
        """Whether the file was changed, created or deleted since the last load or failed load."""
        return self._tried != self._mark()

    def _load(self) -> None:
        try:
            mark, content = _content(self.path)
            entries = (entry.value for entry in decode_entries(content))
            self._configs, self.faults = read(entries)
            self._loaded = mark
        except (ConfigurationError, Unreadable) as error:
            raise ConfigurationError(f"{printable(str(self.path))}: {error}") from error.__cause__

    def _mark(self) -> _Mark | None:
        try:
            return _mark(self.path.stat())
        except (OSError, ValueError):
            return None


def _mark(state: os.stat_result) -> _Mark:
    """Return what differs between files, and between versions of a file."""
    # ctime, because a copy may have an old mtime.
    return state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino


def _content(path: Path) -> tuple[_Mark, bytes]:
    try:
        # Reading a pipe or a terminal could block forever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigurationError("must be a file; it is a folder or a device")
        with path.open("rb") as file:
            return _mark(os.fstat(file.fileno())), file.read()
    except FileNotFoundError as error:
        hint = "create it, with [] for no entries, or name another"
        raise ConfigurationError(f"there is no such file; {hint}") from error
    except PermissionError as error:
        hint = "give the publisher's user permission to read it"
        raise ConfigurationError(f"cannot be read: permission denied; {hint}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"cannot be read: {reason}") from error
