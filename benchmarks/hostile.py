"""Hostile payloads of up to 1 MB: each breaks the parser's assumptions at the greatest cost."""

import gzip
import struct
import zlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from broker.message import Message
from config import Settings
from ingest.payload import Parser
from streams.declaration import load
from streams.own_topics import DeviceTopics

NOW = datetime(2026, 1, 29, 14, 30, 46)
MOST = 999_900
"""Bytes of a payload, unpacked."""
TOPIC = 'topic = "x/{device_id}"\n'
IN_PAYLOAD = 'topic = "x/y"\ndevice = "id"\n'
A = "[metrics]\na = {}\n"
REQUIRED = "[metrics]\na = { required = true }\n"
TEXT = '[metrics]\na = { type = "text" }\n'
REST = f'{TOPIC}rest = "keep"\n{A}'
ARRAY = f'{TOPIC}explode = "r"\n'
WHOLE = f'{TOPIC}explode = "*"\n{A}'
ZIPPED = f'{TOPIC}explode = ["r", "s", "t"]\n[metrics]\na = "r"\nb = "s"\nc = "t"\n'
PAIRS = f'{TOPIC}pairs = {{ in = "r", name = "n", value = "v", time = "t" }}\n{A}'
SINGLE = TOPIC + A
CSV = f'{TOPIC}format = "csv"\ncolumns = ["a", "b"]\n{A}'
HEADED = f'{TOPIC}format = "csv"\nrest = "keep"\n{A}'
INFLUX = f'{TOPIC}format = "influx"\nrest = "keep"\n{A}'
SENML = f'{TOPIC}format = "senml"\n{A}'
PACK = f'{TOPIC}format = "msgpack"\n{A}'
CBOR = f'{TOPIC}format = "cbor"\n{A}'
WIRE = f'{TOPIC}format = "sparkplug"\n{A}'


def with_metric(keys: str, head: str = ARRAY) -> str:
    return f"{head}[metrics]\na = {{ {keys} }}\n"


def times(keys: str, head: str = ARRAY) -> str:
    return f"{head}[timestamp]\n{keys}\n{A}"


