"""Configuration files of the publisher with one fault each, made from a good one by chance that a seed repeats."""

import json
import random
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

Fields = dict[str, str]
"""An entry's fields, each value as JSON, so that it can be what no value holds."""


class MalformedFile(NamedTuple):
    """A file that is not as it should be."""

    how: str
    content: bytes
    touched: int | None
    """The place of the entry that is faulty; None where the file cannot be read at all."""


def nested(depth: int) -> str:
    """JSON with so many arrays within each other."""
    return "[" * depth + "]" * depth


def good_entries() -> list[Fields]:
    """Eight good entries, not two of them alike."""
    time = '"2025-09-29T16:27:50.000000"'
    entries = []
    for number in range(8):
        data = f'{{"sensor_id": "SENSOR_{number}", "temperature": 25.5, "place": {{"line": [1, 2, {number}]}}}}'
        needed = {
            "id": f'"entry_{number}"',
            "topic": f'"plant/line/{number}"',
            "data": data,
            "interval": "30",
        }
        more = {"qos": str(number % 3), "retain": "true", "lwt": "false"}
        about = {"created_at": time, "updated_at": time, "version": str(number + 1)}
        entries.append(needed | [{}, more, about, more | about][number % 4])
    return entries


def as_file(entries: list[Fields]) -> str:
    """The text of a file with these entries."""
    objects = (
        ",\n".join(f"    {json.dumps(name)}: {value}" for name, value in entry.items())
        for entry in entries
    )
    return "[\n" + ",\n".join(f"  {{\n{inside}\n  }}" for inside in objects) + "\n]\n"


_NO_TEXT = ["1", "null", "true", "[]", "{}", "1e999", '""']
_INVISIBLE = ['"a\\u0007"', '"\\u200b"', '"a\\u2028b"', '"\\u0000"', '"\\u202e\\u202d"']
_NO_SWITCH = ["1", "0", '"true"', "null", "[]", "{}", "1.0"]
_NO_TIME = ["1", '""', '"yesterday"', '"2025-13-01"', "[]", "false", '"\\u0661"']
WRONG = {
    "id": [
        *_NO_TEXT,
        *_INVISIBLE,
        '"a/b"',
        '"a+"',
        '"#"',
        '"."',
        '".."',
        '" a"',
        '"a\\n"',
        f'"{"x" * 129}"',
    ],
    "topic": [
        *_NO_TEXT,
        *_INVISIBLE,
        '"a/+"',
        '"#"',
        '"$SYS/a"',
        '"\\ud800"',
        f'"{"é" * 32_768}"',
        f'"{"/" * 200}"',
    ],
    "data": [
        *(
            "[]",
            '"text"',
            "1",
            "null",
            "true",
            f'{{"a": {nested(32)}}}',
            '{"a": {"b": -1e999}}',
            '{"a": 1, "a": 1}',
        ),
        *(
            f'{{"a": {"1" * 5_000}}}',
            f'{{"a": "{"x" * 1_000_000}"}}',
            '{"a": [{"": 1, "b": 2, "": 1}]}',
        ),
    ],
    "interval": [
        '"30"',
        "0",
        "-1",
        "0.0009",
        "31536001",
        "1e999",
        "true",
        "null",
        "[]",
        "{}",
        "1" * 5_000,
        "-0.0",
    ],
    "qos": ["3", "-1", "1.0", "true", '"1"', "null", "[1]", "1e0"],
    "retain": _NO_SWITCH,
    "lwt": _NO_SWITCH,
    "created_at": _NO_TIME,
    "updated_at": _NO_TIME,
    "version": ["0", "-1", "1.0", "true", "null", '"1"', "9007199254740992", "1" * 5_000],
}


def _wrong_value(chance: random.Random, entries: list[Fields], place: int) -> str:
    field = chance.choice(list(WRONG))
    # At the end of the entry, where the same key may stand already.
    entries[place].pop(field, None)
    entries[place][field] = chance.choice(WRONG[field])
    return f"{field} {entries[place][field][:40]}"


def _missing_field(chance: random.Random, entries: list[Fields], place: int) -> str:
    field = chance.choice(["id", "topic", "data", "interval"])
    del entries[place][field]
    return f"no {field}"


def _unknown_field(chance: random.Random, entries: list[Fields], place: int) -> str:
    field = chance.choice(
        ["intervall", "", "Id", "\x1b[2J", "\u202e", "payload\n", "x" * 1_000, "😀"]
    )
    entries[place][field] = chance.choice(["1", "null", '"\\u001b[2J"', nested(40), "1e999"])
    return f"an unknown field {field[:20]!a}"


def _id_of_another(chance: random.Random, entries: list[Fields], place: int) -> str:
    # The first one is good, so only a later one may be the copy.
    if place:
        entries[place]["id"] = entries[chance.randrange(place)]["id"]
        return "an id twice"
    return _missing_field(chance, entries, place)


