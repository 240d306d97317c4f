"""What is wrong with a database, in words for people."""

import re
from collections.abc import Mapping

from sqlalchemy.exc import SQLAlchemyError

FULL = "the disk is full"
READ_ONLY = "it takes no writes: it is read-only"
CROWDED = "it has too many connections already: raise its limit, or run fewer processes"
MEMORY = "it is out of memory"
LOCKED = "another process has locked it"
TOO_WIDE = "the metrics are too many for one table of this database: declare a second stream for some of them"


class Unavailable(Exception):
    """The database cannot do its work now: away, locked, full. Trying again later may succeed."""


class Replaced(Unavailable):
    """The database is not the one it was: whoever remembers what it held must read that anew."""


class BadData(Unavailable):
    """The database cannot compute with what it holds, or refuses it; trying again would not help."""


def first_line(error: SQLAlchemyError) -> str:
    """What the driver says, in one line."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def sentence(known: Mapping[str, str], text: str) -> str | None:
    """The sentence of the first of these regular expressions that is found in a text."""
    return next((words for pattern, words in known.items() if re.search(pattern, text)), None)
