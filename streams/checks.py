"""What a declaration must hold: within one stream, and between streams."""

import math
import re
from collections.abc import Mapping, Sequence

from streams.reserved import (
    ANALYSIS_FIELDS,
    COLLISIONS,
    RESERVED_COLUMNS,
    RESERVED_EVENTS,
    RESERVED_NAMES,
    RESERVED_PREFIXES,
    RESERVED_TABLES,
)
from streams.stream import Energy, Metric, Oee, Simulation, Stream, Tariff
from streams.topics import DEVICE, METRIC, DeviceTopics, TopicPattern

STREAM_NAME = re.compile(r"[a-z][a-z0-9_-]*")
MAX_STREAM_NAME = 40
TABLE_NAME = re.compile(r"[a-z][a-z0-9_]*")
MAX_TABLE_NAME = 49
"""PostgreSQL has 63 characters for the name of an index, which is 14 longer."""
MAX_GAP = 31_622_400.0
MAX_WEIGHT = 1_000
METRIC_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
MAX_METRIC_NAME = 51
EVENT_NAME = re.compile(r"[a-z][a-z0-9_-]*")
LISTS_OF_ML_DATA = ("timestamps", "device_ids")

RENAME = "Under a new name it gets a column of its own; a column that there is stays as it is"


class StreamError(Exception):
    """A declaration cannot be used: the text names the file, the key and what was expected."""


def expect(holds: object, key: str, expected: str) -> None:
    """Raise StreamError unless something holds."""
    if not holds:
        raise StreamError(f"{key}: expected {expected}")


def check_name(name: str) -> None:
    """Check the name of a stream. Raises StreamError."""
    named = "the file's name"
    expect(STREAM_NAME.fullmatch(name), named, "a letter of a-z, then a-z, 0-9, - and _: it is the stream's name")
    _check_length(named, name, MAX_STREAM_NAME)
    if name in RESERVED_NAMES:
        table = f"{name.replace('-', '_')}_readings"
        keep = f'rename the file, and set table = "{table}" in it to keep the readings that there are'
        raise StreamError(f"the file's name: expected another than {name}, which AutoForge uses itself: {keep}")


def _check_length(key: str, name: str, most: int) -> None:
    expect(len(name) <= most, key, f"at most {most} characters; it has {len(name)}")


def check_table(table: str) -> None:
    """Check the name of a stream's table. Raises StreamError."""
    expect(TABLE_NAME.fullmatch(table), "table", "a letter of a-z, then a-z, 0-9 and _")
    _check_length("table", table, MAX_TABLE_NAME)
    expect(table not in RESERVED_TABLES, "table", f"another name than {table}, which AutoForge uses itself")
    prefixes = ", ".join(RESERVED_PREFIXES)
    expect(not table.startswith(RESERVED_PREFIXES), "table", f"a name that begins with none of {prefixes}")


def check_metric(name: str, metric: Metric) -> None:
    """Check what is declared under a metric's heading. Raises StreamError."""
    key = f"metrics.{name}"
    expect(METRIC_NAME.fullmatch(name), key, "a letter of a-z or A-Z, then such letters, digits and _")
    _check_length(key, name, MAX_METRIC_NAME)
    if name.lower() in RESERVED_COLUMNS:
        others = ", ".join(sorted(RESERVED_COLUMNS - {name.lower()}))
        raise StreamError(f"{key}: expected another name than {name}; {others} are taken too. {RENAME}")
    expect(not metric.name, f"{key}.name", "nothing: the table's heading is the name")
    _check_simulation(f"{key}.simulate", metric.simulate)
    if metric.ideal is not None:
        low, high = metric.ideal
        expect(metric.type == "number", f"{key}.ideal", "nothing, where the values are text")
        expect(-math.inf < low < high < math.inf, f"{key}.ideal", "two numbers, the lower one first")
        expect(0 < metric.weight <= MAX_WEIGHT, f"{key}.weight", f"a number above 0, at most {MAX_WEIGHT}")
    if metric.event:
        expect(EVENT_NAME.fullmatch(metric.event), f"{key}.event", "a letter of a-z, then a-z, 0-9, - and _")
        free = metric.event not in RESERVED_EVENTS
        expect(free, f"{key}.event", f"another than {', '.join(sorted(RESERVED_EVENTS))}")


def _check_simulation(key: str, simulation: Simulation) -> None:
    low = -math.inf if simulation.minimum is None else simulation.minimum
    high = math.inf if simulation.maximum is None else simulation.maximum
    numbers = (simulation.mean, simulation.swing, simulation.noise, simulation.factor, simulation.hold)
    expect(simulation.states, f"{key}.states", "at least one state")
    expect(all(map(math.isfinite, numbers)), key, "numbers that are finite")
    expect(low <= high, f"{key}.minimum", "no more than the maximum")