def _no_object(chance: random.Random, entries: list[Fields], place: int) -> str:
    other = chance.choice(
        ["1", "null", '"entry"', "true", "[]", "[{}]", "{}", "1e999", nested(100), "1" * 5_000]
    )
    text = as_file(
        [{"no object": other} if number == place else entry for number, entry in enumerate(entries)]
    )
    raise _Instead(
        f"an entry {other[:40]}", text.replace(f'{{\n    "no object": {other}\n  }}', other)
    )


def _field_twice(chance: random.Random, entries: list[Fields], place: int) -> str:
    field = chance.choice(list(entries[place]))
    text = as_file(entries)
    line = f"    {json.dumps(field)}: {entries[place][field]},\n"
    own = f'    "id": {entries[place]["id"]},\n'
    raise _Instead(f"{field} twice", text.replace(own, line + own))


class _Instead(Exception):
    """What an entry became that fields cannot say: how, and the text of the file."""


_ENTRY_FAULTS: list[Callable[[random.Random, list[Fields], int], str]] = [
    *(_wrong_value, _wrong_value, _wrong_value),
    *(_missing_field, _unknown_field, _id_of_another, _no_object, _field_twice),
]


def _entry_fault(chance: random.Random) -> MalformedFile:
    entries = good_entries()
    place = chance.randrange(len(entries))
    try:
        how = chance.choice(_ENTRY_FAULTS)(chance, entries, place)
        text = as_file(entries)
    except _Instead as instead:
        how, text = instead.args
    return MalformedFile(how, text.encode(), place)


def _cut(chance: random.Random, text: bytes) -> bytes:
    return text[: chance.randrange(text.rindex(b"]"))]


def _deleted(chance: random.Random, text: bytes) -> bytes:
    # A comma or a colon within a text would not be missed.
    place = chance.choice([found.start() for found in re.finditer(rb'[][{}"]|[:,](?=\s)', text)])
    return text[:place] + text[place + 1 :]


def _flipped(chance: random.Random, text: bytes) -> bytes:
    place = chance.randrange(len(text))
    return text[:place] + bytes([text[place] ^ 0x80]) + text[place + 1 :]


def _inserted(chance: random.Random, text: bytes) -> bytes:
    place = chance.randrange(len(text))
    byte = chance.choice(
        [b"\0", b"\x07", b"\x1b", b"\x80", b"\xc3", b"\xff", b"\xed\xa0\x80", b"\x0c"]
    )
    return text[:place] + byte + text[place:]


def _replaced_value(chance: random.Random, text: bytes) -> bytes:
    other = [
        b"NaN",
        b"Infinity",
        b"nul",
        b"0x1E",
        b"01",
        b"1.",
        b"'30'",
        b"30,,",
        b'"\\x"',
        b"+1",
        b"",
    ]
    values = text.split(b": 30")
    place = chance.randrange(1, len(values))
    return (
        b": 30".join(values[:place]) + b": " + chance.choice(other) + b": 30".join(values[place:])
    )


def _trailing(chance: random.Random, text: bytes) -> bytes:
    return text + chance.choice(
        [b"]", b"x", b"[]", b"// end\n", b"\n,\n", text, b"\xef\xbb\xbf", b"\0"]
    )


def _other_top(chance: random.Random, text: bytes) -> bytes:
    first = text[text.index(b"{") : text.index(b"}\n") + 1]
    others = [
        b'{"configs": ' + text + b"}",
        first,
        b"1",
        b"null",
        b'"text"',
        b"true",
        b"1e999",
        b"NaN",
    ]
    return chance.choice(
        [*others, b"", b" \n", b"[" * 100_000, b"[" + nested(100_000).encode() + b"]"]
    )


def _other_encoding(chance: random.Random, text: bytes) -> bytes:
    named = text.replace(b"SENSOR", "Fühler".encode()).decode()
    return named.encode(
        chance.choice(["latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp500"])
    )


_FILE_FAULTS = [
    _cut,
    _deleted,
    _flipped,
    _inserted,
    _replaced_value,
    _trailing,
    _other_top,
    _other_encoding,
]


def _file_fault(chance: random.Random) -> MalformedFile:
    fault = chance.choice(_FILE_FAULTS)
    return MalformedFile(
        fault.__name__.strip("_"), fault(chance, as_file(good_entries()).encode()), None
    )


def malformed(seed: int, count: int) -> Iterator[MalformedFile]:
    """So many files with a fault, of the file and of an entry in turn; the same ones for the same seed."""
    chance = random.Random(seed)
    for number in range(count):
        yield (_file_fault if number % 2 else _entry_fault)(chance)


def malformed_files(seed: int, count: int) -> Iterator[bytes]:
    """The contents of so many files with a fault; the same ones for the same seed."""
    return (file.content for file in malformed(seed, count))
