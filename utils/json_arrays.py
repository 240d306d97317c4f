"""Limit the length of a JSON array without decoding it: small elements take 60 times their size."""

import re

MAX_TOKENS = 1_000_000
"""Brackets and commas that are examined; more would take a second."""
_STRING = rb'"(?:[^"\\]++|\\.)*+"?'
_FLAT = rb"(?:[^\"\[\]{}]++|%b)*+" % _STRING
_TOKEN = re.compile(
    rb"(?P<skip>\{%b\}|\[%b\]|%b|[^\"\[\]{},]++)|(?P<open>[\[{])|(?P<close>[\]}])|(?P<comma>,)"
    % (_FLAT, _FLAT, _STRING),
    re.DOTALL,
)


def is_longer(text: bytes, most: int) -> bool:
    """Return whether the array at the start of a text has more than `most` elements.

    Also True if it is too large to count. The result for a text that is not JSON is undefined.
    """
    if text.count(b",") < most:
        return False
    depth = elements = 0
    # The search starts after the first bracket, so that the array is not skipped as a whole.
    for seen, found in enumerate(_TOKEN.finditer(text, text.index(b"[") + 1)):
        kind = found.lastgroup
        if kind == "comma" and depth == 0:
            elements += 1
        elif kind == "open":
            depth += 1
        elif kind == "close":
            depth -= 1
        if elements >= most or seen > MAX_TOKENS:
            return True
        if depth < 0:
            break
    return False