def check_topic(topic: TopicPattern) -> None:
    """Check the topic on which a stream arrives. Raises StreamError."""
    expect("" not in topic.levels, "topic", "no empty level")
    for level in topic.levels:
        plain = not any(character in level for character in "+#{}")
        expect(plain or level in (DEVICE, METRIC), "topic", f"{DEVICE} or {METRIC} as a whole level, not {level!r}")
    expect(not topic.levels[0].startswith("$"), "topic", "a first level without $")
    for name in (DEVICE, METRIC):
        expect(topic.levels.count(name) <= 1, "topic", f"{name} at most once")


def check_stream(stream: Stream) -> None:
    """Check how the parts of a stream fit together. Raises StreamError."""
    _check_levels(stream)
    _check_names(stream)
    _check_answers(stream)
    for metric in stream.metrics:
        _check_product(stream, metric)
    if stream.simulate.names:
        _check_device_names(stream.simulate.names)
    expect(0 < stream.simulate.interval < math.inf, "simulate.interval", "a number of seconds above 0")
    plain = not set(stream.device_default) & set("+#/") and stream.device_default == stream.device_default.strip()
    expect(plain, "device_default", "a device id without + # / and without white space around it")
    _check_health_topics(stream.health.topics())
    expect(stream.factors or not stream.health.analysis_topic, "health", "at least one metric with an ideal band")
    if stream.oee is not None:
        _check_oee(stream, stream.oee)
    if stream.energy is not None:
        _check_energy(stream, stream.energy)


def check_settings(topics: Mapping[str, TopicPattern]) -> None:
    """Check that no two topics that settings name, by the settings, are in each other's way. Raises StreamError."""
    taken: dict[str, TopicPattern] = {}
    for name, topic in topics.items():
        for holder, pattern in taken.items():
            if topic.conflicts(pattern):
                raise StreamError(_clash(holder, pattern, name, topic))
        taken[name] = topic


def check_beside(stream: Stream, others: Sequence[Stream], device_topics: DeviceTopics) -> None:
    """Check that a stream is in the way of no other, nor of AutoForge's own topics. Raises StreamError."""
    for other in others:
        _check_pair(stream, other)
    taken = device_topics.by_setting()
    for name, topic in taken.items():
        if topic.conflicts(stream.topic):
            raise StreamError(_clash(_topic_key(stream), stream.topic, name, topic))
    for publisher in (*others, stream):
        _check_published(publisher, taken | {_topic_key(other): other.topic for other in (*others, stream)})


def _check_published(stream: Stream, taken: Mapping[str, TopicPattern]) -> None:
    for key, text in stream.health.topics().items():
        published = TopicPattern(tuple(text.split("/")), {})
        for holder, pattern in taken.items():
            if published.overlaps(pattern):
                raise StreamError(f"{stream.name}.toml: {key}: expected another topic than that of {holder}")


def _topic_key(stream: Stream) -> str:
    """Who says the topic of a stream: its file, or a variable in its place."""
    return stream.topic.setting or f"{stream.name}.toml: topic"


def _clash(name: str, topic: TopicPattern, other_name: str, other: TopicPattern) -> str:
    """A sentence about two topics of which a message can be on both; it blames what was set, and not the shipped."""
    if other.setting and not topic.setting:
        name, topic, other_name, other = other_name, other, name, topic
    blamed = f"{name}={topic}" if topic.setting else name
    return f"{blamed}: expected none that {other_name} ({other}) also receives"


def _check_health_topics(topics: Mapping[str, str]) -> None:
    for key, topic in topics.items():
        levels = topic.split("/")
        expect(not set(topic) & set("+#{}") and "" not in levels, key, "a topic without + # { } and empty levels")
        expect(levels[0] != "autoforge" and levels[0][0] != "$", key, "a topic that is not below autoforge/ or $")
    expect(len(set(topics.values())) == len(topics), "health.status_topic", "another than the analysis_topic")


def _check_levels(stream: Stream) -> None:
    has_device = stream.topic.has_device or stream.device
    expect(has_device, "device", "the payload's field with the device id, or {device_id} in topic")
    if stream.topic.has_metric:
        by_level = stream.topic.metric_levels
        expect(len(by_level) == len(stream.metrics), "metrics", "a different level for each metric")
        expect(not any(set(level) & set("/+#") for level in by_level), "metrics", "levels without / + #")
        expect(not stream.values, "values", "nothing, where each metric has its own topic")


