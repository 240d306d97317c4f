"""Read a `.env` file, and find invalid lines and unknown names in it."""

import io
import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches

from dotenv.parser import parse_stream

from utils.text import decoded, printable

_REFERENCE = re.compile(r"\$\{([^}:]*)")
_SIMILAR = 0.75


def values(raw: bytes) -> dict[str, str]:
    """Return the values by name. Raises ValueError for an invalid line or a file not in UTF-8."""
    found = list(parse_stream(io.StringIO(decoded(raw), newline="")))
    for binding in found:
        if binding.error:
            blank = len(binding.original.string) - len(binding.original.string.lstrip())
            line = binding.original.line + len(binding.original.string[:blank].splitlines())
            raise ValueError(
                f"line {line} must be NAME=value, with the quotes around a value closed"
            )
    return {binding.key: binding.value or "" for binding in found if binding.key is not None}


def unknown(given: Mapping[str, str], known: Collection[str]) -> Iterator[str]:
    """Yield names that are neither known nor used in a value, each with a suggestion."""
    used = {name for value in given.values() for name in _REFERENCE.findall(value)}
    for name in given:
        if name.upper() not in known and name not in used:
            near = get_close_matches(name.upper(), known, 1, _SIMILAR)
            yield printable(name) + (f" (did you mean {near[0]}?)" if near else "")
