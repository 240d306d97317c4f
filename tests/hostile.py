"""Hostile payloads of up to 1 MB: each breaks the parser's assumptions at the greatest cost."""

import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from broker.message import Message
from ingest.payload import Parser
from streams.declaration import load
from tests.parsing import RECEIVED
from tests.support import DEVICE_TOPICS

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
GOOD = '{"a":1}'


class Hostile(NamedTuple):
    """A payload, the stream that reads it, and how many members of it are good."""

    name: str
    stream: str
    payload: Callable[[], bytes | str]


CASES = [
    # a) wrong members
    Hostile("wrong numbers", ARRAY + A, lambda: members('{"a":"x"}')),
    Hostile("long wrong numbers", ARRAY + A, lambda: members(f'{{"a":"{LONG}"}}')),
    Hostile("unicode wrong numbers", ARRAY + A, lambda: members('{"a":"' + "\u202e" * 25 + '"}').decode()[:MOST]),
    Hostile("wrong required numbers", ARRAY + REQUIRED, lambda: members('{"a":"x"}')),
    Hostile("missing numbers", ARRAY + REQUIRED, lambda: members('{"b":1}')),
    Hostile("no metrics", ARRAY + A, lambda: members("{}")),
    Hostile("members that are texts", ARRAY + A, lambda: members('"x"')),
    Hostile("members that are arrays", ARRAY + A, lambda: members("[1]")),
    Hostile("members that are arrays in arrays", ARRAY + A, lambda: members("[[[[1]]]]")),
    Hostile("wrong members in an object", WHOLE, lambda: joined(lambda i: f'"k{i}":{{"a":"x"}}', 9_999, "{", "}")),
    Hostile("long keys of wrong members", WHOLE, lambda: joined(lambda i: f'"{i:080}":{{"a":"x"}}', 9_999, "{", "}")),
    Hostile("wrong elements at the top", SINGLE, lambda: joined(lambda i: '{"a":"x"}', 9_999, "[", "]")),
    Hostile("wrong texts", ARRAY + TEXT, lambda: members('{"a":1.5}')),
    Hostile("texts with what is invisible", ARRAY + TEXT, lambda: joined(lambda i: f'{{"a":"{i}\u200b"}}', 9_999, '{"r":[', "]}")),
    Hostile("texts too long", f'{ARRAY}[metrics]\na = {{ type = "text", path = "$.t" }}\n', lambda: '{"r":[' + ",".join(["{}"] * 9_999) + f'],"t":"{"é" * 400_000}"}}'),
    Hostile("a million digits for each member", with_metric('path = "$.t"'), lambda: '{"r":[' + ",".join(["{}"] * 9_999) + f'],"t":"{"1" * 900_000}"}}'),
    Hostile("10,000 digits for each member", with_metric('path = "$.t"'), lambda: '{"r":[' + ",".join(["{}"] * 9_999) + f'],"t":"{"1" * 9_999}"}}'),
    Hostile("1,000 digits for each member", with_metric('path = "$.t"'), lambda: '{"r":[' + ",".join(["{}"] * 9_999) + f'],"t":"{"1" * 999}"}}'),
    Hostile("a million letters for each member", with_metric('path = "$.t", unit = "V"'), lambda: '{"r":[' + ",".join(["{}"] * 9_999) + f'],"t":"{"x" * 900_000}"}}'),
    Hostile("white space for each member", with_metric('path = "$.t"'), lambda: '{"r":[' + ",".join(["{}"] * 9_999) + f'],"t":"{" " * 900_000}"}}'),
    Hostile("white space for each boolean", with_metric('path = "$.t", type = "boolean"'), lambda: '{"r":[' + ",".join(["{}"] * 9_999) + f'],"t":"{" " * 900_000}x"}}'),
    Hostile("an array for each member", with_metric('path = "$.t"'), lambda: '{"r":[' + ",".join(["{}"] * 9_999) + f'],"t":[{"1," * 400_000}1]}}'),
    Hostile("an object for each text", with_metric('path = "$.t", type = "text"'), lambda: '{"r":[' + ",".join(["{}"] * 9_999) + '],"t":{' + ",".join(f'"{i}":1' for i in range(80_000)) + "}}"),
    Hostile("an integer of many digits for each member", with_metric('path = "$.t", type = "integer"'), lambda: '{"r":[' + ",".join(["{}"] * 9_999) + f'],"t":"{"1" * 900_000}"}}'),
    Hostile("an integer with an exponent", ARRAY + '[metrics]\na = { type = "integer" }\n', lambda: members('{"a":"1e999999999"}')),
    Hostile("integers out of range", ARRAY + '[metrics]\na = { type = "integer" }\n', lambda: members('{"a":99999999999999999999}')),
    Hostile("integers with fractions", ARRAY + '[metrics]\na = { type = "integer" }\n', lambda: members('{"a":1.5}')),
    Hostile("booleans that are none", ARRAY + '[metrics]\na = { type = "boolean" }\n', lambda: members('{"a":2}')),
    Hostile("tiny numbers", ARRAY + A, lambda: members('{"a":1e-999}')),
    Hostile("numbers that are not exact", ARRAY + A, lambda: members('{"a":9007199254740993}')),
    Hostile("numbers of 4,000 digits", ARRAY + A, lambda: members('{"a":' + "7" * 4_000 + "}")),
    Hostile("fractions of 4,000 digits", ARRAY + A, lambda: members('{"a":"9007199254740993.' + "7" * 4_000 + '"}')),
    Hostile("numbers beyond the largest", ARRAY + A, lambda: members('{"a":"1e999"}')),
    Hostile("scaled beyond the largest", with_metric("scale = 1e300"), lambda: members('{"a":"1e300"}')),
    Hostile("scaled digits", with_metric("scale = 0.1"), lambda: members('{"a":"' + "7" * 9_000 + '"}')),
    Hostile("other units", with_metric('unit = "V"'), lambda: members('{"a":"1.5 A"}')),
    Hostile("decimal commas", f'{TOPIC}explode = "r"\ndecimal = ","\n{A}', lambda: members('{"a":"1.5.5"}')),
    Hostile("a comma for each member", f'{TOPIC}explode = "r"\ndecimal = ","\n[metrics]\na = "$.t"\n', lambda: '{"r":[' + ",".join(["{}"] * 9_999) + f'],"t":"{"1" * 9_900}"}}'),
    Hostile("digits of base 16", with_metric("base = 16"), lambda: members('{"a":"xyz"}')),
    Hostile("words of a map", with_metric("map = { open = 1 }"), lambda: members('{"a":"x"}')),
    Hostile("two faults in each member", f"{ARRAY}{A}b = {{}}\nc = {{}}\n", lambda: members('{"a":"x","b":"y","c":"z"}')),
    Hostile("two faults beside a value", f"{ARRAY}{A}b = {{}}\nc = {{}}\n", lambda: members('{"a":"x","b":"y","c":1}')),
    Hostile("missing devices", f'{IN_PAYLOAD}explode = "r"\n{A}', lambda: members('{"a":1}')),
    Hostile("devices that are none", f'{IN_PAYLOAD}explode = "r"\n{A}', lambda: members('{"a":1,"id":[1]}')),
    Hostile("invalid device ids", f'{IN_PAYLOAD}explode = "r"\n{A}', lambda: joined(lambda i: f'{{"a":1,"id":"+{i}\u200b"}}', 9_999, '{"r":[', "]}")),
    Hostile("long device ids", f'{IN_PAYLOAD}explode = "r"\n{A}', lambda: members(f'{{"a":1,"id":"{LONG}{LONG}"}}')),
    Hostile("other device ids", f'topic = "x/{{device_id}}"\ndevice = "id"\nexplode = "r"\n{A}', lambda: members('{"a":1,"id":"d9"}')),
    Hostile("a device id of 1 MB for each", f'topic = "x/y"\ndevice = "$.id"\nexplode = "r"\n{A}', lambda: '{"r":[' + ",".join(['{"a":1}'] * 9_999) + f'],"id":"{"x" * 890_000}"}}'),
    Hostile("a device object for each", f'topic = "x/y"\ndevice = "$.id"\nexplode = "r"\n{A}', lambda: '{"r":[' + ",".join(['{"a":1}'] * 9_999) + f'],"id":[{"1," * 400_000}1]}}'),
    Hostile("a device of parts for each", f'topic = "x/y"\ndevice = ["$.id", "$.jd"]\nexplode = "r"\n{A}', lambda: '{"r":[' + ",".join(['{"a":1}'] * 9_999) + f'],"jd":"x","id":"{"x" * 890_000}"}}'),
    Hostile("other values of only", f'{TOPIC}explode = "r"\nempty = "ignore"\n[only]\nk = "v"\n{A}', lambda: members('{"a":1}')),
    Hostile("values that are none", f'{ARRAY}values = "v"\n{A}', lambda: members('{"v":[]}')),
    Hostile("values that are numbers", f'{ARRAY}values = "v"\n{A}', lambda: members('{"v":1}')),
    # b) CSV
    Hostile("csv, open quotes", CSV, lambda: filled('1,"x\n', count=9_999)),
    Hostile("csv, long open quotes", CSV, lambda: filled(f'"{LONG}\n', count=9_999)),
    Hostile("csv, quotes closed 64 lines on", CSV, lambda: filled('"' + "x\n" * 70, count=140)),
    Hostile("csv, text behind a quote", CSV, lambda: filled('"1"x\n', count=9_999)),
    Hostile("csv, quotes within", CSV, lambda: filled('"a""\n', count=9_999)),
    Hostile("csv, too many cells", CSV, lambda: filled("1,2,3,4,5,6\n", count=9_999)),
    Hostile("csv, cells without end", CSV, lambda: filled("1,")),
    Hostile("csv, wrong values", CSV, lambda: filled("x,2\n", count=9_999)),
    Hostile("csv, empty lines", CSV, lambda: filled("\n", count=9_998, end="x")),
    Hostile("csv, a million columns", HEADED, lambda: filled(",")),
    Hostile("csv, 1,000 columns and 999 lines", HEADED, lambda: ",".join(f"c{i}" for i in range(1_000)) + "\n" + filled("1," * 999 + "1\n", most=990_000)),
    Hostile("csv, columns of the same name", HEADED, lambda: ",".join(["a"] * 1_000)),
    Hostile("csv, one cell of 1 MB", CSV, lambda: filled("x")),
    Hostile("csv, quotes of 1 MB", CSV, lambda: filled('""', begin='"', end='"')),
    Hostile("csv, wrong values and rest", HEADED, lambda: "a,b,c\n" + filled("x,2,\u200b\n", count=9_998)),
    # c) influx, rest
    Hostile("influx, thousands of fields", INFLUX, lambda: joined(lambda i: f"f{i}=1", 60_000, "m ", "")[:900_000].rsplit(b",", 1)[0]),
    Hostile("influx, fields of 65 kB", INFLUX, lambda: joined(lambda i: f"f{i}=1", 7_000, "m ", "")[:65_000].rsplit(b",", 1)[0]),
    Hostile("influx, lines with many fields", INFLUX, lambda: ("m " + ",".join(f"f{i}=1" for i in range(1_000)) + "\n") * 130),
    Hostile("influx, many tags", INFLUX, lambda: ("m," + ",".join(f"f{i}=1" for i in range(1_000)) + " a=1\n") * 130),
    Hostile("influx, wrong lines", INFLUX, lambda: filled("x\n", count=9_999)),
    Hostile("influx, wrong values", INFLUX, lambda: filled("m a=x\n", count=9_999)),
    Hostile("influx, wrong numbers", INFLUX, lambda: filled('m a="x"\n', count=9_999)),
    Hostile("influx, open quotes", INFLUX, lambda: filled('m a="x\n', count=9_999)),
    Hostile("influx, wrong times", INFLUX, lambda: filled("m a=1 x\n", count=9_999)),
    Hostile("influx, one field twice", INFLUX, lambda: filled("a=1,", begin="m ", count=200_000)),
    Hostile("influx, backslashes", INFLUX, lambda: filled("\\", begin="m ", end="=1")),
    Hostile("influx, backslashes in a string", INFLUX, lambda: filled("\\", begin='m a="', end='"')),
    Hostile("influx, spaces", INFLUX, lambda: filled(" ", begin="m a=1", end="x")),
    Hostile("influx, spaces in each line", INFLUX, lambda: filled("m a=1" + " " * 90 + "x\n")),
    Hostile("influx, comments", INFLUX, lambda: filled("#\n", count=9_999)),
    Hostile("json, many fields and rest", REST, lambda: joined(lambda i: f'"f{i}":1', 5_000, "{", "}")),
    Hostile("json, members with rest", f'{ARRAY}rest = "keep"\n{A}', lambda: members("{" + ",".join(f'"f{i}":1' for i in range(150)) + "}")),
    Hostile("json, members with many fields", f'{ARRAY}rest = "keep"\n{A}', lambda: members("{" + ",".join(f'"f{i}":1' for i in range(9_000)) + "}")),
    Hostile("json, members with invalid rest", f'{ARRAY}rest = "keep"\n{A}', lambda: members("{" + ",".join(f'"f{i}":"\u200b"' for i in range(150)) + "}").decode()[:MOST]),
    Hostile("json, small members with invalid rest", f'{ARRAY}rest = "keep"\n{A}', lambda: members('{"f":"\u200b","g":1e999}')),
    Hostile("json, arrays and rest", f'{ARRAY}rest = "keep"\n{A}', lambda: members("{\"b\":[" + ",".join(["1"] * 5_000) + "]}")),
    Hostile("json, deep fields and rest", f'{ARRAY}rest = "keep"\n{A}', lambda: members('{"b":' * 31 + "1" + "}" * 31)),
    Hostile("json, nulls and rest", f'{ARRAY}rest = "keep"\n{A}', lambda: members('{"b":[' + "null," * 9_000 + "null]}")),
    Hostile("json, names with quotes and rest", f'{ARRAY}rest = "keep"\n{A}', lambda: members("{" + ",".join(f'"f.{i}":1' for i in range(180)) + "}")),
    # d) JSON that is none
    Hostile("NaN", WHOLE, lambda: filled("NaN,", "[", "NaN]")),
    Hostile("NaN in members", ARRAY + A, lambda: members('{"a":NaN}')),
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
    Hostile("backslashes and NaN", WHOLE, lambda: filled("\\\\", '{"a":[NaN,"', '"]}')),
    Hostile("escaped NUL", WHOLE, lambda: filled("\\\\u0000", '{"a":["', '"]}')),
    Hostile("escaped NUL at the end", WHOLE, lambda: filled("\\\\", '{"a":["', '\\u0000"]}')),
    Hostile("cut-off words", WHOLE, lambda: filled("t ", '{"a":[')),
    Hostile("commas", WHOLE, lambda: filled(",", "[")),
    Hostile("invalid bytes", WHOLE, lambda: filled("!", "[")),
    Hostile("a word of 1 MB", WHOLE, lambda: filled("x", "[", "]")),
    Hostile("a number of 1 MB", WHOLE, lambda: filled("1", "[", "]")),
    Hostile("+1 of 1 MB", WHOLE, lambda: filled("1", '{"r":[+', "]}")),
    Hostile("a fraction of 1 MB", WHOLE, lambda: filled("1", '{"a":[1.', "]}")),
    Hostile("nan( of 1 MB", WHOLE, lambda: filled("1", '{"r":[nan(', ")]}")),
    Hostile("a text of 1 MB without end", WHOLE, lambda: filled("x", '["')),
    Hostile("invalid UTF-8 at the end", WHOLE, lambda: b'{"a":"' + b"x" * 900_000 + b'\xff"}'),
    Hostile("spaces of 1 MB", WHOLE, lambda: filled(" ", "[", "1")),
    # e) deep, wide, many
    Hostile("deep arrays", WHOLE, lambda: "[" * 400_000),
    Hostile("deep arrays, closed", WHOLE, lambda: '{"a":' + deep(400_000) + "}"),
    Hostile("deep arrays of 900", ARRAY + A, lambda: members(f'{{"a":{deep(900)}}}')),
    Hostile("deep arrays of 500 in texts", ARRAY + TEXT, lambda: members(f'{{"a":{deep(45)}}}')),
    Hostile("deep objects", WHOLE, lambda: '{"a":' * 200_000),
    Hostile("many duplicate keys", WHOLE, lambda: filled('"a":1,', "{", '"b":2}')),
    Hostile("many keys", SINGLE, lambda: joined(lambda i: f'"{i}":1', 5_900, "{", "}")),
    Hostile("too many members", WHOLE, lambda: joined(lambda i: f'"{i}":1', 80_000, "{", "}")),
    Hostile("too many elements", WHOLE, lambda: filled("1,", "[", "1]")),
    Hostile("too many elements in members", WHOLE, lambda: members("[" + "{}," * 50 + "{}]")),
    Hostile("zipped arrays", ZIPPED, lambda: filled('"x",', '{"r":[', '1],"s":[1],"t":[]}', count=9_998)),
    Hostile("zipped arrays of wrong values", ZIPPED, lambda: ('{"r":[' + '"x",' * 9_998 + '1],"s":[' + '"y",' * 9_998 + '1],"t":[' + '"z",' * 9_998 + "1]}")),
    Hostile("zipped arrays too long", ZIPPED, lambda: filled('"x",', '{"r":[', '1],"s":[1],"t":[]}')),
    Hostile("pairs with times", PAIRS, lambda: joined(lambda i: f'{{"n":"a","v":"x","t":{1769697045 - i}}}', 9_999, '{"r":[', "]}")),
    Hostile("pairs without a name", PAIRS, lambda: members('{"v":1}')),
    Hostile("pairs with wrong names", PAIRS, lambda: members('{"n":[1],"v":1}')),
    Hostile("pairs with long names", PAIRS, lambda: members(f'{{"n":{{"a":"{LONG[:70]}"}},"v":1}}')),
    Hostile("pairs of one name", PAIRS, lambda: members('{"n":"a","v":"x"}')),
    Hostile("pairs with long times", PAIRS, lambda: members('{"n":"a","v":1,"t":"' + "9" * 60 + '"}')),
    Hostile("pairs with deep times", PAIRS, lambda: members(f'{{"n":"a","v":1,"t":{deep(40)}}}')),
    Hostile("pairs with a time for all", f'{TOPIC}pairs = {{ in = "r", name = "n", value = "v", time = "$.t" }}\n{A}', lambda: '{"r":[' + ",".join(['{"n":"a","v":1}'] * 9_999) + f'],"t":[{"1," * 390_000}1]}}'),
    Hostile("pairs beside fields", PAIRS, lambda: joined(lambda i: f'{{"n":"a","v":"x","t":{i}}}', 9_999, '{"r":[', "]," + ",".join(f'"f{i}":1' for i in range(99)) + "}")),
    Hostile("pairs in members", f'{TOPIC}explode = "r"\npairs = {{ in = "p", name = "n", value = "v" }}\n{A}', lambda: members('{"p":[{"n":[]}]}')),
    Hostile("empty pairs in members", f'{TOPIC}explode = "r"\npairs = {{ in = "p", name = "n", value = "v" }}\n{A}', lambda: members('{"p":[]}')),
    Hostile("pairs that are none in members", f'{TOPIC}explode = "r"\npairs = {{ in = "p", name = "n", value = "v" }}\n{A}', lambda: members('{"p":1}')),
    Hostile("split into a million", with_metric('split = ",", item = 2', TOPIC), lambda: '{"a":"' + "," * 65_000 + '"}'),
    Hostile("split for each member", with_metric('split = ",", item = 2, path = "$.t"'), lambda: '{"r":[' + ",".join(["{}"] * 9_999) + f'],"t":"{"," * 9_999}"}}'),
    Hostile("split of members", with_metric('split = ",", item = 2'), lambda: members('{"a":"' + "," * 9_999 + '"}')),
    Hostile("hex of 1 MB", with_metric('bytes = { at = 8, as = "i16", from = "hex" }'), lambda: members('{"a":"' + "0" * 9_999 + '"}')),
    Hostile("hex for each member", with_metric('path = "$.t", bytes = { at = 8, as = "i16", from = "hex" }'), lambda: '{"r":[' + ",".join(["{}"] * 9_999) + f'],"t":"{"0" * 9_998}"}}'),
    Hostile("wrong hex for each member", with_metric('path = "$.t", bytes = { at = 8, as = "i16", from = "hex" }'), lambda: '{"r":[' + ",".join(["{}"] * 9_999) + f'],"t":"{"0" * 9_998}x"}}'),
    Hostile("wrong base64 for each member", with_metric('path = "$.t", bytes = { at = 8, as = "i16", from = "base64" }'), lambda: '{"r":[' + ",".join(["{}"] * 9_999) + f'],"t":"{"A" * 9_999}"}}'),
    Hostile("short hex", with_metric('bytes = { at = 8, as = "i16", from = "hex" }'), lambda: members('{"a":"00"}')),
    Hostile("wrong times", times('field = "t"'), lambda: members('{"a":1,"t":"x"}')),
    Hostile("wrong required times", times('field = "t"\nrequired = true'), lambda: members('{"a":1,"t":"x"}')),
    Hostile("long times", times('field = "t"'), lambda: members(f'{{"a":1,"t":"{LONG[:80]}"}}')),
    Hostile("very long times", times('field = "$.t"'), lambda: '{"r":[' + ",".join(['{"a":1}'] * 9_999) + f'],"t":"{"9" * 900_000}"}}'),
    Hostile("times of 4,000 digits", times('field = "t"'), lambda: members('{"a":1,"t":' + "9" * 4_000 + "}")),
    Hostile("times of 90 digits", times('field = "t"'), lambda: members('{"a":1,"t":"' + "9" * 80 + '"}')),
    Hostile("times that are objects", times('field = "t"'), lambda: members('{"a":1,"t":{"x":[1]}}')),
    Hostile("an array as the time of each", times('field = "$.t"'), lambda: '{"r":[' + ",".join(['{"a":1}'] * 9_999) + f'],"t":[{"1," * 390_000}1]}}'),
    Hostile("two arrays as the time of each", times('field = ["$.t", "$.u"]'), lambda: '{"r":[' + ",".join(['{"a":1}'] * 9_999) + f'],"u":1,"t":[{"1," * 390_000}1]}}'),
    Hostile("times of a format", times('field = "t"\nformat = "%d.%m.%Y %H:%M:%S"'), lambda: members('{"a":1,"t":"29.09.2025 18:27:5x"}')),
    Hostile("times in a wrong zone", times('field = "t"'), lambda: joined(lambda i: f'{{"a":1,"t":"2026-01-29 14:30:45 Europe/X{i}"}}', 9_999, '{"r":[', "]}")),
    Hostile("times in a required zone", times('field = "t"\nrequired = true'), lambda: joined(lambda i: f'{{"a":1,"t":"2026-01-29 14:30:45 Europe/X{i}"}}', 9_999, '{"r":[', "]}")),
    Hostile("times of RFC 2822", times('field = "t"'), lambda: members('{"a":1,"t":"Mon, 39 Sep 2025 18:27:50 +0200"}')),
    Hostile("times with exponents", times('field = "t"'), lambda: members('{"a":1,"t":"1e300"}')),
    Hostile("times with digits", times('field = "t"'), lambda: members('{"a":1,"t":1' + "7" * 80 + ".5}")),
    # formats
    Hostile("senml, wrong values", SENML, lambda: joined(lambda i: '{"n":"a","vs":"x"}', 9_999, "[", "]")),
    Hostile("senml, digits", SENML, lambda: joined(lambda i: '{"n":"a","v":' + "7" * 80 + "}", 9_999, "[", "]")),
    Hostile("senml, wrong record at its end", SENML, lambda: joined(lambda i: '{"n":"a","v":1}' if i < 9_998 else "[1]", 9_999, "[", "]")),
    Hostile("senml, times", SENML, lambda: joined(lambda i: f'{{"n":"a","vs":"x","t":{i}}}', 9_999, "[", "]")),
    Hostile("senml, long base name", SENML, lambda: joined(lambda i: f'{{"n":"{"/" * 70}:a{i}","vs":"x"}}', 9_999, "[", "]")),
    Hostile("senml, many base fields", SENML, lambda: "[{" + ",".join(f'"b{i}":1' for i in range(30_000)) + "}," + ",".join(['{"n":"a","vs":"x"}'] * 9_000) + "]"),
    Hostile("senml, base values of many digits", SENML, lambda: f'[{{"bv":1.{"7" * 500_000}}},' + ",".join(['{"n":"a","v":1}'] * 9_000) + "]"),
    Hostile("senml, exponents", SENML, lambda: '[{"bv":1e-999999},' + ",".join(['{"n":"a","v":1}'] * 9_000) + "]"),
    Hostile("senml, far apart", SENML, lambda: '[{"bv":1e-300},' + ",".join(['{"n":"a","v":1e300}'] * 9_000) + "]"),
    Hostile("msgpack, a wrong length", PACK, lambda: b"\xdd\xff\xff\xff\xff" + b"\xc0" * 900_000),
    Hostile("msgpack, a wrong length of a text", PACK, lambda: b"\xdb\xff\xff\xff\xff" + b"x" * 900_000),
    Hostile("msgpack, deep", PACK, lambda: b"\x91" * 900_000),
    Hostile("msgpack, an extension", PACK, lambda: b"\x91\xd4\x05\x01"),
    Hostile("msgpack, an extension at its end", PACK, lambda: b"\xdd" + struct.pack(">I", 900_001) + b"\xc0" * 900_000 + b"\xd4\x05\x01"),
    Hostile("msgpack, a million empty maps", PACK, lambda: b"\xdd" + struct.pack(">I", 900_000) + b"\x80" * 900_000),
    Hostile("msgpack, maps in lists", PACK, lambda: b"\xdd" + struct.pack(">I", 300_000) + b"\x81\xa1a\x91\xc0"[:3] * 300_000),
    Hostile("msgpack, wrong members", PACK, lambda: msgspec.msgpack.encode([{"a": "x"}] * 9_999)),
    Hostile("msgpack, many fields", PACK, lambda: msgspec.msgpack.encode([{str(i): 1 for i in range(9_000)}] * 20)),
    Hostile("msgpack, integer keys", PACK, lambda: msgspec.msgpack.encode({i: i for i in range(100_000)})),
    Hostile("msgpack, one key twice", PACK, lambda: msgspec.msgpack.encode([{**{i: i for i in range(90_000)}, "5": 1}])),
    Hostile("msgpack, bytes of 1 MB", PACK, lambda: msgspec.msgpack.encode([{"a": b"x" * 900_000}, {}])),
    Hostile("msgpack, invalid UTF-8", PACK, lambda: b"\xdd" + struct.pack(">I", 200_000) + b"\xc0" * 199_999 + b"\xa1\xff"),
    Hostile("msgpack, nested lists", PACK, lambda: b"\xdd" + struct.pack(">I", 28_000) + (b"\x91" * 30 + b"\xc0") * 28_000),
    Hostile("cbor, a wrong length", CBOR, lambda: b"\x9a\xff\xff\xff\xff" + b"\xf6" * 900_000),
    Hostile("cbor, a wrong length of a text", CBOR, lambda: b"\x7b\x7f\xff\xff\xff\xff\xff\xff\xff" + b"x" * 900_000),
    Hostile("cbor, deep", CBOR, lambda: b"\x81" * 900_000),
    Hostile("cbor, without end", CBOR, lambda: b"\x9f" + b"\xf6" * 900_000),
    Hostile("cbor, wrong members", CBOR, lambda: b"\x99\x27\x0f" + b"\xa1\x61a\x61x" * 9_999),
    Hostile("cbor, a million empty maps", CBOR, lambda: b"\x9a" + struct.pack(">I", 900_000) + b"\xa0" * 900_000),
    Hostile("cbor, tags", CBOR, lambda: b"\x9a" + struct.pack(">I", 450_000) + b"\xc1\x00" * 450_000),
    Hostile("cbor, unknown tags", CBOR, lambda: b"\x9a" + struct.pack(">I", 300_000) + b"\xd8\x63\x00" * 300_000),
    Hostile("cbor, nested tags", CBOR, lambda: b"\xc1" * 900_000 + b"\x00"),
    Hostile("cbor, fractions", CBOR, lambda: b"\x9a" + struct.pack(">I", 200_000) + b"\xc4\x82\x20\x01" * 200_000),
    Hostile("cbor, large integers", CBOR, lambda: b"\x9a" + struct.pack(">I", 7_500) + (b"\xc2\x58\x80" + b"\xff" * 128) * 7_500),
    Hostile("cbor, pieces of texts", CBOR, lambda: b"\x7f" + b"\x60" * 900_000),
    Hostile("cbor, maps", CBOR, lambda: b"\x9a" + struct.pack(">I", 200_000) + b"\xa1\x61a\xf6" * 200_000),
    Hostile("cbor, floats", CBOR, lambda: b"\x9a" + struct.pack(">I", 300_000) + b"\xf9\x00\x01" * 300_000),
    Hostile("sparkplug, a wrong length", WIRE, lambda: b"\x12\xff\xff\xff\xff\x0f" + b"x" * 900_000),
    Hostile("sparkplug, wrong lengths of metrics", WIRE, lambda: b"\x12\x03\x0a\x7fx" * 9_999),
    Hostile("sparkplug, metrics without a name", WIRE, lambda: b"\x12\x02\x50\x01" * 9_999),
    Hostile("sparkplug, empty metrics", WIRE, lambda: b"\x12\x00" * 400_000),
    Hostile("sparkplug, aliases", WIRE, lambda: b"\x12\x04\x10\x07\x50\x01" * 9_999),
    Hostile("sparkplug, one name many times", WIRE, lambda: b"\x12\x07\x0a\x01a\x20\x03\x50\x01" * 9_999),
    Hostile("sparkplug, wrong values", WIRE, lambda: b"\x12\x08\x0a\x01a\x20\x0c\x7a\x01x" * 9_999),
    Hostile("sparkplug, times", WIRE, lambda: b"".join(b"\x12" + varint(len(m)) + m for m in (b"\x0a\x01a\x20\x0c\x7a\x01x\x18" + varint(1769697045000 - i) for i in range(9_999)))),
    Hostile("sparkplug, fields", WIRE, lambda: b"\x08\x01" * 450_000),
    Hostile("sparkplug, long integers", WIRE, lambda: (b"\x08" + b"\xff" * 9 + b"\x01") * 80_000),
    Hostile("sparkplug, integers without end", WIRE, lambda: b"\xff" * 900_000),
    Hostile("sparkplug, the name timestamp", WIRE, lambda: b"\x12\x0f\x0a\x09timestamp\x20\x03\x50\x01" * 9_999),
    Hostile("sparkplug, long names", WIRE, lambda: b"\x12\x88\x08\x0a\x84\x08" + b"x" * 1028),
    # packed
    Hostile("gzip bomb", WHOLE, lambda: gzipped(bytes(60_000_000))),
    Hostile("zlib bomb", WHOLE, lambda: zlib.compress(bytes(60_000_000))),
    Hostile("gzip members", WHOLE, lambda: gzipped(b"") * 1_001),
    Hostile("gzip members with content", WHOLE, lambda: gzipped(b" " * 990) * 1_000),
    Hostile("gzip members before much", WHOLE, lambda: gzipped(b"") * 999 + b"\x1f\x8b" + b"x" * 900_000),
    Hostile("gzip of wrong members", ARRAY + A, lambda: gzipped(members('{"a":"x"}'))),
    Hostile("gzip of 1 MB that is broken at its end", WHOLE, lambda: gzipped(filled("1,", '{"a":[', "x]}"))),
    Hostile("gzip of white space", WHOLE, lambda: gzipped(b" " * MOST)),
    Hostile("a line of 10 MB", CSV, lambda: b"x" * 10_000_000),
    Hostile("an influx line of 10 MB", INFLUX, lambda: b"m a=" + b"1" * 10_000_000),
    Hostile("json of 10 MB", WHOLE, lambda: b"[" + b"1," * 5_000_000),
    Hostile("NULs of 10 MB", WHOLE, lambda: bytes(10_000_000)),
    Hostile("a device id of 1 MB", f'topic = "x/y"\ndevice = "id"\nexplode = "r"\n{A}', lambda: f'{{"id":"{"x" * 900_000}","r":[{{"a":1}}]}}'),
    Hostile("a device id of 60 kB", f'topic = "x/y"\ndevice = "id"\n{A}', lambda: f'{{"id":"{"x" * 60_000}","a":1}}'),
]  # fmt: skip


def parser_of(case: Hostile, folder: Path) -> Parser:
    (folder / "x.toml").write_text(case.stream)
    return Parser(load(folder, {}, DEVICE_TOPICS))


def message_of(case: Hostile) -> Message:
    payload = case.payload()
    topic = "x/y" if 'topic = "x/y"' in case.stream else "x/d1"
    if 'topic = "x/{device_id}"' in case.stream:
        topic = "x/d1"
    return Message(topic, payload.encode() if isinstance(payload, str) else payload, RECEIVED)
