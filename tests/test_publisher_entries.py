"""The entries of the static publisher: what is published of a good one, and a sentence for every fault of a bad one."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from publisher.entries import FIELDS, Entry, Fault, PublishConfig, Unusable, check, read
from tests.support import Mosquitto, publishing

DOCUMENTED: dict[str, Any] = {
    "id": "unique_config_id",
    "topic": "mqtt/topic/name",
    "data": {"sensor_id": "SENSOR_001", "temperature": 25.5, "humidity": 60},
    "interval": 30,
    "qos": 1,
    "retain": False,
    "lwt": True,
    "created_at": "2025-09-29T16:27:50.000000",
    "updated_at": "2025-09-29T16:27:50.000000",
    "version": 1,
}
SHORT = {"id": "a", "topic": "t", "data": {"x": 1}, "interval": 1}
ID = "must be text of 1 to 128 printable characters without + # /, no white space at its ends, not . or .."
TOPIC = "must be printable text of 1 to 65535 bytes and at most 200 levels, without + and #, not beginning with $"
DATA = (
    "must be a JSON object, nested at most 32 deep, "
    "without numbers out of range such as 1e999 and lone surrogates such as \\ud800"
)
INTERVAL = "must be a number of seconds from 0.001 to 31536000"
TIME = "must be a time as text, such as 2025-09-29T16:27:50.000000, or null"
UNKNOWN = f"there is no such field; there are {', '.join(FIELDS)}"
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
    """The faults of an entry, which is told to be the fourth one."""
    config, faults = check(entry, 3)
    assert config is None
    return [str(fault) for fault in faults]


def test_it_takes_the_documented_entry() -> None:
    payload = b'{"online":1,"sensor_id":"SENSOR_001","temperature":25.5,"humidity":60}'
    offline = b'{"online":0,"sensor_id":"SENSOR_001","temperature":25.5,"humidity":60}'
    sent: dict[str, Any] = {"qos": 1, "retain": False, "lwt": True, "payload": payload, "offline": offline}
    config = PublishConfig(id="unique_config_id", topic="mqtt/topic/name", interval=30.0, **sent)
    assert read([DOCUMENTED]) == ([config], [])


def test_without_the_optional_fields_it_is_qos_1_not_retained_and_without_a_will() -> None:
    sent: dict[str, Any] = {"qos": 1, "retain": False, "lwt": False, "payload": b'{"x":1}', "offline": b""}
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
    topics = ["/", " a b ", "a/$SYS", "x" * 65_535, "é" * 32_767, "/" * 199, "温度/😀", "a\U000e0fff", "a\ue000"]
    with publishing(mosquitto.port) as publish:
        for topic in topics:
            publish(accepted(topic=topic).topic, b"{}")


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        pytest.param("id", 7, f"7: {ID}", id="an id that is a number"),
        pytest.param("id", None, f"null: {ID}", id="an id that is null"),
        pytest.param("id", "", f'"": {ID}', id="an empty id"),
        pytest.param("id", "x" * 129, f'"{"x" * 59}…: {ID}', id="an id of 129 characters"),
        pytest.param("id", "a+b", f'"a+b": {ID}', id="an id with a plus"),
        pytest.param("id", "#", f'"#": {ID}', id="an id with a hash"),
        pytest.param("id", "a/b", f'"a/b": {ID}', id="an id with a slash"),
        pytest.param("id", ".", f'".": {ID}', id="an id that is a path"),
        pytest.param("id", "..", f'"..": {ID}', id="an id that is the path above"),
        pytest.param("id", " a", f'" a": {ID}', id="an id that begins with a space"),
        pytest.param("id", "a\u3000", f'"a\\u3000": {ID}', id="an id that ends with a wide space"),
        pytest.param("id", "a\x07b", f'"a\\u0007b": {ID}', id="an id with a control character"),
        pytest.param("id", "a\u200bb", f'"a\\u200bb": {ID}', id="an id with an invisible character"),
        pytest.param("topic", 7, f"7: {TOPIC}", id="a topic that is a number"),
        pytest.param("topic", "", f'"": {TOPIC}', id="an empty topic"),
        pytest.param("topic", "a/+/b", f'"a/+/b": {TOPIC}', id="a topic with a wildcard"),
        pytest.param("topic", "a/#", f'"a/#": {TOPIC}', id="a topic with the other wildcard"),
        pytest.param("topic", "$SYS/a", f'"$SYS/a": {TOPIC}', id="a topic of the broker"),
        pytest.param("topic", "a\0", f'"a\\u0000": {TOPIC}', id="a topic with NUL"),
        pytest.param("topic", "a\ud800", f'"a\\ud800": {TOPIC}', id="a topic with a lone surrogate"),
        pytest.param("topic", "a\ufffe", f'"a\\ufffe": {TOPIC}', id="a topic with what is no character"),
        pytest.param("topic", "a\ufdd0", f'"a\\ufdd0": {TOPIC}', id="a topic with what is no character either"),
        pytest.param("topic", "é" * 32_768, f'"{"é" * 59}…: {TOPIC}', id="a topic of 65,536 bytes"),
        pytest.param("topic", "/" * 200, f'"{"/" * 59}…: {TOPIC}', id="a topic of 201 levels"),
        pytest.param("data", [1], f"[1]: {DATA}", id="data that is an array"),
        pytest.param("data", "text", f'"text": {DATA}', id="data that is text"),
        pytest.param("data", None, f"null: {DATA}", id="data that is null"),
        pytest.param("data", {"a": float("inf")}, f'{{"a": Infinity}}: {DATA}', id="data with infinity"),
        pytest.param("data", {"a": [float("nan")]}, f'{{"a": [NaN]}}: {DATA}', id="data with NaN"),
        pytest.param("data", {"a": "\ud800"}, f'{{"a": "\\ud800"}}: {DATA}', id="data with a lone surrogate"),
        pytest.param("data", {"\ud800": 1}, f'{{"\\ud800": 1}}: {DATA}', id="a key with a lone surrogate"),
        pytest.param("data", {"a": {1}}, f"a dict that cannot be shown: {DATA}", id="data that is no JSON"),
        pytest.param("interval", "30", f'"30": {INTERVAL}', id="an interval that is text"),
        pytest.param("interval", True, f"true: {INTERVAL}", id="an interval that is true"),
        pytest.param("interval", None, f"null: {INTERVAL}", id="an interval that is null"),
        pytest.param("interval", 0, f"0: {INTERVAL}", id="an interval of no time"),
        pytest.param("interval", -1.5, f"-1.5: {INTERVAL}", id="an interval before now"),
        pytest.param("interval", 0.0009, f"0.0009: {INTERVAL}", id="an interval below a millisecond"),
        pytest.param("interval", 31_536_001, f"31536001: {INTERVAL}", id="an interval above a year"),
        pytest.param("interval", float("nan"), f"NaN: {INTERVAL}", id="an interval that is NaN"),
        pytest.param("interval", 10**400, f"1{'0' * 59}…: {INTERVAL}", id="an interval that no float holds"),
        pytest.param("qos", 3, "3: must be 0, 1 or 2", id="QoS 3"),
        pytest.param("qos", -1, "-1: must be 0, 1 or 2", id="QoS -1"),
        pytest.param("qos", True, "true: must be 0, 1 or 2", id="a QoS that is true"),
        pytest.param("qos", 1.0, "1.0: must be 0, 1 or 2", id="a QoS with a fraction"),
        pytest.param("qos", "1", '"1": must be 0, 1 or 2', id="a QoS that is text"),
        pytest.param("qos", [1], "[1]: must be 0, 1 or 2", id="a QoS that is an array"),
        pytest.param("retain", 1, "1: must be true or false", id="retain 1"),
        pytest.param("retain", "true", '"true": must be true or false', id="retain as text"),
        pytest.param("lwt", 0, "0: must be true or false", id="lwt 0"),
        pytest.param("lwt", None, "null: must be true or false", id="lwt null"),
        pytest.param("created_at", 1759163270, f"1759163270: {TIME}", id="an epoch number"),
        pytest.param("updated_at", "yesterday", f'"yesterday": {TIME}', id="a time in words"),
        pytest.param("updated_at", "2025-02-30", f'"2025-02-30": {TIME}', id="a day that there is not"),
        pytest.param("version", 0, "0: must be a whole number from 1 to 9007199254740991", id="version 0"),
        pytest.param("version", 1.0, "1.0: must be a whole number from 1 to 9007199254740991", id="version 1.0"),
        pytest.param("version", True, "true: must be a whole number from 1 to 9007199254740991", id="version true"),
        pytest.param("version", None, "null: must be a whole number from 1 to 9007199254740991", id="version null"),
        pytest.param(
            "version",
            2**53,
            "9007199254740992: must be a whole number from 1 to 9007199254740991",
            id="a version that not every reader of JSON holds",
        ),
        pytest.param("intervall", 30, f"30: {UNKNOWN}", id="a field that there is not"),
    ],
)
def test_it_refuses(field: str, value: Any, told: str) -> None:
    name = f' (id "{SHORT["id"]}")' if field != "id" else ""
    [line] = refused(SHORT | {field: value})
    assert line.endswith(f": {field} = {told}")
    assert line.startswith(f"entry 3{name}")


@pytest.mark.parametrize("field", ["id", "topic", "data", "interval"])
def test_it_refuses_an_entry_without(field: str) -> None:
    [line] = refused({name: value for name, value in SHORT.items() if name != field})
    assert f": {field} is missing: must be " in line


@pytest.mark.parametrize("depth", [32, 100, 100_000])
def test_it_refuses_data_that_is_nested_too_deeply(depth: int) -> None:
    [line] = refused(SHORT | {"data": {"a": nested(depth)}})
    assert line.startswith('entry 3 (id "a"): data = ')
    assert line.endswith(DATA)


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        (None, "null"),
        (5, "5"),
        ("entry", '"entry"'),
        ([SHORT], '[{"id": "a", "topic": "t", "data": {"x": 1}, "interval": 1}]'),
        (Unusable("1e999"), "1e999"),
        ({1, 2}, "a set that cannot be shown"),
    ],
)
def test_it_refuses_an_entry_that_is_no_object(entry: object, shown: str) -> None:
    assert refused(entry) == [f"entry 3 = {shown}: must be a JSON object with id, topic, data and interval"]


def test_it_tells_all_faults_of_an_entry() -> None:
    bad = SHORT | {"topic": "a/#", "interval": "fast", "lwt": True, "version": 0, "payload": 1}
    lines = refused(bad | {"data": {"a": "x" * 65_535}})
    fields = ["topic", "interval", "version", "payload", "data"]
    assert [line.partition(": ")[2].partition(" =")[0] for line in lines] == fields
    assert refused({}) == [
        f"entry 3: id is missing: {ID}",
        f"entry 3: topic is missing: {TOPIC}",
        f"entry 3: data is missing: {DATA}",
        f"entry 3: interval is missing: {INTERVAL}",
    ]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("\ud800", '"\\ud800"'), ("", '""'), ("a b\n", '"a b\\n"'), ("x" * 99, f"{'x' * 60}…"), (1, "1"), (None, "null")],
)
def test_an_unknown_field_with_a_strange_name_hides_no_other_fault(name: object, shown: str) -> None:
    lines = refused(SHORT | {name: 5, "qos": 9, "intervall": 1})
    unknown = [f"{shown} = 5: {UNKNOWN}", f"intervall = 1: {UNKNOWN}"]
    assert [line.removeprefix('entry 3 (id "a"): ') for line in lines] == ["qos = 9: must be 0, 1 or 2", *unknown]
    assert refused(SHORT | {name: 5}) == [f'entry 3 (id "a"): {shown} = 5: {UNKNOWN}']


def test_a_bad_entry_does_not_stop_the_others() -> None:
    entries = [SHORT | {"id": "a"}, SHORT | {"id": "b", "qos": 5}, 17, SHORT | {"id": "c"}, {}, SHORT | {"id": "d"}]
    configs, faults = read(entries)
    assert [config.id for config in configs] == ["a", "c", "d"]
    assert [fault.index for fault in faults] == [1, 2, 4, 4, 4, 4]


def test_of_entries_with_the_same_id_the_first_one_stays() -> None:
    configs, faults = read([SHORT, SHORT | {"topic": "u"}, SHORT | {"id": "A"}, SHORT | {"retain": True}])
    assert [(config.id, config.topic) for config in configs] == [("a", "t"), ("A", "t")]
    assert [str(fault) for fault in faults] == [
        'entry 1 (id "a"): id = "a": must be unique in the file, and entry 0 has it already',
        'entry 3 (id "a"): id = "a": must be unique in the file, and entry 0 has it already',
    ]


def test_an_id_is_taken_by_a_faulty_entry_too() -> None:
    configs, faults = read([SHORT | {"qos": 9}, SHORT | {"interval": 0}])
    assert configs == []
    assert [(fault.index, fault.field) for fault in faults] == [(0, "qos"), (1, "interval"), (1, "id")]


def test_entries_may_share_a_topic() -> None:
    configs, faults = read([SHORT, SHORT | {"id": "b"}])
    assert ([config.topic for config in configs], faults) == (["t", "t"], [])


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


def test_without_an_array_a_fault_names_no_place() -> None:
    faults = check(SHORT | {"interval": "fast", "qos": 7})[1]
    assert [str(fault) for fault in faults] == [f'interval = "fast": {INTERVAL}', "qos = 7: must be 0, 1 or 2"]
    assert str(check([])[1][0]) == "the entry = []: must be a JSON object with id, topic, data and interval"


def test_a_fault_has_its_parts() -> None:
    assert check(SHORT | {"interval": "fast"}, 3)[1] == [Fault(3, "a", "interval", '"fast"', INTERVAL)]
    assert check({"id": 7} | {"topic": "t", "data": {}, "interval": 1}, 0)[1] == [Fault(0, None, "id", "7", ID)]


def test_what_is_shown_is_short_and_fits_on_a_line() -> None:
    [line] = refused(SHORT | {"id": "a\n\x1b[2J" + "x" * 200})
    assert line.startswith('entry 3 (id "a\\u000a\\u001b[2Jxxx')
    assert line.isprintable()
    [line] = refused(SHORT | {"x\ny" * 1_000: {"a": "\u2028" * 1_000}})
    assert line.isprintable()
    assert len(line) < 400


def test_a_value_that_stands_for_what_no_value_holds_says_itself_what_is_allowed() -> None:
    bad = SHORT | {"interval": Unusable("1e999"), "topic": Unusable('"t"', "must stand only once")}
    assert refused(bad) == [
        'entry 3 (id "a"): topic = "t": must stand only once',
        f'entry 3 (id "a"): interval = 1e999: {INTERVAL}',
    ]


def test_the_schema_tells_each_rule_in_the_words_of_its_faults() -> None:
    schema = Entry.model_json_schema()
    told = {fault.field: fault.allowed for fault in check(dict.fromkeys(FIELDS, Unusable("?")))[1]}
    assert told == {name: field["description"] for name, field in schema["properties"].items()}
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["id", "topic", "data", "interval"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=8,
)
GOOD = st.fixed_dictionaries(
    {
        "id": st.uuids().map(str),
        "topic": st.from_regex(r"[a-z/]{1,20}", fullmatch=True),
        "data": st.dictionaries(
            st.text(), st.none() | st.booleans() | st.integers() | st.floats(-1e300, 1e300) | st.text()
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
def test_whatever_the_entries_each_is_taken_or_has_a_fault_of_one_line(entries: list[object]) -> None:
    configs, faults = read(entries)
    assert len(configs) + len({fault.index for fault in faults}) == len(entries)
    for fault in faults:
        assert str(fault).isprintable()
        assert fault.allowed


@settings(deadline=None, max_examples=200)
@given(entry=GOOD)
def test_whatever_the_data_its_payload_says_the_same(entry: dict[str, Any]) -> None:
    [config], _ = read([entry])
    lwt = entry.get("lwt", False)
    assert json.loads(config.payload) == ({"online": 1} if lwt else {}) | entry["data"]
    assert not lwt or json.loads(config.offline) == entry["data"] | {"online": 0}


def test_ten_thousand_entries_take_little_memory() -> None:
    entries = [DOCUMENTED | {"id": f"sensor_{number}", "topic": f"plant/line/{number}"} for number in range(10_000)]
    texts = [json.dumps(entry) for entry in entries]
    tracemalloc.start()
    configs, _ = read(map(json.loads, texts))
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(configs) == 10_000
    assert used < 10_000 * 1_200
