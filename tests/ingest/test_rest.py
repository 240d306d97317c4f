"""Parsing: the fields that no metric takes, and their names."""

from pathlib import Path
from typing import Any

import pytest

from broker.message import Message
from ingest.message import Parsed, Reading, Rejection
from ingest.payload import Parser
from streams.declaration import load
from streams.reading_key import ReadingKey
from streams.rest import MAX_NAMES
from tests.parsing import RECEIVED
from tests.support import DEVICE_TOPICS

ANYTHING = 'topic = "x/{device_id...}"\ndevice = "{device_id}"\nrest = "keep"\n'
TANK = 'topic = "x/{device_id}"\nrest = "keep"\nvalues = "v"\n[metrics]\nlevel = "in.level"\nflow = {}\n'


def parsed(folder: Path, declared: str, payload: str) -> Parsed:
    (folder / "x.toml").write_text(declared)
    parser = Parser(load(folder, {}, DEVICE_TOPICS))
    return parser.parse(Message("x/d1", payload.encode(), RECEIVED))


def kept(folder: Path, declared: str, payload: str) -> Any:
    found = parsed(folder, declared, payload)
    assert isinstance(found, Reading), found
    return found.rest


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        pytest.param('{"t":21.4,"on":true,"s":"ok"}', {"t": 21.4, "on": True, "s": "ok"}, id="flat"),
        pytest.param('{"ENERGY":{"Power":3,"T":{"a":1}}}', {"ENERGY.Power": 3, "ENERGY.T.a": 1}, id="nested"),
        pytest.param('{"a":[1,{"b":2}]}', {"a[0]": 1, "a[1].b": 2}, id="an array"),
        pytest.param('{"pm2.5":1,"a b":2,"":3}', {'"pm2.5"': 1, "a b": 2, '""': 3}, id="quoted"),
        pytest.param('{"id":1,"Created_At":2,"rest":3}', {"id_": 1, "Created_At_": 2, "rest_": 3}, id="reserved"),
        pytest.param('{"id":1,"id_":2}', {"id_": 1, "id__": 2}, id="reserved and taken"),
        pytest.param('{"id_":2,"id":1}', {"id__": 2, "id_": 1}, id="in another order"),
        pytest.param('{"_":1,"__":2}', {"_": 1, "__": 2}, id="nothing but underscores"),
        pytest.param('{"a\\u200bb":1}', {'"a\\u200bb"': 1}, id="an invisible character"),
        pytest.param('{"device_id":"q","t":1}', {"device_id_": "q", "t": 1}, id="a device id"),
        pytest.param('{"timestamp":1759163270,"t":1}', {"t": 1}, id="the time is none of it"),
        pytest.param('{"t":null,"u":NaN,"v":1}', {"v": 1}, id="no value"),
        pytest.param('{"n":9007199254740993}', {"n": 9007199254740993}, id="an exact integer"),
        pytest.param("21.4", {"reading": 21.4}, id="a number"),
        pytest.param("7", {"reading": 7}, id="an integer"),
        pytest.param("+1.50", {"reading": 1.5}, id="a number that is no JSON"),
        pytest.param("007", {"reading": 7}, id="zeros before it"),
        pytest.param('"on"', {"reading": "on"}, id="a text"),
        pytest.param("all is well", {"reading": "all is well"}, id="a text that is no JSON"),
        pytest.param("true", {"reading": True}, id="a boolean"),
        pytest.param("[1,2]", {"[0]": 1, "[1]": 2}, id="an array at the top"),
    ],
)  # fmt: skip
def test_anything_is_kept_by_its_path(
    payload: str, expected: dict[str, Any], tmp_path: Path
) -> None:
    found = kept(tmp_path, ANYTHING, payload)
    assert found == expected
    assert [type(value) for value in found.values()] == [type(one) for one in expected.values()]


def test_what_a_metric_takes_is_not_kept_again(tmp_path: Path) -> None:
    found = parsed(tmp_path, TANK, '{"v":{"in":{"level":1,"x":2},"flow":3,"level":4},"z":5}')
    assert isinstance(found, Reading)
    assert found.values == (1.0, 3.0)
    assert found.rest == {"in.x": 2, "level_": 4, "$.z": 5}


X = 'topic = "x/{device_id}"\nrest = "keep"\n'


