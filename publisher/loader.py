"""The publisher's file: read as a whole or not at all, and each of its entries judged by itself."""

import os
import stat
from pathlib import Path

from config import Settings, SettingsError
from publisher.decoding import Unreadable, decode_file
from publisher.entries import Fault, PublishConfig, read
from utils.text import printable

DEFAULT_PATH = Path("JSON/payloadStaticConfig.json")
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
            mark, content = _content(self.path)
            self._configs, self.faults = read(decode_file(content))
            self._loaded = mark
        except (ConfigurationError, Unreadable) as error:
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


def check_file(settings: Settings) -> None:
    """Raise SettingsError for a file that cannot be published: it stops a start, but not a process that is replaced."""
    path = settings.publisher_config
    try:
        if path is not None:
            ConfigurationLoader(path).load_configurations()
    except ConfigurationError as error:
        # It begins with the path.
        raise SettingsError(f"PUBLISHER_CONFIG={error}") from error
