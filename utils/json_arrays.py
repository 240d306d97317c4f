"""The length of a JSON array, found out without making its elements: a small one of them takes 60 times its bytes."""

import re

MAX_TOKENS = 1_000_000
"""Brackets and commas that are looked at; a search of more takes a second."""
_STRING = rb'"(?:[^"\\]++|\\.)*+"?'
_FLAT = rb"(?:[^\"\[\]{}]++|%b)*+" % _STRING
_TOKEN = re.compile(
    rb"(?P<skip>\{%b\}|\[%b\]|%b|[^\"\[\]{},]++)|(?P<open>[\[{])|(?P<close>[\]}])|(?P<comma>,)"
    % (_FLAT, _FLAT, _STRING),
    re.DOTALL,
)


def is_longer(text: bytes, most: int) -> bool:
    """Whether the array at the beginning of a text has more elements, or more in them than can be counted.

    Of a text that is no JSON it may say anything.
    """
    if text.count(b",") < most:
        return False
    depth = elements = 0
    # The first bracket is passed over, so that the array is not skipped as a whole.
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
