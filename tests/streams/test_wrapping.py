"""What is wrapped for `explode` and `pairs` is taken apart the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.paths import WHOLE, Path
from streams.wrapping import MemberWrapper, PairWrapper
from utils.json_types import JsonObject

NAMES = st.text(min_size=1, max_size=10)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
MEMBERS = st.dictionaries(NAMES, SCALARS | st.dictionaries(NAMES, SCALARS, max_size=3))
KEYS = st.none() | NAMES
PATHS = st.sampled_from([WHOLE, "history", "object.history", 'body."a.b".list', "data[0].list[2]"])
PAIR_PATHS = st.sampled_from([("id", "v", "t"), ("n.name", "n.value", "n.at"), ("[0]", "[1]", "")])
ARRAYS = st.sampled_from(["", "vals", "body[1].vals"])


def found_at(text: str, payload: Any) -> Any:
    return payload if text in ("", WHOLE) else Path.of(text).find(payload, payload)


def members_of(payload: Any, path: str) -> list[tuple[str | None, Any]]:
    """Return the members with their keys, as `explode` takes them apart."""
    container = found_at(path, payload)
    if isinstance(container, dict):
        return list(container.items())
    return [(None, member) for member in container]


def zipped_members_of(payload: Any, paths: tuple[str, ...]) -> list[JsonObject]:
    """Return the members of arrays of one length; each array has a field of them."""
    columns = {path.rpartition(".")[2]: found_at(path, payload) for path in paths}
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def fields_of(payload: Any, array: str, name: str, value: str, time: str) -> list[Any]:
    """Return names, values and times, as `pairs` takes them apart."""
    texts = (name, value, *([time] if time else []))
    pairs = found_at(array, payload)
    return [tuple(found_at(text, pair) for text in texts) for pair in pairs]


@given(member=MEMBERS, key=KEYS, path=PATHS)
def test_a_member_is_taken_apart_with_its_key(
    member: JsonObject, key: str | None, path: str
) -> None:
    payload = MemberWrapper(path).wrap(member, key)
    assert members_of(payload, path) == [(key, member)]


@given(values=st.tuples(SCALARS, SCALARS))
def test_a_member_is_taken_apart_from_several_arrays(values: tuple[Any, Any]) -> None:
    paths = ("hourly.time", "hourly.temperature")
    member = dict(zip(("time", "temperature"), values, strict=True))
    payload = MemberWrapper(paths).wrap(member)
    assert zipped_members_of(payload, paths) == [member]


@given(fields=MEMBERS, time=st.text(), array=ARRAYS, paths=PAIR_PATHS)
def test_pairs_are_taken_apart_with_their_time(
    fields: JsonObject, time: str, array: str, paths: tuple[str, str, str]
) -> None:
    payload = PairWrapper(array, *paths).wrap(fields, time)
    times = (time,) if paths[2] else ()
    expected = [(name, value, *times) for name, value in fields.items()]
    assert fields_of(payload, array, *paths) == expected


MEMBER = {"a": 1.5, "b": True}
SHAPES: list[tuple[str, str | None, Any]] = [
    ("*", None, [MEMBER]),
    ("*", "meter-7", {"meter-7": MEMBER}),
    ("object.history", None, {"object": {"history": [MEMBER]}}),
    ("cameras", "yard", {"cameras": {"yard": MEMBER}}),
]


@pytest.mark.parametrize(("path", "key", "payload"), SHAPES)
def test_a_member_has_its_place_in_the_payload(path: str, key: str | None, payload: Any) -> None:
    assert MemberWrapper(path).wrap(MEMBER, key) == payload


def test_what_belongs_to_the_top_is_beside_the_members() -> None:
    payload = MemberWrapper("object.history").wrap(MEMBER)
    Path.of("$.object.firmware").place(payload, "2.1")
    Path.of("$.time").place(payload, 5)
    assert payload == {"object": {"history": [MEMBER], "firmware": "2.1"}, "time": 5}


def test_several_arrays_have_one_element_each_even_for_a_field_that_is_not_there() -> None:
    wrapper = MemberWrapper(("hourly.time", "hourly.rain", "wind"))
    payload = wrapper.wrap({"time": 5, "rain": 0.2})
    assert payload == {"hourly": {"time": [5], "rain": [0.2]}, "wind": [None]}


def test_several_objects_have_the_key() -> None:
    payload = MemberWrapper(("power", "energy")).wrap({"power": 3, "energy": 4}, "plug")
    assert payload == {"power": {"plug": 3}, "energy": {"plug": 4}}


def test_a_field_that_belongs_to_none_of_several_arrays_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no array for rain; expected time, wind"):
        MemberWrapper(("time", "wind")).wrap({"time": 5, "rain": 0.2})


def test_pairs_have_their_place_in_the_payload() -> None:
    fields = {"temperature": 21.5, "Boiler.L1": 318}
    assert PairWrapper("vals", "id", "v", "ts").wrap(fields, 5) == {
        "vals": [
            {"id": "temperature", "v": 21.5, "ts": 5},
            {"id": "Boiler.L1", "v": 318, "ts": 5},
        ]
    }
    assert PairWrapper("", "n.name", "n.value").wrap({"a": 1}) == [{"n": {"name": "a", "value": 1}}]


def test_only_pairs_with_a_time_replace_the_field_with_it() -> None:
    assert PairWrapper("", "id", "v", "ts").has_time
    assert not PairWrapper("", "id", "v").has_time
