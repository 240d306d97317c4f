"""Checks of the declaration of one stream."""

import math
import re
from collections.abc import Mapping

from streams.metric import Metric, Simulation
from streams.reserved import (
    ANALYSIS_FIELDS,
    COLLISIONS,
    RESERVED_COLUMNS,
    RESERVED_EVENTS,
    RESERVED_NAMES,
    RESERVED_PREFIXES,
    RESERVED_TABLES,
)
from streams.stream import Stream
from utils.identity import device_id_fault
from utils.mqtt_text import topic_error
from utils.text import invisible_code

STREAM_NAME = re.compile(r"[a-z][a-z0-9_-]*")
MAX_STREAM_NAME = 40
TABLE_NAME = re.compile(r"[a-z][a-z0-9_]*")
MAX_TABLE_NAME = 49
"""PostgreSQL allows 63 characters for the name of an index, which is 14 longer."""
MAX_WEIGHT = 1_000
METRIC_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
MAX_METRIC_NAME = 51
EVENT_NAME = re.compile(r"[a-z][a-z0-9_-]*")
LISTS_OF_ML_DATA = ("timestamps", "device_ids")

RENAME = "A new name gets a new column; an existing column stays as it is"


class StreamError(Exception):
    """A declaration cannot be used; the text names the file, the key and what was expected."""


def expect(holds: object, key: str, expected: str) -> None:
    """Raise StreamError with the key and what was expected, unless `holds` is true."""
    if not holds:
        raise StreamError(f"{key}: expected {expected}")


def check_name(name: str) -> None:
    """Check the name of a stream. Raises StreamError."""
    named = "the file's name"
    expect(
        STREAM_NAME.fullmatch(name),
        named,
        "a letter of a-z, then a-z, 0-9, - and _: it is the stream's name",
    )
    _check_length(named, name, MAX_STREAM_NAME)
    table = f"{name.replace('-', '_')}_readings"
    keep = f'rename the file, and set table = "{table}" in it to keep the existing readings'
    expect(
        name not in RESERVED_NAMES,
        named,
        f"a name other than {name}, which AutoForge uses: {keep}",
    )


def _check_length(key: str, name: str, most: int) -> None:
    expect(len(name) <= most, key, f"at most {most} characters; it has {len(name)}")


def check_table(table: str) -> None:
    """Check the name of a stream's table. Raises StreamError."""
    expect(TABLE_NAME.fullmatch(table), "table", "a letter of a-z, then a-z, 0-9 and _")
    _check_length("table", table, MAX_TABLE_NAME)
    expect(
        table not in RESERVED_TABLES,
        "table",
        f"a name other than {table}, which AutoForge uses",
    )
    prefixes = ", ".join(RESERVED_PREFIXES)
    expect(
        not table.startswith(RESERVED_PREFIXES),
        "table",
        f"a name that does not begin with any of {prefixes}",
    )


def check_metric(name: str, metric: Metric) -> None:
    """Check the table of one metric. Raises StreamError."""
    key = f"metrics.{name}"
    named = METRIC_NAME.fullmatch(name)
    expect(named, key, "a letter of a-z or A-Z, then such letters, digits and _")
    _check_length(key, name, MAX_METRIC_NAME)
    others = ", ".join(sorted(RESERVED_COLUMNS - {name.lower()}))
    expect(
        name.lower() not in RESERVED_COLUMNS,
        key,
        f"a name other than {name}; {others} are reserved too. {RENAME}",
    )
    expect(not metric.name, f"{key}.name", "nothing: the table's heading is the name")
    _check_simulation(f"{key}.simulate", metric.simulate)
    _check_ideal(key, metric)
    check_visible(f"{key}.title", metric.title)
    check_visible(f"{key}.unit", metric.unit)
    check_visible(f"{key}.advice", metric.advice.low + metric.advice.high)
    if metric.event:
        _check_event(f"{key}.event", metric.event)


def _check_ideal(key: str, metric: Metric) -> None:
    if metric.ideal is None:
        return
    low, high = metric.ideal
    ordered = -math.inf < low < high < math.inf
    weighty = 0 < metric.weight <= MAX_WEIGHT
    expect(metric.is_quantity, f"{key}.ideal", f"nothing, because the values are {metric.type}")
    expect(ordered, f"{key}.ideal", "two numbers, the lower one first")
    expect(weighty, f"{key}.weight", f"a number above 0, at most {MAX_WEIGHT}")


def _check_event(key: str, event: str) -> None:
    expect(EVENT_NAME.fullmatch(event), key, "a letter of a-z, then a-z, 0-9, - and _")
    reserved = ", ".join(sorted(RESERVED_EVENTS))
    expect(event not in RESERVED_EVENTS, key, f"a name other than {reserved}")


