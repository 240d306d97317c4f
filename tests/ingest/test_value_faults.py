"""Parsing: which values of optional metrics are missing or unreadable, on every way of reading."""

from pathlib import Path

import pytest

from broker.message import Message
from ingest.message import Ignored, Parsed, Reading, Several
from ingest.payload import Parser
from ingest.values import ValueFault
from streams.declaration import load
from tests.parsing import RECEIVED
from tests.support import DEVICE_TOPICS

METRICS = '[metrics]\na = {}\nb = { type = "text" }\ngood = { required = true }\n'
WORDS = '[metrics]\na = { split = ",", item = 1 }\nb = { path = ["x", "y"] }\ngood = {}\n'
SHARED = '[metrics]\na = { level = "all", path = "a" }\ngood = { level = "all", path = "good" }\n'
STREAMS = {
    "typed": f'topic = "typed/{{device_id}}"\n{METRICS}',
    "nested": f'topic = "nested/{{device_id}}"\nvalues = "v"\n{METRICS}',
    "members": f'topic = "members/{{device_id}}"\nexplode = "m"\n{METRICS}',
    "pairs": f'topic = "pairs/{{device_id}}"\npairs = {{ in = "p", name = "n", value = "v" }}\n{METRICS}',
    "levels": f'topic = "levels/{{device_id}}/{{metric}}"\n{SHARED}',
    "words": f'topic = "words/{{device_id}}"\nnull = ["-"]\n{WORDS}',
}
UNTYPED = ',"é":1'
"""A field that has the payload read without types."""


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Parser:
    folder: Path = tmp_path_factory.mktemp("streams")
    for name, text in STREAMS.items():
        (folder / f"{name}.toml").write_text(text)
    return Parser(load(folder, {}, DEVICE_TOPICS))


def parsed(parser: Parser, topic: str, payload: str) -> Parsed:
    return parser.parse(Message(topic, payload.encode(), RECEIVED))


def faults(parser: Parser, topic: str, payload: str) -> list[ValueFault]:
    found = parsed(parser, topic, payload)
    assert isinstance(found, Reading | Several), found
    readings = found.readings if isinstance(found, Several) else [found]
    return [fault for reading in readings for fault in reading.faults]


WAYS = {
    "at the top": ("typed/d", '{"good":1%s}'),
    "without types": ("typed/d", f'{{"good":1%s{UNTYPED}}}'),
    "in an object": ("nested/d", '{"v":{"good":1%s}}'),
    "in an array at the top": ("typed/d", '[{"good":1%s}]'),
    "in a member": ("members/d", '{"m":[{"good":1%s}]}'),
}
VALUES = [
    pytest.param("", [], id="nothing is said"),
    pytest.param(',"a":2,"b":"x"', [], id="both are good"),
    pytest.param(',"a":null', [("a", "null", "")], id="null"),
    pytest.param(',"a":NaN', [("a", "null", "")], id="NaN"),
    pytest.param(',"a":"NaN"', [("a", '"NaN"', "")], id="NaN as a text"),
    pytest.param(',"a":""', [("a", '""', "")], id="an empty text"),
    pytest.param(',"a":"unavailable"', [("a", '"unavailable"', "")], id="a word for nothing"),
    pytest.param(',"b":null', [("b", "null", "")], id="null for a text"),
    pytest.param(',"b":""', [], id="an empty text for a text"),
    pytest.param(',"a":"?"', [("a", '"?"', 'a: not a number: "?"')], id="no number"),
    pytest.param(',"a":{"x":1}', [("a", '{"x":1}', 'a: not a number: {"x":1}')], id="an object"),
    pytest.param(',"b":7', [("b", "7", "b: not a text: 7")], id="no text"),
    pytest.param(
        ',"a":"?","b":null',
        [("a", '"?"', 'a: not a number: "?"'), ("b", "null", "")],
        id="one of each",
    ),
]


@pytest.mark.parametrize(("fields", "expected"), VALUES)
@pytest.mark.parametrize("way", WAYS)
def test_a_field_is_good_absent_missing_or_unreadable(
    way: str, fields: str, expected: list[tuple[str, str, str]], parser: Parser
) -> None:
    topic, payload = WAYS[way]
    place = {"in a member": "m[0].", "in an array at the top": "[0]."}.get(way, "")
    found = faults(parser, topic, payload % fields)
    assert [(one.metric, one.example, one.text) for one in found] == [
        (metric, example, text and f"{place}{text}") for metric, example, text in expected
    ]
    assert [one.is_missing for one in found] == [not text for _, _, text in expected]


@pytest.mark.parametrize(
    ("topic", "payload", "expected"),
    [
        pytest.param("levels/d/all", '{"good":1}', [], id="a topic: absent"),
        pytest.param("levels/d/all", '{"good":1,"a":null}', [("a", "null")], id="a topic: null"),
        pytest.param("levels/d/all", '{"good":1,"a":"?"}', [("a", '"?"')], id="a topic: no number"),
        pytest.param("words/d", '{"good":1,"a":"1,2"}', [], id="a piece"),
        pytest.param("words/d", '{"good":1,"a":"1"}', [], id="a piece that is not there"),
        pytest.param("words/d", '{"good":1,"a":"1,"}', [("a", '"1,"')], id="a piece is empty"),
        pytest.param("words/d", '{"good":1,"a":[1,null]}', [("a", "[1,null]")], id="an element"),
        pytest.param("words/d", '{"good":1,"a":"1,-"}', [("a", '"1,-"')], id="a declared word"),
        pytest.param("words/d", '{"good":1,"x":null,"y":2}', [], id="the second path has it"),
        pytest.param("words/d", '{"good":1,"x":null}', [("b", "null")], id="the first is null"),
        pytest.param("pairs/d", '{"p":[{"n":"good","v":1},{"n":"a"}]}', [("a", "null")], id="pair"),
        pytest.param("pairs/d", '{"p":[{"n":"good","v":1},{"v":2}]}', [("", "")], id="no name"),
    ],
)
def test_it_depends_on_the_declaration_what_is_missing(
    topic: str, payload: str, expected: list[tuple[str, str]], parser: Parser
) -> None:
    assert [(one.metric, one.example) for one in faults(parser, topic, payload)] == expected


def test_an_error_names_the_reading_that_it_is_in(parser: Parser) -> None:
    found = faults(parser, "members/d", '{"m":{"x":{"good":1,"a":"?"},"y":{"good":2,"a":true}}}')
    assert [one.text for one in found] == [
        'm.x.a: not a number: "?"',
        "m.y.a: not a number: true",
    ]


def test_an_example_is_shortened(parser: Parser) -> None:
    (found,) = faults(parser, "typed/d", f'{{"good":1,"a":"{"x" * 1_000}"}}')
    assert found.example == f'"{"x" * 59}…'


@pytest.mark.parametrize("payload", ["null", '"unavailable"', '{"a":null}'])
def test_a_topic_of_metrics_without_a_value_of_any_is_ignored(payload: str, parser: Parser) -> None:
    found = parsed(parser, "levels/d/all", payload)
    assert isinstance(found, Ignored), found
    assert found.reason == "no_values"