def _check_names(stream: Stream) -> None:
    expect(stream.metrics, "metrics", "at least one metric, such as [metrics.temperature]")
    spelt: dict[str, str] = {}
    plurals = dict.fromkeys(LISTS_OF_ML_DATA, "AutoForge itself")
    for metric in stream.metrics:
        key = f"metrics.{metric.name}"
        other = spelt.setdefault(metric.name.lower(), metric.name)
        expect(other == metric.name, key, f"a name that differs from {other} in more than case")
        holder = plurals.setdefault(metric.plural, metric.name)
        wanted = f"another than {metric.plural}, the name of a list in ml-data that {holder} has already"
        expect(holder == metric.name, f"{key}.plural", wanted)
    fields = [stream.device, stream.timestamp.field, *filter(None, [stream.values])]
    expect(len(set(fields)) == len(fields), "device", "another field than those of timestamp and values")
    if not stream.values:
        names = [metric.name for metric in stream.metrics]
        expect(stream.device not in names, "device", "a field that is not a metric")
        expect(stream.timestamp.field not in names, "timestamp.field", "a field that is not a metric")


def _check_answers(stream: Stream) -> None:
    """What answers add to a reading must not take the place of what it says."""
    taken = {"health"} | COLLISIONS.get(stream.name, set()) if stream.factors else set()
    taken |= COLLISIONS["machines"] if stream.name == "machines" else set()
    for metric in stream.metrics:
        key = f"metrics.{metric.name}"
        expect(metric.name not in taken, key, f"another name, because answers have {metric.name} already. {RENAME}")
    if stream.health.analysis_topic:
        listed = ", ".join(sorted(ANALYSIS_FIELDS))
        expect(stream.device not in ANALYSIS_FIELDS, "device", f"another field than {listed}, which analyses have")


def _check_product(stream: Stream, metric: Metric) -> None:
    before = [other.name for other in stream.metrics[: stream.metrics.index(metric)] if other.type == "number"]
    key = f"metrics.{metric.name}.simulate.product"
    expect(set(metric.simulate.product) <= set(before), key, f"numeric metrics declared before it: {', '.join(before)}")


def _check_device_names(names: str) -> None:
    try:
        first, second = names.format(1), names.format(2)
    except (ValueError, LookupError, AttributeError):
        first = second = ""
    usable = first != second and not set(first) & set("+#/")
    expect(usable, "simulate.names", "a device id with a place for the number, such as ESP32_{:03}")


def _check_oee(stream: Stream, oee: Oee) -> None:
    _check_metric_named(stream, "oee.status", oee.status, "text")
    _check_metric_named(stream, "oee.performance", oee.performance, "number")
    _check_metric_named(stream, "oee.quality", oee.quality, "number")
    expect(oee.running, "oee.running", "at least one state")
    expect(0 < oee.gap <= MAX_GAP, "oee.gap", "a number of seconds above 0, at most a year")


def _check_energy(stream: Stream, energy: Energy) -> None:
    _check_metric_named(stream, "energy.power", energy.power, "number")
    if energy.counter:
        _check_metric_named(stream, "energy.counter", energy.counter, "number")
    expect(0 < energy.gap <= MAX_GAP, "energy.gap", "a number of seconds above 0, at most a year")
    if energy.tariff is not None:
        _check_tariff(energy.tariff)


def _check_tariff(tariff: Tariff) -> None:
    prices = [tariff.price, *(hours.price for hours in tariff.hours)]
    expect(all(0 <= price < math.inf for price in prices), "energy.tariff", "prices from 0")
    export = 0 if tariff.export is None else tariff.export
    expect(0 <= export < math.inf, "energy.tariff.export", "a price from 0")
    taken: set[int] = set()
    for hours in tariff.hours:
        within = 0 <= hours.start < hours.end <= 24
        expect(within, "energy.tariff.hours", "from and to within 0 to 24, from before to")
        span = set(range(hours.start, hours.end))
        expect(not span & taken, "energy.tariff.hours", "no hour of the day twice")
        taken |= span


def _check_metric_named(stream: Stream, key: str, name: str, kind: str) -> None:
    names = [metric.name for metric in stream.metrics if metric.type == kind]
    expect(name in names, key, f"a metric that is {'text' if kind == 'text' else 'a number'}: {', '.join(names)}")


def _check_pair(stream: Stream, other: Stream) -> None:
    if stream.table == other.table:
        raise StreamError(
            f"{stream.name}.toml: table: expected another than {stream.table}, which {other.name}.toml has"
        )
    if stream.topic.conflicts(other.topic):
        raise StreamError(_clash(_topic_key(stream), stream.topic, _topic_key(other), other.topic))
