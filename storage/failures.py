"""Errors of a database, and the messages for people."""

import re
from collections.abc import Mapping

from sqlalchemy.exc import SQLAlchemyError

FULL = "the disk is full"
READ_ONLY = "it takes no writes: it is read-only"
CROWDED = "it has too many connections already: raise its limit, or run fewer processes"
MEMORY = "it is out of memory"
LOCKED = "another process has locked it"
_WIDE = "the metrics are too many for one table of this database"
TOO_WIDE = f"{_WIDE}: declare a second stream for some of them"


class Unavailable(Exception):
    """The database cannot do its work now: away, locked, full. A later attempt may succeed."""


class Replaced(Unavailable):
    """The database is not the one it was; what is remembered of its content must be read anew."""


class BadData(Unavailable):
    """The database cannot compute with its data, or refuses it; another attempt would not help."""


def first_line(error: SQLAlchemyError) -> str:
    """The driver's message, in one line."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def unforeseen(error: Exception) -> str:
    """An error that no driver should raise, in one line: its text alone may say nothing."""
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])


def known_message(messages: Mapping[str, str], text: str) -> str | None:
    """The message of the first regular expression that is found in the text."""
    found = (message for pattern, message in messages.items() if re.search(pattern, text))
    return next(found, None)
