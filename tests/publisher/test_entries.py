"""The entries of the static publisher: what is published of a good one, and a sentence for every fault of a bad one."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from publisher.entries import FIELDS, Entry, PublishConfig, Repeated, check, read
from tests.publishing import DOCUMENTED
from tests.support import Mosquitto, publishing

SHORT = {"id": "a", "topic": "t", "data": {"x": 1}, "interval": 1}
ID = "must be text of 1 to 128 printable characters without + # /, without leading or trailing white space, not . or .."
TOPIC = "must be printable text of 1 to 65535 bytes and at most 200 levels, without + and #, not beginning with $"
DATA = (
    "must be a JSON object, nested at most 32 deep, without duplicate keys, "
    "numbers out of range such as 1e999 and lone surrogates such as \\ud800"
)
INTERVAL = "must be a number of seconds from 0.001 to 31536000"
TIME = "must be a time as text, such as 2025-09-29T16:27:50.000000, or null"
UNKNOWN = f"unknown field; allowed are {', '.join(FIELDS)}"
WILL = "must be at most 65535 bytes as JSON, as a last will; with online it has"


def nested(depth: int) -> Any:
    """So many lists and objects in turn, around a number."""
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def accepted(**changes: Any) -> PublishConfig:
    """What is published of a short entry with changes."""
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
    payload = b'{"online":1,"sensor_id":"SENSOR_001","temperature":25.5,"humidity":60}'
    offline = b'{"online":0,"sensor_id":"SENSOR_001","temperature":25.5,"humidity":60}'
    sent: dict[str, Any] = {
        "qos": 1,
        "retain": False,
        "lwt": True,
        "payload": payload,
        "offline": offline,
    }
    config = PublishConfig(id="unique_config_id", topic="mqtt/topic/name", interval=30.0, **sent)
    assert read(json.loads(DOCUMENTED)) == ([config], [])


def test_without_the_optional_fields_it_is_qos_1_not_retained_and_without_a_will() -> None:
    sent: dict[str, Any] = {
        "qos": 1,
        "retain": False,
        "lwt": False,
        "payload": b'{"x":1}',
        "offline": b"",
    }
    assert read([SHORT]) == ([PublishConfig(id="a", topic="t", interval=1.0, **sent)], [])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "x" * 128),
        ("id", "mesin 1 – Gerät: 温度"),
        ("id", "..."),
        ("topic", "/"),
        ("topic", " a b "),
        ("topic", "a/$SYS"),
        ("topic", "x" * 65_535),
        ("topic", "/" * 199),
        ("topic", "温度/😀"),
        ("data", {}),
        ("data", {"a": nested(31)}),
        ("data", {"": None, "a": [True, 1e308, -1e308, 2**70]}),
        ("interval", 0.001),
        ("interval", 31_536_000),
        ("interval", 0.25),
        ("qos", 0),
        ("qos", 2),
        ("retain", True),
        ("created_at", None),
        ("updated_at", "2025-09-29T16:27:50Z"),
        ("updated_at", "2025-09-29 16:27:50+07:00"),
        ("version", 2**53 - 1),
    ],
)
def test_it_takes(field: str, value: Any) -> None:
    config = accepted(**{field: value})
    if field in ("id", "topic", "interval", "qos", "retain"):
        assert getattr(config, field) == value
    elif field == "data":
        assert json.loads(config.payload) == value


def test_a_broker_takes_every_topic_that_is_allowed(mosquitto: Mosquitto) -> None:
    topics = [
        "/",
        " a b ",
        "a/$SYS",
        "x" * 65_535,
        "é" * 32_767,
        "/" * 199,
        "温度/😀",
        "a\U000e0fff",
        "a\ue000",
    ]
    with publishing(mosquitto.port) as publish:
        for topic in topics:
            publish(accepted(topic=topic).topic, b"{}")


REFUSED: list[tuple[str, Any, str]] = [
    ("id", 7, f"7: {ID}"),
    ("id", None, f"null: {ID}"),
    ("id", "", f'"": {ID}'),
    ("id", "x" * 129, f'"{"x" * 59}…: {ID}'),
    ("id", "a+b", f'"a+b": {ID}'),
    ("id", "#", f'"#": {ID}'),
    ("id", "a/b", f'"a/b": {ID}'),
    ("id", ".", f'".": {ID}'),
    ("id", "..", f'"..": {ID}'),
    ("id", " a", f'" a": {ID}'),
    ("id", "a\u3000", f'"a\\u3000": {ID}'),
    ("id", "a\x07b", f'"a\\u0007b": {ID}'),
    ("id", "a\u200bb", f'"a\\u200bb": {ID}'),
    ("topic", 7, f"7: {TOPIC}"),
    ("topic", "", f'"": {TOPIC}'),
    ("topic", "a/+/b", f'"a/+/b": {TOPIC}'),
    ("topic", "a/#", f'"a/#": {TOPIC}'),
    ("topic", "$SYS/a", f'"$SYS/a": {TOPIC}'),
    ("topic", "a\0", f'"a\\u0000": {TOPIC}'),
    ("topic", "a\ud800", f'"a\\ud800": {TOPIC}'),
    ("topic", "é" * 32_768, f'"{"é" * 59}…: {TOPIC}'),
    ("topic", "/" * 200, f'"{"/" * 59}…: {TOPIC}'),
    ("data", [1], f"[1]: {DATA}"),
    ("data", "text", f'"text": {DATA}'),
    ("data", None, f"null: {DATA}"),
    ("data", {"a": float("inf")}, f'{{"a": Infinity}}: {DATA}'),
    ("data", {"a": [float("nan")]}, f'{{"a": [NaN]}}: {DATA}'),
    ("data", {"a": "\ud800"}, f'{{"a": "\\ud800"}}: {DATA}'),
    ("data", {"\ud800": 1}, f'{{"\\ud800": 1}}: {DATA}'),
    ("data", {"a": {1}}, f"a dict that cannot be shown: {DATA}"),
    ("interval", "30", f'"30": {INTERVAL}'),
    ("interval", True, f"true: {INTERVAL}"),
    ("interval", None, f"null: {INTERVAL}"),
    ("interval", 0, f"0: {INTERVAL}"),
    ("interval", -1.5, f"-1.5: {INTERVAL}"),
    ("interval", 0.0009, f"0.0009: {INTERVAL}"),
    ("interval", 31_536_001, f"31536001: {INTERVAL}"),
    ("interval", float("nan"), f"NaN: {INTERVAL}"),
    ("interval", 10**400, f"1{'0' * 59}…: {INTERVAL}"),
    ("qos", 3, "3: must be 0, 1 or 2"),
    ("qos", -1, "-1: must be 0, 1 or 2"),
    ("qos", True, "true: must be 0, 1 or 2"),
    ("qos", 1.0, "1.0: must be 0, 1 or 2"),
    ("qos", "1", '"1": must be 0, 1 or 2'),
    ("qos", [1], "[1]: must be 0, 1 or 2"),
    ("retain", 1, "1: must be true or false"),
    ("retain", "true", '"true": must be true or false'),
    ("lwt", 0, "0: must be true or false"),
    ("lwt", None, "null: must be true or false"),
    ("created_at", 1759163270, f"1759163270: {TIME}"),
    ("updated_at", "yesterday", f'"yesterday": {TIME}'),
    ("updated_at", "2025-02-30", f'"2025-02-30": {TIME}'),
    ("version", 0, "0: must be a whole number from 1 to 9007199254740991"),
    ("version", 1.0, "1.0: must be a whole number from 1 to 9007199254740991"),
    ("version", True, "true: must be a whole number from 1 to 9007199254740991"),
    ("version", None, "null: must be a whole number from 1 to 9007199254740991"),
    ("intervall", 30, f"30: {UNKNOWN}"),
    ("version", 2**53, "9007199254740992: must be a whole number from 1 to 9007199254740991"),
]


@pytest.mark.parametrize(("field", "value", "told"), REFUSED)
def test_it_refuses(field: str, value: Any, told: str) -> None:
    assert refused(SHORT | {field: value}) == [f"{field} = {told}"]


@pytest.mark.parametrize("depth", [32, 100, 100_000])
def test_it_refuses_data_that_is_nested_too_deeply(depth: int) -> None:
    [line] = refused(SHORT | {"data": {"a": nested(depth)}})
    assert line.startswith("data = ")
    assert line.endswith(DATA)


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        (None, "null"),
        (5, "5"),
        ("entry", '"entry"'),
        ([SHORT], '[{"id": "a", "topic": "t", "data": {"x": 1}, "interval": 1}]'),
        ({1, 2}, "a set that cannot be shown"),
    ],
)
def test_it_refuses_an_entry_that_is_no_object(entry: object, shown: str) -> None:
    allowed = "must be a JSON object with id, topic, data and interval"
    assert refused(entry) == [f"{shown}: {allowed}"]
    assert read([SHORT, entry])[1] == [f"entry 1: {shown}: {allowed}"]


def test_it_tells_all_faults_of_an_entry() -> None:
    bad = SHORT | {"topic": "a/#", "interval": "fast", "lwt": True, "version": 0, "payload": 1}
    lines = refused(bad | {"data": {"a": "x" * 65_535}})
    fields = ["topic", "interval", "version", "payload", "data"]
    assert [line.partition(" =")[0] for line in lines] == fields
    assert refused({}) == [
        f"id is missing: {ID}",
        f"topic is missing: {TOPIC}",
        f"data is missing: {DATA}",
        f"interval is missing: {INTERVAL}",
    ]


def test_it_refuses_keys_that_stand_twice() -> None:
    pairs = [*SHORT.items(), ("interval", 60), ("x", 1), ("x", 2)]
    assert refused(Repeated(pairs)) == [
        "interval = 60: must appear only once in an entry",
        f"x = 2: {UNKNOWN}",
    ]
    for data in (Repeated([("a", 1), ("a", 2)]), {"b": [Repeated([("a", 1), ("a", 2)])]}):
        [line] = refused(SHORT | {"data": data})
        assert line.endswith(DATA)


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


def test_a_bad_entry_does_not_stop_the_others() -> None:
    entries = [
        SHORT | {"id": "a"},
        SHORT | {"id": "b", "qos": 5},
        17,
        SHORT | {"id": "c"},
        {},
        SHORT | {"id": "d"},
    ]
    configs, faults = read(entries)
    assert [config.id for config in configs] == ["a", "c", "d"]
    assert [fault.split()[1].strip(":") for fault in faults] == ["1", "2", "4", "4", "4", "4"]


def test_of_entries_with_the_same_id_the_first_one_stays() -> None:
    configs, faults = read(
        [SHORT, SHORT | {"topic": "u"}, SHORT | {"id": "A"}, SHORT | {"retain": True}]
    )
    assert [(config.id, config.topic) for config in configs] == [("a", "t"), ("A", "t")]
    assert faults == [
        'entry 1 (id "a"): id = "a": must be unique in the file, but entry 0 has it already',
        'entry 3 (id "a"): id = "a": must be unique in the file, but entry 0 has it already',
    ]


def test_an_id_is_taken_by_a_faulty_entry_too() -> None:
    configs, faults = read([SHORT | {"qos": 9}, SHORT | {"interval": 0}])
    assert configs == []
    assert [fault.split(" = ")[0] for fault in faults] == [
        'entry 0 (id "a"): qos', 'entry 1 (id "a"): interval', 'entry 1 (id "a"): id',
    ]  # fmt: skip


@pytest.mark.parametrize("own", ["perhaps", 1, 0, None, [True]])
def test_with_a_will_the_datas_own_online_is_published_and_the_will_says_0(own: object) -> None:
    config = accepted(lwt=True, data={"a": 1, "online": own, "b": {"online": 2}})
    written = json.dumps(own).encode()
    assert config.payload == b'{"online":' + written + b',"a":1,"b":{"online":2}}'
    assert config.offline == b'{"online":0,"a":1,"b":{"online":2}}'


def test_without_a_will_the_data_is_published_as_it_is() -> None:
    config = accepted(data={"a": "Gerät\n", "online": "perhaps"})
    assert config.payload == '{"a":"Gerät\\n","online":"perhaps"}'.encode()


def test_the_version_and_the_times_make_no_difference_to_what_is_published() -> None:
    assert accepted(version=7, created_at="2025-09-29", updated_at=None) == accepted()
    assert accepted(interval=1.5) != accepted() != accepted(data={"x": 2})


def test_a_payload_has_at_most_a_million_bytes() -> None:
    longest = {"a": "x" * (1_000_000 - len('{"a":""}'))}
    assert len(accepted(data=longest).payload) == 1_000_000
    [line] = refused(SHORT | {"data": {"a": longest["a"] + "x"}})
    assert line.endswith("…: must be at most 1000000 bytes as JSON; it has 1000001")


def test_a_will_has_at_most_as_many_bytes_as_mqtt_can_tell() -> None:
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


def test_the_schema_tells_each_rule_in_the_words_of_its_faults() -> None:
    schema = Entry.model_json_schema()
    faults = check({name: {1} for name in FIELDS})[1]
    told = dict(fault.split(" = a set that cannot be shown: ") for fault in faults)
    assert told == {name: field["description"] for name, field in schema["properties"].items()}
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["id", "topic", "data", "interval"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3)
    ),
    max_leaves=8,
)
GOOD = st.fixed_dictionaries(
    {
        "id": st.uuids().map(str),
        "topic": st.from_regex(r"[a-z/]{1,20}", fullmatch=True),
        "data": st.dictionaries(
            st.text(),
            st.none() | st.booleans() | st.integers() | st.floats(-1e300, 1e300) | st.text(),
        ),
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


FIELDS_OF_ANY_KIND = st.dictionaries(st.sampled_from(FIELDS) | st.text(st.characters()), JSON)
ENTRIES = JSON | FIELDS_OF_ANY_KIND | st.builds(dict.__or__, GOOD, FIELDS_OF_ANY_KIND)


@settings(deadline=None, max_examples=300)
@given(entries=st.lists(ENTRIES, max_size=4))
def test_whatever_the_entries_each_is_taken_or_has_a_fault_of_one_line(
    entries: list[object],
) -> None:
    configs, faults = read(entries)
    faulty = {fault.split()[1].strip(":") for fault in faults}
    assert len(configs) + len(faulty) == len(entries)
    assert all(fault.isprintable() for fault in faults)


@settings(deadline=None, max_examples=200)
@given(entry=GOOD)
def test_whatever_the_data_its_payload_says_the_same(entry: dict[str, Any]) -> None:
    [config], _ = read([entry])
    lwt = entry.get("lwt", False)
    assert json.loads(config.payload) == ({"online": 1} if lwt else {}) | entry["data"]
    assert not lwt or json.loads(config.offline) == entry["data"] | {"online": 0}
