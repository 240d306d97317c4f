"""The declaration files: each is opened once, and an error is kept with its file."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from streams.checks import StreamError
from utils.text import printable

LIBRARY = Path(__file__).parent / "library"
"""Declarations of devices that many people own; STREAMS names those that are used."""


class DeclarationFile(NamedTuple):
    """The content of a file `<name>.toml` when it was read."""

    path: Path
    content: bytes = b""
    modified: float = 0.0
    fault: str = ""
    """Why the file cannot be read."""

    @property
    def name(self) -> str:
        """The name of the stream; undecodable bytes of the file's name are escaped."""
        return printable(self.path.stem)

    def __str__(self) -> str:
        return printable(str(self.path))


def chosen(folder: Path, names: Sequence[str]) -> Sequence[DeclarationFile]:
    """Return the files of a folder, or those with these names there or in the library.

    Raises StreamError.
    """
    own = _of_folder(folder)
    if not names:
        if not own:
            expected = "expected at least one file such as sensors.toml"
            raise StreamError(f"{folder}: no stream is declared here: {expected}")
        return own
    known = {file.name: file for file in [*_of_folder(LIBRARY), *own]}
    if unknown := [name for name in names if name not in known]:
        expected = f"expected names of {', '.join(sorted(known))}"
        raise StreamError(f"STREAMS={','.join(names)}: no stream {unknown[0]}; {expected}")
    return [known[name] for name in dict.fromkeys(names)]


def _of_folder(folder: Path) -> Sequence[DeclarationFile]:
    try:
        return read_all(folder)
    except OSError as error:
        raise StreamError(f"{folder}: cannot be read: {error.strerror}") from error


def read_all(folder: Path) -> list[DeclarationFile]:
    """Read every `*.toml` of a folder, sorted by name. Raises OSError."""
    # Editors keep locks and copies in hidden files.
    names = (path for path in folder.iterdir() if not path.name.startswith("."))
    return [_read(path) for path in sorted(names) if path.name.endswith(".toml")]


def _read(path: Path) -> DeclarationFile:
    try:
        # Non-blocking, because a named pipe without a writer would block the start.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return _content(path, descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return DeclarationFile(path, fault=str(error.strerror))


def _content(path: Path, descriptor: int) -> DeclarationFile:
    state = os.fstat(descriptor)
    if stat.S_ISDIR(state.st_mode):
        return DeclarationFile(path, fault="it is a folder")
    if not stat.S_ISREG(state.st_mode):
        return DeclarationFile(path, fault="it is not a regular file")
    with os.fdopen(descriptor, "rb", closefd=False) as opened:
        return DeclarationFile(path, opened.read(), state.st_mtime)
