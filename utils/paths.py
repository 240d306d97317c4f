"""Checks of paths in settings; each returns the path, or raises ValueError with what is allowed."""

import os
from pathlib import Path


def existing_file(path: Path) -> Path:
    """Return the path of an existing file. Raises ValueError."""
    if not path.is_file():
        raise ValueError("must be the path of a file that exists")
    return path


def existing_folder(path: Path) -> Path:
    """Return the path of an existing folder. Raises ValueError."""
    if not path.is_dir():
        raise ValueError("must be the path of a folder that exists")
    return path


def writable_file(path: Path) -> Path:
    """Return the path of a file that can be written or created. Raises ValueError."""
    ancestors = (path.absolute(), *path.absolute().parents)
    nearest = next(ancestor for ancestor in ancestors if ancestor.exists())
    below_a_file = nearest != path.absolute() and not nearest.is_dir()
    if path.is_dir() or below_a_file or not os.access(nearest, os.W_OK):
        raise ValueError("must be a file that can be written")
    return path