def filled(piece: str, begin: str = "", end: str = "", most: int = MOST, count: int = 10**7) -> str:
    """As many pieces as fit, at most `count`, between the beginning and the end."""
    room = most - len(begin) - len(end)
    return begin + piece * min(count, room // len(piece)) + end


def members(member: str, count: int = 9_999) -> bytes:
    """An object with an array `r` of these members."""
    count = min(count, (MOST - 10) // (len(member) + 1))
    return f'{{"r":[{",".join([member] * count)}]}}'.encode()


def shared(value: str, member: str = "{}", name: str = "t") -> str:
    """An object with 9,999 of these members, and a field beside them that each may read."""
    return f'{{"r":[{",".join([member] * 9_999)}],"{name}":{value}}}'


def joined(pieces: Callable[[int], str], count: int, begin: str, end: str, by: str = ",") -> bytes:
    return (begin + by.join(map(pieces, range(count))) + end).encode()[:MOST]


def varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


def gzipped(payload: str | bytes) -> bytes:
    return gzip.compress(payload.encode() if isinstance(payload, str) else payload, mtime=0)


def deep(depth: int) -> str:
    return "[" * depth + "1" + "]" * depth


LONG = "x" * 90


class Hostile(NamedTuple):
    """A payload, and the stream that reads it."""

    name: str
    stream: str
    payload: Callable[[], bytes | str]


CASES = [
    # a) wrong members
    Hostile("wrong numbers", ARRAY + A, lambda: members('{"a":"x"}')),
    Hostile("wrong elements at the top", SINGLE, lambda: joined(lambda i: '{"a":"x"}', 9_999, "[", "]")),
    Hostile("wrong texts", ARRAY + TEXT, lambda: members('{"a":1.5}')),
    Hostile("texts too long", f'{ARRAY}[metrics]\na = {{ type = "text", path = "$.t" }}\n', lambda: shared(f'"{"é" * 400_000}"')),
    Hostile("a million digits for each member", with_metric('path = "$.t"'), lambda: shared(f'"{"1" * 900_000}"')),
    Hostile("10,000 digits for each member", with_metric('path = "$.t"'), lambda: shared(f'"{"1" * 9_999}"')),
    Hostile("white space for each member", with_metric('path = "$.t"'), lambda: shared(f'"{" " * 900_000}"')),
    Hostile("white space for each boolean", with_metric('path = "$.t", type = "boolean"'), lambda: shared(f'"{" " * 900_000}x"')),
    Hostile("an array for each member", with_metric('path = "$.t"'), lambda: shared(f'[{"1," * 400_000}1]')),
    Hostile("an integer of many digits for each member", with_metric('path = "$.t", type = "integer"'), lambda: shared(f'"{"1" * 900_000}"')),
    Hostile("an integer with an exponent", ARRAY + '[metrics]\na = { type = "integer" }\n', lambda: members('{"a":"1e999999999"}')),
    Hostile("booleans that are none", ARRAY + '[metrics]\na = { type = "boolean" }\n', lambda: members('{"a":2}')),
    Hostile("fractions of 4,000 digits", ARRAY + A, lambda: members('{"a":"9007199254740993.' + "7" * 4_000 + '"}')),
    Hostile("devices that are none", f'{IN_PAYLOAD}explode = "r"\n{A}', lambda: members('{"a":1,"id":[1]}')),
    Hostile("long device ids", f'{IN_PAYLOAD}explode = "r"\n{A}', lambda: members(f'{{"a":1,"id":"{LONG}{LONG}"}}')),
    Hostile("a device id of 1 MB for each", f'topic = "x/y"\ndevice = "$.id"\nexplode = "r"\n{A}', lambda: shared(f'"{"x" * 890_000}"', '{"a":1}', "id")),
    Hostile("a device object for each", f'topic = "x/y"\ndevice = "$.id"\nexplode = "r"\n{A}', lambda: shared(f'[{"1," * 400_000}1]', '{"a":1}', "id")),
    Hostile("values that are numbers", f'{ARRAY}values = "v"\n{A}', lambda: members('{"v":1}')),
    # b) CSV
    Hostile("csv, open quotes", CSV, lambda: filled('1,"x\n', count=9_999)),
    Hostile("csv, text behind a quote", CSV, lambda: filled('"1"x\n', count=9_999)),
    Hostile("csv, cells without end", CSV, lambda: filled("1,")),
    Hostile("csv, a million columns", HEADED, lambda: filled(",")),
    Hostile("csv, one cell of 1 MB", CSV, lambda: filled("x")),
    Hostile("csv, quotes of 1 MB", CSV, lambda: filled('""', begin='"', end='"')),
    # c) influx, rest
    Hostile("influx, thousands of fields", INFLUX, lambda: joined(lambda i: f"f{i}=1", 60_000, "m ", "")[:900_000].rsplit(b",", 1)[0]),
    Hostile("influx, wrong lines", INFLUX, lambda: filled("x\n", count=9_999)),
    Hostile("influx, open quotes", INFLUX, lambda: filled('m a="x\n', count=9_999)),
    Hostile("influx, one field twice", INFLUX, lambda: filled("a=1,", begin="m ", count=200_000)),
    Hostile("influx, backslashes", INFLUX, lambda: filled("\\", begin="m ", end="=1")),
    Hostile("influx, backslashes in a string", INFLUX, lambda: filled("\\", begin='m a="', end='"')),
    Hostile("influx, spaces", INFLUX, lambda: filled(" ", begin="m a=1", end="x")),
    # d) JSON that is none
    Hostile("NaN", WHOLE, lambda: filled("NaN,", "[", "NaN]")),
    Hostile("NaN in fields", WHOLE, lambda: filled("NaN,", '{"a":[', "NaN]}")),
    Hostile("signs", WHOLE, lambda: filled("+5,", '{"a":[', "+5]}")),
    Hostile("signs at the top", SINGLE, lambda: filled("+5,", "[", "+5]")),
    Hostile("nan with words", WHOLE, lambda: filled("nan(1),", '{"a":[', "1]}")),
    Hostile("words", WHOLE, lambda: filled("x,", '{"a":[', "1]}")),
    Hostile("words after NaN", WHOLE, lambda: filled("NaN,", '{"a":[', "x]}")),
    Hostile("NaN without end", WHOLE, lambda: filled("NaN,", '{"a":[')),
    Hostile("true without end", WHOLE, lambda: filled("true,", '{"a":[')),
    Hostile("broken at its end", WHOLE, lambda: filled("1,", '{"a":[', "x]}")),
    Hostile("broken at its end, objects", ARRAY + A, lambda: filled('{"a":1},', '{"r":[', "{]}")),
    Hostile("broken at its end, texts", WHOLE, lambda: filled('"",', '{"a":[', "1 2]}")),
    Hostile("half a pair at its end", WHOLE, lambda: filled('"",', '{"a":[', '"\\ud800"]}')),
    Hostile("half pairs", WHOLE, lambda: filled('"\\ud800x",', '{"a":[', '""]}')),
    Hostile("backslashes without end", WHOLE, lambda: filled("\\\\", '{"a":["')),
    Hostile("escaped NUL", WHOLE, lambda: filled("\\\\u0000", '{"a":["', '"]}')),
    Hostile("escaped NUL at the end", WHOLE, lambda: filled("\\\\", '{"a":["', '\\u0000"]}')),
    Hostile("cut-off words", WHOLE, lambda: filled("t ", '{"a":[')),
    Hostile("commas", WHOLE, lambda: filled(",", "[")),
    Hostile("invalid bytes", WHOLE, lambda: filled("!", "[")),
    Hostile("a word of 1 MB", WHOLE, lambda: filled("x", "[", "]")),
    Hostile("a number of 1 MB", WHOLE, lambda: filled("1", "[", "]")),
    Hostile("+1 of 1 MB", WHOLE, lambda: filled("1", '{"r":[+', "]}")),
    Hostile("a text of 1 MB without end", WHOLE, lambda: filled("x", '["')),
    Hostile("invalid UTF-8 at the end", WHOLE, lambda: b'{"a":"' + b"x" * 900_000 + b'\xff"}'),
    Hostile("spaces of 1 MB", WHOLE, lambda: filled(" ", "[", "1")),
    # e) deep, wide, many
    Hostile("deep arrays", WHOLE, lambda: "[" * 400_000),
    Hostile("deep arrays, closed", WHOLE, lambda: '{"a":' + deep(400_000) + "}"),
    Hostile("deep objects", WHOLE, lambda: '{"a":' * 200_000),
    Hostile("many duplicate keys", WHOLE, lambda: filled('"a":1,', "{", '"b":2}')),
    Hostile("too many members", WHOLE, lambda: joined(lambda i: f'"{i}":1', 80_000, "{", "}")),
    Hostile("too many elements", WHOLE, lambda: filled("1,", "[", "1]")),
    Hostile("too many elements in members", WHOLE, lambda: members("[" + "{}," * 50 + "{}]")),
    Hostile("zipped arrays too long", ZIPPED, lambda: filled('"x",', '{"r":[', '1],"s":[1],"t":[]}')),
    Hostile("pairs without a name", PAIRS, lambda: members('{"v":1}')),
    Hostile("pairs with long names", PAIRS, lambda: members(f'{{"n":{{"a":"{LONG[:70]}"}},"v":1}}')),
    Hostile("split into a million", with_metric('split = ",", item = 2', TOPIC), lambda: '{"a":"' + "," * 65_000 + '"}'),
    Hostile("hex of 1 MB", with_metric('bytes = { at = 8, as = "i16", from = "hex" }'), lambda: members('{"a":"' + "0" * 9_999 + '"}')),
    Hostile("wrong required times", times('field = "t"\nrequired = true'), lambda: members('{"a":1,"t":"x"}')),
    Hostile("times in a required zone", times('field = "t"\nrequired = true'), lambda: joined(lambda i: f'{{"a":1,"t":"2026-01-29 14:30:45 Europe/X{i}"}}', 9_999, '{"r":[', "]}")),
    # formats
    Hostile("senml, wrong base at its end", SENML, lambda: joined(lambda i: '{"n":"a","v":1}' if i < 9_998 else '{"bn":5}', 9_999, "[", "]")),
    Hostile("senml, wrong records", SENML, lambda: joined(lambda i: '{"n":5,"v":1}', 9_999, "[", "]")),
    Hostile("senml, long base name", SENML, lambda: joined(lambda i: f'{{"n":"{"/" * 70}:a{i}","vs":"x"}}', 9_999, "[", "]")),
    Hostile("senml, base values of many digits", SENML, lambda: f'[{{"bv":1.{"7" * 500_000}}},' + ",".join(['{"n":"a","v":1}'] * 9_000) + "]"),
    Hostile("msgpack, a wrong length", PACK, lambda: b"\xdd\xff\xff\xff\xff" + b"\xc0" * 900_000),
    Hostile("msgpack, a wrong length of a text", PACK, lambda: b"\xdb\xff\xff\xff\xff" + b"x" * 900_000),
    Hostile("msgpack, deep", PACK, lambda: b"\x91" * 900_000),
    Hostile("msgpack, an extension", PACK, lambda: b"\x91\xd4\x05\x01"),
    Hostile("msgpack, a million empty maps", PACK, lambda: b"\xdd" + struct.pack(">I", 900_000) + b"\x80" * 900_000),
    Hostile("msgpack, invalid UTF-8", PACK, lambda: b"\xdd" + struct.pack(">I", 200_000) + b"\xc0" * 199_999 + b"\xa1\xff"),
    Hostile("cbor, a wrong length", CBOR, lambda: b"\x9a\xff\xff\xff\xff" + b"\xf6" * 900_000),
    Hostile("cbor, a wrong length of a text", CBOR, lambda: b"\x7b\x7f\xff\xff\xff\xff\xff\xff\xff" + b"x" * 900_000),
    Hostile("cbor, deep", CBOR, lambda: b"\x81" * 900_000),
    Hostile("cbor, nested tags", CBOR, lambda: b"\xc1" * 900_000 + b"\x00"),
    Hostile("cbor, maps", CBOR, lambda: b"\x9a" + struct.pack(">I", 200_000) + b"\xa1\x61a\xf6" * 200_000),
    Hostile("sparkplug, a wrong length", WIRE, lambda: b"\x12\xff\xff\xff\xff\x0f" + b"x" * 900_000),
    Hostile("sparkplug, wrong lengths of metrics", WIRE, lambda: b"\x12\x03\x0a\x7fx" * 9_999),
    Hostile("sparkplug, metrics without a name", WIRE, lambda: b"\x12\x02\x50\x01" * 9_999),
    Hostile("sparkplug, empty metrics", WIRE, lambda: b"\x12\x00" * 400_000),
    Hostile("sparkplug, aliases", WIRE, lambda: b"\x12\x04\x10\x07\x50\x01" * 9_999),
    Hostile("sparkplug, fields", WIRE, lambda: b"\x08\x01" * 450_000),
    Hostile("sparkplug, integers without end", WIRE, lambda: b"\xff" * 900_000),
    Hostile("sparkplug, the name timestamp", WIRE, lambda: b"\x12\x0f\x0a\x09timestamp\x20\x03\x50\x01" * 9_999),
    Hostile("sparkplug, long names", WIRE, lambda: b"\x12\x88\x08\x0a\x84\x08" + b"x" * 1028),
    # packed
    Hostile("gzip bomb", WHOLE, lambda: gzipped(bytes(60_000_000))),
    Hostile("zlib bomb", WHOLE, lambda: zlib.compress(bytes(60_000_000))),
    Hostile("gzip members", WHOLE, lambda: gzipped(b"") * 1_001),
    Hostile("gzip members with content", WHOLE, lambda: gzipped(b" " * 990) * 1_000),
    Hostile("gzip members before much", WHOLE, lambda: gzipped(b"") * 999 + b"\x1f\x8b" + b"x" * 900_000),
    Hostile("gzip of white space", WHOLE, lambda: gzipped(b" " * MOST)),
    Hostile("a line of 10 MB", CSV, lambda: b"x" * 10_000_000),
    Hostile("an influx line of 10 MB", INFLUX, lambda: b"m a=" + b"1" * 10_000_000),
    Hostile("json of 10 MB", WHOLE, lambda: b"[" + b"1," * 5_000_000),
    Hostile("NULs of 10 MB", WHOLE, lambda: bytes(10_000_000)),
    Hostile("a device id of 1 MB", f'topic = "x/y"\ndevice = "id"\nexplode = "r"\n{A}', lambda: f'{{"id":"{"x" * 900_000}","r":[{{"a":1}}]}}'),
]  # fmt: skip


OTHER = Message("x/d1", b"{", NOW)
"""Another broken message."""


def parser_of(case: Hostile, folder: Path) -> Parser:
    """A parser of the case's stream, which is declared in the folder."""
    (folder / "x.toml").write_text(case.stream)
    return Parser(load(folder, {}, DeviceTopics.of(Settings(_env_file=None))))


def message_of(case: Hostile) -> Message:
    payload = case.payload()
    topic = "x/y" if 'topic = "x/y"' in case.stream else "x/d1"
    if 'topic = "x/{device_id}"' in case.stream:
        topic = "x/d1"
    return Message(topic, payload.encode() if isinstance(payload, str) else payload, NOW)
