"""JSON as devices write it: what is repaired, what stays broken, and that nothing else is touched."""

import json
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils import lenient_json

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "standard"),
    [
        ('{"a":NaN,"b":[nan,-NaN]}', '{"a":null,"b":[null,null]}'),
        (
            '{"a":+1,"b":.5,"c":5.,"d":007,"e":-inf}',
            '{"a":"+1","b":".5","c":"5.","d":"007","e":"-inf"}',
        ),
        ('{"a":"NaN, +1","b":"\\"NaN"}', '{"a":"NaN, +1","b":"\\"NaN"}'),
        ('{"a":1_000,"b":0x1F,"c":nano,"d":1,5}', '{"a":1_000,"b":0x1F,"c":nano,"d":1,5}'),
        ('{"a":"NaN', '{"a":"NaN'),
        ('{"a":-0.0,"b":1e5,"c":0}', '{"a":-0.0,"b":1e5,"c":0}'),
        ('{"a":"é",é:NaN}', '{"a":"é",é:null}'),
    ],
)
def test_it_writes_numbers_that_are_no_json_as_json(text: str, standard: str) -> None:
    assert lenient_json.standard(text.encode()).decode() == standard


@settings(deadline=None)
@given(value=ANYTHING)
def test_it_does_not_touch_json(value: object) -> None:
    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        assert lenient_json.standard(text) == text


@settings(deadline=None)
@given(values=st.lists(ANYTHING, max_size=6), gaps=st.sampled_from(["", " ", "\n\t"]))
def test_the_elements_of_an_array_are_as_they_were_written(values: list[object], gaps: str) -> None:
    written = [item for value in values for item in (json.dumps(value), "NaN", '{"a": +1 }', "007")]
    array = f"[{gaps}{f'{gaps},{gaps}'.join(written)}{gaps}]".encode()
    assert lenient_json.items(array) == [item.encode() for item in written]


@pytest.mark.parametrize("text", ["[", "[1,", "[NaN", "[NaN,]", "{}", "[x]", "[1 2]"])
def test_an_array_that_is_broken_has_no_elements(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        lenient_json.items(text.encode())


@settings(deadline=None)
@given(text=st.binary() | st.text(alphabet='{}[]",:\\ +-.0159eEnaNtrufls').map(str.encode))
def test_whatever_the_bytes_there_is_a_sentence_about_them(text: bytes) -> None:
    try:
        lenient_json.decoded(text, msgspec.json.decode)
    except (msgspec.DecodeError, RecursionError):
        said = lenient_json.why(text)
        assert said.isprintable()
        assert "truncated" not in said
    assert len(lenient_json.standard(text)) >= len(text.replace(b"NaN", b""))


@pytest.mark.parametrize(
    "piece", [b"NaN,", b"1,", b'"\\', b'"",', b"!", b"+", b"nan(", b"1.#", b'\\"', b"-"]
)
def test_no_text_takes_long(piece: bytes) -> None:
    text = b"[" + piece * (65_536 // len(piece))
    begun = time.process_time()
    lenient_json.standard(text)
    assert time.process_time() - begun < 1
