"""The files of the declarations: each is opened once, and whatever is wrong with one is told as its fault."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

from utils.text import printable


class DeclarationFile(NamedTuple):
    """A file `<name>.toml`, as it was when it was read."""

    path: Path
    content: bytes = b""
    modified: float = 0.0
    fault: str = ""
    """Why it cannot be read."""

    @property
    def name(self) -> str:
        """The name of the stream; bytes of the file's name that are no text are escaped."""
        return printable(self.path.stem)

    def __str__(self) -> str:
        return printable(str(self.path))


def read_all(folder: Path) -> list[DeclarationFile]:
    """Every `*.toml` of a folder, by name, without hidden ones: editors keep locks and copies there. Raises OSError."""
    files = (path for path in folder.iterdir() if path.name.endswith(".toml") and not path.name.startswith("."))
    return [_read(path) for path in sorted(files)]


def _read(path: Path) -> DeclarationFile:
    try:
        # Without waiting, or a named pipe to which nobody writes would stop the start.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return _content(path, descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return DeclarationFile(path, fault=str(error.strerror))


def _content(path: Path, descriptor: int) -> DeclarationFile:
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode):
        return DeclarationFile(path, fault="it is a folder" if stat.S_ISDIR(state.st_mode) else "it is no file")
    with os.fdopen(descriptor, "rb", closefd=False) as opened:
        return DeclarationFile(path, opened.read(), state.st_mtime)
