"""The entries of the static publisher: what a valid one publishes, and a sentence for each fault of another."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from publisher.decoding import decode_entry
from publisher.entries import FIELDS, Entry, PublishConfig, check, read
from tests.publishing import DOCUMENTED
from tests.support import EXAMPLES, Mosquitto, publishing

SHORT = {"id": "a", "topic": "t", "data": {"x": 1}, "interval": 1}
ID = "must be text of 1 to 128 printable characters without + # /, without leading or trailing white space, not . or .."
TOPIC = "must be printable text of 1 to 65535 bytes and at most 200 levels, without + and #, not beginning with $"
DATA = (
    "must be a JSON object, nested at most 32 deep, without duplicate keys, "
    "numbers out of range such as 1e999 and lone surrogates such as \\ud800"
)
TIME = "must be a time as text, such as 2025-09-29T16:27:50.000000, or null"
UNKNOWN = f"unknown field; allowed are {', '.join(FIELDS)}"
WILL = "must be at most 65535 bytes as JSON, as a last will; with online it has"


def nested(depth: int) -> Any:
    """A number inside so many lists and objects by turns."""
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def accepted(**changes: Any) -> PublishConfig:
    """What a short entry with changes publishes."""
    config, faults = check(SHORT | changes)
    assert faults == []
    assert config is not None
    return config


def refused(entry: object) -> list[str]:
    """The faults of an entry."""
    config, faults = check(entry)
    assert config is None
    return faults


def test_it_takes_the_documented_entry() -> None:
    own = "boiler", "plant/boiler/state", 30.0, 1
    data = b'"sensor_id":"SENSOR_001","temperature":25.5,"humidity":60}'
    sent = b'{"online":1,' + data, b'{"online":0,' + data
    config = PublishConfig(*own, False, True, *sent)  # noqa: FBT003 - in the order of the fields
    assert read(json.loads(DOCUMENTED)) == ([config], [])


def test_without_the_optional_fields_it_is_qos_1_not_retained_and_without_a_will() -> None:
    sent = {"payload": b'{"x":1}', "offline": b""}
    config = PublishConfig("a", "t", 1.0, 1, retain=False, lwt=False, **sent)
    assert read([SHORT]) == ([config], [])


TOPICS = ["/", " a b ", "a/$SYS", "x" * 65_535, "/" * 199, "温度/😀"]
TAKEN: dict[str, list[Any]] = {
    "id": ["x" * 128, "mesin 1 – Gerät: 温度", "..."],
    "topic": TOPICS,
    "data": [{}, {"a": nested(31)}, {"": None, "a": [True, 1e308, -1e308, 2**70]}],
    "interval": [0.001, 31_536_000, 0.25],
    "qos": [0, 2],
    "retain": [True],
    "created_at": [None],
    "updated_at": ["2025-09-29T16:27:50Z", "2025-09-29 16:27:50+07:00"],
    "version": [2**53 - 1],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in TAKEN.items() for value in values]
)
def test_it_takes(field: str, value: Any) -> None:
    config = accepted(**{field: value})
    if field in ("id", "topic", "interval", "qos", "retain"):
        assert getattr(config, field) == value
    elif field == "data":
        assert json.loads(config.payload) == value


def test_a_broker_takes_every_topic_that_is_allowed(mosquitto: Mosquitto) -> None:
    topics = [*TOPICS, "é" * 32_767, "a\U000d0000", "a\ue000"]
    with publishing(mosquitto.port) as publish:
        for topic in topics:
            publish(accepted(topic=topic).topic, b"{}")


RULES = {
    "id": ID,
    "topic": TOPIC,
    "data": DATA,
    "interval": "must be a number of seconds from 0.001 to 31536000",
    "qos": "must be 0, 1 or 2",
    "retain": "must be true or false",
    "lwt": "must be true or false",
    "created_at": TIME,
    "updated_at": TIME,
    "version": "must be a whole number from 1 to 9007199254740991",
    "intervall": UNKNOWN,
}
AS_JSON = {
    "id": ["7", "null", '""', '"a+b"', '"#"', '"a/b"', '".."', '"."', '" a"', r'"a\u3000"'],
    "topic": ["7", '""', '"a/+/b"', '"a/#"', '"$SYS/a"', r'"a\u0000"', r'"a\ud800"', r'"\u3164"'],
    "data": ["[1]", '"text"', "null", r'{"a": "\ud800"}', r'{"\ud800": 1}'],
    "interval": ['"30"', "true", "null", "0", "-1.5", "0.0009", "31536001", "NaN"],
    "qos": ["3", "-1", "true", "1.0", '"1"', "[1]"],
    "retain": ["1", '"true"'],
    "lwt": ["0", "null"],
    "created_at": ["1759163270"],
    "updated_at": ['"yesterday"', '"2025-02-30"'],
    "version": ["0", "1.0", "true", "null", "9007199254740992"],
    "intervall": ["30"],
}
"""Values that are refused, as the fault shows them."""
REFUSED: list[tuple[str, Any, str]] = [
    *((field, json.loads(value), value) for field, values in AS_JSON.items() for value in values),
    ("id", "x" * 129, f'"{"x" * 59}…'),
    ("id", "a\x07b", r'"a\u0007b"'),
    ("id", "a\u200bb", r'"a\u200bb"'),
    ("topic", "é" * 32_768, f'"{"é" * 59}…'),
    ("topic", "/" * 200, f'"{"/" * 59}…'),
    ("data", {"a": float("inf")}, '{"a": Infinity}'),
    ("data", {"a": [float("nan")]}, '{"a": [NaN]}'),
    ("data", {"a": {1}}, "a dict that cannot be shown"),
    ("interval", 10**400, f"1{'0' * 59}…"),
]


@pytest.mark.parametrize(("field", "value", "shown"), REFUSED)
def test_it_refuses(field: str, value: Any, shown: str) -> None:
    assert refused(SHORT | {field: value}) == [f"{field} = {shown}: {RULES[field]}"]


@pytest.mark.parametrize("depth", [32, 100, 100_000])
def test_it_refuses_data_that_is_nested_too_deeply(depth: int) -> None:
    [line] = refused(SHORT | {"data": {"a": nested(depth)}})
    assert line.startswith("data = ")
    assert line.endswith(DATA)


NO_OBJECTS = [(json.loads(text), text) for text in ("null", "5", '"entry"', '[{"id": "a"}]')]


@pytest.mark.parametrize(("entry", "shown"), [*NO_OBJECTS, ({1, 2}, "a set that cannot be shown")])
def test_it_refuses_an_entry_that_is_no_object(entry: object, shown: str) -> None:
    allowed = "must be a JSON object with id, topic, data and interval"
    assert refused(entry) == [f"{shown}: {allowed}"]
    assert read([SHORT, entry])[1] == [f"entry 1: {shown}: {allowed}"]


def test_all_faults_of_an_entry_are_named() -> None:
    bad = SHORT | {"topic": "a/#", "interval": "fast", "lwt": True, "version": 0, "payload": 1}
    lines = refused(bad | {"data": {"a": "x" * 65_535}})
    fields = ["topic", "interval", "version", "payload", "data"]
    assert [line.partition(" =")[0] for line in lines] == fields
    assert refused({}) == [f"{name} is missing: {RULES[name]}" for name in SHORT]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("\ud800", '"\\ud800"'), ("", '""'), ("a b\n", '"a b\\n"'), ("x" * 99, f"{'x' * 60}…"), (1, "1")],
)  # fmt: skip
def test_an_unknown_field_with_a_strange_name_hides_no_other_fault(
    name: object, shown: str
) -> None:
    lines = refused(SHORT | {name: 5, "qos": 9, "intervall": 1})
    unknown = [f"{shown} = 5: {UNKNOWN}", f"intervall = 1: {UNKNOWN}"]
    assert lines == ["qos = 9: must be 0, 1 or 2", *unknown]


def test_an_id_belongs_to_the_first_entry_that_has_it_even_a_bad_one() -> None:
    changes: list[Any] = [{}, {"topic": "u"}, {"id": "b", "qos": 9}, {"retain": True}, {"id": "b"}]
    configs, faults = read([SHORT | change for change in changes])
    assert [(config.id, config.topic) for config in configs] == [("a", "t")]
    told = "must be unique in the file, but entry"
    assert [fault for fault in faults if "qos" not in fault] == [
        f'entry 1 (id "a"): id = "a": {told} 0 has it already',
        f'entry 3 (id "a"): id = "a": {told} 0 has it already',
        f'entry 4 (id "b"): id = "b": {told} 2 has it already',
    ]


@pytest.mark.parametrize("own", ["perhaps", 1, 0, None, [True]])
def test_with_a_will_the_datas_own_online_is_published_and_the_will_says_0(own: object) -> None:
    config = accepted(lwt=True, data={"a": 1, "online": own, "b": {"online": 2}})
    written = json.dumps(own).encode()
    assert config.payload == b'{"online":' + written + b',"a":1,"b":{"online":2}}'
    assert config.offline == b'{"online":0,"a":1,"b":{"online":2}}'


def test_without_a_will_the_data_is_published_as_it_is() -> None:
    written = '{"a":"Gerät\\n","online":"perhaps","n":[2.5,-0.0,1e+16,9007199254740993]}'.encode()
    assert accepted(data=decode_entry(written)).payload == written


def test_the_version_and_the_times_make_no_difference_to_what_is_published() -> None:
    assert accepted(version=7, created_at="2025-09-29", updated_at=None) == accepted()
    assert accepted(interval=1.5) != accepted() != accepted(data={"x": 2})


def test_a_payload_has_at_most_a_million_bytes() -> None:
    longest = {"a": "x" * (1_000_000 - len('{"a":""}'))}
    assert len(accepted(data=longest).payload) == 1_000_000
    [line] = refused(SHORT | {"data": {"a": longest["a"] + "x"}})
    assert line.endswith("…: must be at most 1000000 bytes as JSON; it has 1000001")


def test_a_will_has_at_most_65535_bytes() -> None:
    room = 65_535 - len('{"online":0,"a":""}')
    longest = {"a": "é" * (room // 2) + "x" * (room % 2)}
    assert len(accepted(data=longest, lwt=True).offline) == 65_535
    longer = {"a": longest["a"] + "x"}
    assert accepted(data=longer).offline == b""
    [line] = refused(SHORT | {"data": longer, "lwt": True})
    assert line.endswith(f"…: {WILL} 65536")


def test_what_is_shown_is_short_and_fits_on_a_line() -> None:
    [line] = read([SHORT | {"id": "a\n\x1b[2J" + "x" * 200}])[1]
    assert line.startswith('entry 0 (id "a\\u000a\\u001b[2Jxxx')
    assert line.isprintable()
    [line] = refused(SHORT | {"x\ny" * 1_000: {"a": "\u2028" * 1_000}})
    assert line.isprintable()
    assert len(line) < 400


def test_the_schema_has_each_rule_in_the_words_of_its_faults() -> None:
    schema = Entry.model_json_schema()
    faults = check({name: {1} for name in FIELDS})[1]
    told = dict(fault.split(" = a set that cannot be shown: ") for fault in faults)
    assert told == {name: field["description"] for name, field in schema["properties"].items()}
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["id", "topic", "data", "interval"]


TEXT, SCALAR = st.text(st.characters()), st.none() | st.booleans() | st.integers()
JSON = st.recursive(
    SCALAR | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
GOOD = st.fixed_dictionaries(
    {
        "id": st.uuids().map(str),
        "topic": st.from_regex(r"[a-z/]{1,20}", fullmatch=True),
        "data": st.dictionaries(st.text(), SCALAR | st.floats(-1e300, 1e300) | st.text()),
        "interval": st.floats(0.001, 31_536_000) | st.integers(1, 31_536_000),
    },
    optional={
        "qos": st.integers(0, 2),
        "retain": st.booleans(),
        "lwt": st.booleans(),
        "created_at": st.none() | st.datetimes().map(str),
        "version": st.integers(1, 2**53 - 1),
    },
)
FIELDS_OF_ANY_KIND = st.dictionaries(st.sampled_from(FIELDS) | TEXT, JSON)
ENTRIES = JSON | FIELDS_OF_ANY_KIND | st.builds(dict.__or__, GOOD, FIELDS_OF_ANY_KIND)


@settings(deadline=None, max_examples=3 * EXAMPLES)
@given(entries=st.lists(ENTRIES, max_size=4))
def test_any_entry_is_taken_or_has_faults_of_one_line(entries: list[object]) -> None:
    configs, faults = read(entries)
    faulty = {fault.split()[1].strip(":") for fault in faults}
    assert len(configs) + len(faulty) == len(entries)
    assert all(fault.isprintable() for fault in faults)


@settings(deadline=None, max_examples=2 * EXAMPLES)
@given(entry=GOOD)
def test_the_payload_of_any_data_is_the_same_json(entry: dict[str, Any]) -> None:
    [config], _ = read([entry])
    lwt = entry.get("lwt", False)
    assert json.loads(config.payload) == ({"online": 1} if lwt else {}) | entry["data"]
    assert not lwt or json.loads(config.offline) == entry["data"] | {"online": 0}