@pytest.mark.parametrize(
    ("declared", "payload", "expected"),
    [
        pytest.param(
            '[metrics]\np = { path = "P", item = 0 }\n', '{"P":[1,2]}', {"P[1]": 2}, id="an item"
        ),
        pytest.param('[metrics]\na = "b.c"\n', '{"b.c":1,"d":2}', {"d": 2}, id="a whole name"),
        pytest.param(
            'explode = "r"\n[metrics]\na = "$.fw"\n',
            '{"r":[{"fw":2}],"fw":1}',
            {"fw": 2},
            id="a field of a member with the name of one at the top",
        ),
        pytest.param(
            'pairs = { in = "v", name = "n", value = "x" }\n[metrics]\na = {}\n',
            '{"v":[{"n":"a","x":1},{"n":"b","x":2}],"c":3}',
            {"b": 2, "c": 3},
            id="pairs",
        ),
        pytest.param(
            'format = "influx"\n[metrics]\na = {}\nb = "fields.b"\n',
            "m,t=u a=1,b=2,c=3,tags=4",
            {"measurement": "m", "tags.t": "u", "c": 3.0, "fields.tags": 4.0},
            id="a line of InfluxDB's protocol",
        ),
        pytest.param(
            "[metrics]\na_ = {}\n", '{"a_":1,"a":2,"a__":3}', {"a__": 2, "a____": 3}, id="marks"
        ),
    ],
)
def test_every_field_is_kept_once(
    declared: str, payload: str, expected: dict[str, Any], tmp_path: Path
) -> None:
    assert kept(tmp_path, X + declared, payload) == expected


def test_a_reading_may_have_nothing_but_the_rest(tmp_path: Path) -> None:
    found = parsed(tmp_path, TANK, '{"v":{"q":1}}')
    assert isinstance(found, Reading)
    assert (found.values, found.rest) == ((None, None), {"q": 1})


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param("{}", "missing_field", id="nothing"),
        pytest.param("null", "missing_field", id="null"),
        pytest.param('{"t":null}', "missing_field", id="no values"),
        pytest.param('{"t":1e999}', "number_out_of_range", id="only a bad value"),
        pytest.param('{"t":', "invalid_json", id="broken JSON"),
    ],
)
def test_without_a_value_it_is_rejected(payload: str, reason: str, tmp_path: Path) -> None:
    found = parsed(tmp_path, ANYTHING, payload)
    assert isinstance(found, Rejection)
    assert found.reason == reason


def test_a_bad_value_does_not_sink_its_neighbours(tmp_path: Path) -> None:
    found = parsed(tmp_path, ANYTHING, f'{{"t":1,"s":"{"x" * 300}","n":{"9" * 30}}}')
    assert isinstance(found, Reading)
    assert found.rest == {"t": 1}
    assert [text.partition(":")[0] for text in found.unread] == ["s", "n"]


def test_what_is_nested_too_deeply_is_counted(tmp_path: Path) -> None:
    found = parsed(tmp_path, ANYTHING, f'{{"t":1,"x":{"[" * 40}1{"]" * 40}}}')
    assert isinstance(found, Reading)
    assert (found.rest, found.left_out) == ({"t": 1}, 1)


def test_of_a_message_so_many_names_are_kept(tmp_path: Path) -> None:
    fields = ",".join(f'"n{index}":1' for index in range(MAX_NAMES + 2))
    found = parsed(tmp_path, ANYTHING, f"{{{fields}}}")
    assert isinstance(found, Reading)
    assert found.rest is not None
    assert (len(found.rest), found.left_out, found.faults) == (MAX_NAMES, 2, ())


def test_a_field_has_the_key_that_a_metric_of_its_name_would_have() -> None:
    declared = ReadingKey(["flow", "level"])
    assert ReadingKey(["flow"]).with_rest((1.5,), {"level": 2}) == declared.of((1.5, 2.0))
    assert ReadingKey([]).with_rest((), {"level": 2, "flow": 1.5}) == declared.of((1.5, 2.0))


def test_a_bare_text_where_pairs_are_expected_is_rejected(tmp_path: Path) -> None:
    pairs = 'pairs = { name = "n", value = "v" }\n[metrics]\na = {}\n'
    found = parsed(tmp_path, f'topic = "x/{{device_id}}"\nrest = "keep"\n{pairs}', "hello")
    assert isinstance(found, Rejection)
    assert found.reason == "not_an_array"
