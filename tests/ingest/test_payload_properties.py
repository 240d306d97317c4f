"""Parsing: what holds for every payload, whatever its bytes."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.message import Ignored, Parsed, Reading, Rejection
from ingest.payload import Parser
from models import EMPTY, NO_VALUES
from streams.declaration import load
from streams.metric import MetricType
from tests.parsing import SHAPES, TOPIC, parse, sensors
from tests.support import DEVICE_TOPICS, EXAMPLES, GOOD, payload


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            sensors(timestamp='"2026-01-29T14:30:45.1234567Z"'), id="a time with tenths of a µs"
        ),
        pytest.param(sensors(timestamp='"2026-01-29t14:30:45z"'), id="a time with a small t and z"),
        pytest.param(
            sensors(timestamp='"9999-12-31T23:59:59-05:00"'), id="a time after the year 9999"
        ),
    ],
)
def test_the_second_look_finds_what_the_first_one_found(text: str, parser: Parser) -> None:
    assert outcome(parse(parser, text)) == outcome(
        parse(parser, f'{text[:-1]},"ignored":"\\u0041"}}')
    )


def test_the_shapes_have_metrics_of_every_type(tmp_path: Path) -> None:
    for name, declared in SHAPES.items():
        (tmp_path / f"{name}.toml").write_text(declared)
    found = {metric.type for each in load(tmp_path, {}, DEVICE_TOPICS) for metric in each.metrics}
    assert found == set(get_args(MetricType))


TOPICS = [
    TOPIC,
    "plant/status",
    "soil/data",
    "panel/P1/ampere",
    "panel/P1/mode",
    "tank/T1",
    "pump/7",
    "unknown",
]
FIELDS = [
    *GOOD,
    "device_id",
    "machine_id",
    "speed",
    "state",
    "node",
    "sensor_readings",
    "N",
    "value",
    "level",
    "ts",
    "on",
    "cycles",
]
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.integers(10**300, 10**600),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner),
    max_leaves=12,
)
CLEAN = {
    TOPIC: st.fixed_dictionaries(
        {
            name: st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**18), 10**18)
            for name in list(GOOD)[:4]
        }
        | {
            "timestamp": st.datetimes().map(datetime.isoformat)
            | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)
            | st.integers(-(10**18), 10**18)
            | st.floats(0, 1e12)
        },
        optional={"device_id": st.sampled_from(["ESP32_001", "B"]), "x": st.none() | st.text()},
    ),
    "plant/status": st.fixed_dictionaries(
        {"machine_id": st.text()}, optional={"speed": st.floats(-1e9, 1e9), "state": st.text()}
    ),
    "soil/data": st.fixed_dictionaries(
        {"sensor_readings": st.dictionaries(st.sampled_from(["N", "pH", "K"]), st.floats(0, 1e6))}
    ),
    "tank/T1": st.dictionaries(st.sampled_from(["level", "flow", "ts"]), st.floats(0, 4e9)),
}


def outcome(parsed: Parsed) -> tuple[Any, ...]:
    """What was understood, so that it can be compared: -0.0 is not 0.0."""
    if isinstance(parsed, Rejection):
        return parsed.reason, parsed.text
    assert isinstance(parsed, Reading)
    return (
        parsed.device_id,
        parsed.timestamp,
        parsed.device_timestamp,
        repr(parsed.values),
        parsed.own_time,
    )


@pytest.mark.parametrize("topic", TOPICS)
@settings(deadline=None, max_examples=2 * EXAMPLES)
@given(text=st.binary() | ANYTHING.map(json.dumps).map(str.encode) | st.text().map(str.encode))
def test_whatever_the_bytes_it_is_a_reading_or_a_rejection(
    topic: str, text: bytes, parser: Parser
) -> None:
    parsed = parse(parser, text, topic)
    if isinstance(parsed, Ignored):
        assert parsed.reason == (NO_VALUES if text else EMPTY)
    if isinstance(parsed, Rejection):
        assert parsed.reason.isidentifier()
        assert parsed.text.isprintable()


@settings(deadline=None)
@given(topic=st.text(), text=st.just(payload().encode()) | st.binary())
def test_whatever_the_topic_it_is_a_reading_or_a_rejection(
    topic: str, text: bytes, parser: Parser
) -> None:
    for whole in (topic, f"sensors/{topic}/data"):
        assert isinstance(parse(parser, text, whole), (Reading, Rejection) if text else Ignored)


@pytest.mark.parametrize("topic", list(CLEAN))
@settings(deadline=None, max_examples=3 * EXAMPLES)
@given(data=st.data())
def test_an_escape_in_a_field_that_nobody_reads_changes_nothing(
    topic: str, data: st.DataObject, parser: Parser
) -> None:
    text = json.dumps(data.draw(CLEAN[topic]), ensure_ascii=False)
    comma = "," if len(text) > 2 else ""
    escaped = f'{text[:-1]}{comma}"ignored":"\\u0041"}}'
    assert outcome(parse(parser, text, topic)) == outcome(parse(parser, escaped, topic))
