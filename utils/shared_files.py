"""Refuse settings of the same file: one would write into it, or rename it, and destroy the other's.

A file has other spellings, such as links, and other names beside it, such as those of old logs.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from utils.paths import is_stream
from utils.text import printable

# The names that utils/logger.py, gunicorn.conf.py and the programs give to their processes.
_PROCESS = r"(\.([\w-]+-\d+|live-master|ingest|publisher|end-session))?"
_OLD = r"(\.\d+)?"
_BESIDE_DATABASE = r"((-(wal|shm|journal))?(\.old)?|\.[\w-]+\.lock)"
_BESIDE_PUBLISHED = r"(\.statistics|(\.edit)?\.lock)?"


class NamedFiles(NamedTuple):
    """The files of a setting."""

    setting: str
    """The setting, as a message shows it."""
    paths: list[Path]
    inserted: str = ""
    """A pattern of what may stand before the suffix of their names."""
    appended: str = ""
    """A pattern of what may stand behind their names."""
    written: bool = True

    def spellings(self) -> Iterator[Path]:
        """Yield each path without symbolic links: with the folder's followed, and all."""
        for path in self.paths:
            folder = Path(os.path.realpath(path.parent))
            yield folder / path.name
            yield Path(os.path.realpath(path))

    def is_name_of(self, name: str, own: Path) -> bool:
        """Return whether a name is that of a path, or of a file beside it."""
        pattern = f"{re.escape(own.stem)}{self.inserted}{re.escape(own.suffix)}{self.appended}"
        return re.fullmatch(pattern, name) is not None


def log(setting: str, path: Path | None) -> NamedFiles:
    """Return the files of a log, which each process has and rotates."""
    if path is None or not is_stream(path):
        return NamedFiles(_shown(setting, path), [] if path is None else [path], _PROCESS, _OLD)
    # It may be a regular file, but is not renamed, so that several may write there.
    return read(setting, path if path.is_file() else None)


def database(file: str) -> NamedFiles:
    """Return the files of a SQLite database; empty for a server."""
    return NamedFiles("DATABASE_URL", [Path(file)] if file else [], appended=_BESIDE_DATABASE)


def published(setting: str, path: Path | None) -> NamedFiles:
    """Return the files of the static publisher."""
    paths = [] if path is None else [path]
    return NamedFiles(_shown(setting, path), paths, appended=_BESIDE_PUBLISHED)


def read(setting: str, path: Path | None) -> NamedFiles:
    """Return a file that is only read."""
    return NamedFiles(_shown(setting, path), [] if path is None else [path], written=False)


def check(files: Iterable[NamedFiles]) -> None:
    """Raise ValueError if two settings share a file, unless both only read it."""
    for one, other in combinations([each for each in files if each.paths], 2):
        path = _shared(one, other) if one.written or other.written else None
        if path is not None:
            both = f"{one.setting} and {other.setting}"
            raise ValueError(f"{both}: both would use {printable(str(path))}; name different files")


def _shared(one: NamedFiles, other: NamedFiles) -> Path | None:
    """Return a path that is, or would have to be a folder of, a file of both."""
    for first, second in ((one, other), (other, one)):
        known = [(own.parent, own) for own in first.spellings()]
        for spelling in second.spellings():
            for path in (spelling, *spelling.parents):
                near = [own for folder, own in known if folder == path.parent]
                if any(first.is_name_of(path.name, own) for own in near):
                    return path
    # Hard links, and other cases of letters on file systems that have no cases.
    same = (a for a in one.paths for b in other.paths if _same(a, b))
    return next(map(Path, map(os.path.realpath, same)), None)


def _same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    return False


def _shown(setting: str, path: Path | None) -> str:
    return f"{setting}={printable(str(path))}"