def _check_simulation(key: str, simulation: Simulation) -> None:
    low = -math.inf if simulation.minimum is None else simulation.minimum
    high = math.inf if simulation.maximum is None else simulation.maximum
    numbers = (
        simulation.mean,
        simulation.swing,
        simulation.noise,
        simulation.factor,
        simulation.hold,
    )
    expect(simulation.states, f"{key}.states", "at least one state")
    expect(all(map(math.isfinite, numbers)), key, "finite numbers")
    expect(low <= high, f"{key}.minimum", "at most the maximum")


def check_stream(stream: Stream) -> None:
    """Check that the parts of a stream fit together. Raises StreamError."""
    _check_names(stream)
    _check_answers(stream)
    check_visible("title", stream.title)
    for metric in stream.metrics:
        _check_product(stream, metric)
    if stream.simulate.names:
        _check_device_names(stream.simulate.names)
    interval = 0 < stream.simulate.interval < math.inf
    expect(interval, "simulate.interval", "a number of seconds above 0")
    default = stream.device_default
    error = device_id_fault(default) if default else None
    expect(error is None, "device_default", f"another device id: {error}")
    _check_health_topics(stream.health.topics())
    expect(
        stream.factors or not stream.health.analysis_topic,
        "health",
        "at least one metric with an ideal band",
    )


def _check_health_topics(topics: Mapping[str, str]) -> None:
    for key, topic in topics.items():
        check_sendable(key, topic)
        levels = topic.split("/")
        plain = not set(topic) & set("+#{}") and "" not in levels
        expect(plain, key, "a topic without + # { } and empty levels")
        public = levels[0] != "autoforge" and not levels[0].startswith("$")
        expect(public, key, "a topic that is not below autoforge/ or $")
    different = len(set(topics.values())) == len(topics)
    expect(different, "health.status_topic", "a topic other than the analysis_topic")


def check_sendable(key: str, topic: str) -> None:
    """Check that brokers take a topic. Raises StreamError."""
    error = topic_error(topic)
    expect(not error, key, f"a topic that brokers take: {error}")


def check_visible(key: str, text: str) -> None:
    """Check that a text has no invisible characters. Raises StreamError."""
    code = invisible_code(text)
    expect(not code, key, f"a text without the invisible character {code}")


def _check_names(stream: Stream) -> None:
    expected = 'at least one metric, such as [metrics.temperature], or rest = "keep"'
    expect(stream.metrics or stream.keeps_rest, "metrics", expected)
    by_folded: dict[str, str] = {}
    plurals = dict.fromkeys(LISTS_OF_ML_DATA, "AutoForge")
    for metric in stream.metrics:
        key = f"metrics.{metric.name}"
        other = by_folded.setdefault(metric.name.lower(), metric.name)
        expect(other == metric.name, key, f"a name that differs from {other} in more than case")
        holder = plurals.setdefault(metric.plural, metric.name)
        wanted = f"a name other than {metric.plural}, which ml-data already uses for {holder}"
        expect(holder == metric.name, f"{key}.plural", wanted)
    _check_fields(stream)


def _check_fields(stream: Stream) -> None:
    times = stream.timestamp.fields
    fields = [*times, *filter(None, [stream.device, stream.values])]
    different = len(set(fields)) == len(fields)
    expect(different, "device", "a field other than those of timestamp and values")
    if not stream.values:
        names = [metric.name for metric in stream.metrics]
        expect(stream.device not in names, "device", "a field that is not a metric")
        free = not set(times) & set(names)
        expect(free, "timestamp.field", "a field that is not a metric")


def _check_answers(stream: Stream) -> None:
    """Check that the keys which responses add to a reading do not hide its own."""
    taken = {"health"} | COLLISIONS.get(stream.name, set()) if stream.factors else set()
    taken |= COLLISIONS["machines"] if stream.name == "machines" else set()
    for metric in stream.metrics:
        other = f"a name other than {metric.name}, a key that responses add. {RENAME}"
        expect(metric.name not in taken, f"metrics.{metric.name}", other)
    if stream.health.analysis_topic:
        listed = ", ".join(sorted(ANALYSIS_FIELDS))
        free = stream.device not in ANALYSIS_FIELDS
        expect(free, "device", f"a field other than {listed}, which analyses use")


def _check_product(stream: Stream, metric: Metric) -> None:
    others = stream.metrics[: stream.metrics.index(metric)]
    before = [other.name for other in others if other.is_quantity]
    known = set(metric.simulate.product) <= set(before)
    key = f"metrics.{metric.name}.simulate.product"
    expect(known, key, f"numeric metrics declared before it: {', '.join(before)}")


def _check_device_names(names: str) -> None:
    try:
        first, second = names.format(1), names.format(2)
    except (ValueError, LookupError, AttributeError):
        first = second = ""
    usable = first != second and device_id_fault(first) is None
    wanted = "a device id with a placeholder for the number, such as ESP32_{:03}"
    expect(usable, "simulate.names", wanted)
