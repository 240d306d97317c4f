"""Topics of streams: their placeholders, which of two precedes, and what is subscribed to."""

import itertools
from pathlib import Path

import pytest
from paho.mqtt.client import topic_matches_sub

from broker.message import Message
from ingest.message import Ignored, Parsed, Rejection
from ingest.payload import Parser
from streams.declaration import load
from streams.own_topics import DeviceTopics
from streams.registry import Streams
from streams.topics import TopicPattern
from tests.parsing import RECEIVED
from tests.support import DEVICE_TOPICS
from utils.topic_filters import levels_cover, levels_overlap

METRICS = "[metrics.t]\n[metrics.u]\n"


def declared(folder: Path, topics: DeviceTopics = DEVICE_TOPICS, **texts: str) -> Streams:
    """Streams with these keys and the metrics `t` and `u`."""
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text if "[metrics" in text else f"{text}\n{METRICS}")
    return load(folder, {}, topics)


@pytest.mark.parametrize(
    ("keys", "topic", "device_id"),
    [
        ('topic = "home/+/BTtoMQTT/{device_id}"', "home/attic/BTtoMQTT/A4C1", "A4C1"),
        ('topic = "application/{app}/device/{device_id}/up"', "application/6/device/24/up", "24"),
        ('topic = "telegraf/{device_id}/#"', "telegraf/nas1/cpu/0", "nas1"),
        ('topic = "telegraf/{device_id}/#"', "telegraf/nas1", "nas1"),
        ('topic = "/home/{device_id}"', "/home/7", "7"),
        ('topic = "$aws/things/{device_id}/accepted"', "$aws/things/7/accepted", "7"),
        ('topic = "zigbee2mqtt/{device_id...}"', "zigbee2mqtt/hall", "hall"),
        ('topic = "zigbee2mqtt/{device_id...}"', "zigbee2mqtt/kitchen/fridge", "kitchen.fridge"),
        ('topic = "zigbee2mqtt/{device_id...}"', "zigbee2mqtt/a.b/c", "a%2Eb.c"),
        ('topic = "zigbee2mqtt/{device_id...}"', "zigbee2mqtt/a%2Eb/c", "a%252Eb.c"),
        ('topic = "zigbee2mqtt/{device_id...}"', "zigbee2mqtt/50%/c", "50%.c"),
        ('topic = "{device_id...}/up"', "a/b/up", "a.b"),
        (
            'topic = "o/{user}/{phone}"\ndevice = ["{user}", "{phone}"]',
            "o/jane/pixel",
            "jane-pixel",
        ),
        ('topic = "o/{user}/{phone}"\ndevice = ["{phone}"]', "o/jane/pixel", "pixel"),
        ('topic = "o/{user}/{phone}"\ndevice = "{user}"', "o/jane/pixel", "jane"),
        ('topic = "r/{host}/d/{s...}"\ndevice = "{s}"', "r/pi/d/Nexus-TH/3/137", "Nexus-TH.3.137"),
        ('topic = ["a/{device_id}", "b/{device_id}/x"]', "b/7/x", "7"),
        ('topic = ["a/{device_id}", "b/{device_id}/x"]', "a/8", "8"),
    ],
)
def test_the_device_id_of_a_topic_is(keys: str, topic: str, device_id: str, tmp_path: Path) -> None:
    found = declared(tmp_path, x=keys).match(topic)
    assert found is not None
    assert (found.stream.name, found.device_id, found.is_excluded) == ("x", device_id, False)


@pytest.mark.parametrize(
    ("pattern", "topic"),
    [
        ("home/+/x/{device_id}", "home/x/7"),
        ("home/{device_id...}/x", "home/x"),
        ("home/{device_id...}", "home"),
        ("home/{device_id...}", "home//a"),
        ("{device_id}/data", "$SYS/data"),
        ("{device_id...}", "$SYS/uptime"),
        ("/home/{device_id}", "home/7"),
        ("t/{device_id}/#", "u/7/x"),
    ],
)
def test_a_topic_is_not_of_the_pattern(pattern: str, topic: str, tmp_path: Path) -> None:
    assert declared(tmp_path, x=f'topic = "{pattern}"').match(topic) is None


def test_device_ids_of_several_levels_are_never_shared_and_lead_back_to_their_topics() -> None:
    pattern = TopicPattern.of("z/{device_id...}")
    levels = ["a", ".", "a.b", "%2E", "%252E", "%25", "%", "2E"]
    topics = [
        "/".join(["z", *some]) for n in (1, 2) for some in itertools.product(levels, repeat=n)
    ]
    ids: dict[str, str] = {}
    for topic in topics:
        device_id = topic.removeprefix("z/").replace("\0", "")
        parts = pattern.parts({"device_id": device_id})
        assert parts.device_id is not None
        assert ids.setdefault(parts.device_id, topic) == topic
        assert pattern.fill(parts.device_id) == topic


@pytest.mark.parametrize(
    ("one", "other", "topic", "receiver"),
    [
        ("a/+/{device_id}", "a/b/{device_id}", "a/b/7", "other"),
        ("a/{device_id}/#", "a/{device_id}/b", "a/7/b", "other"),
        ("a/{device_id}/#", "a/{device_id}/b", "a/7/c", "one"),
        ("a/{device_id...}", "a/+/{device_id}", "a/x/7", "other"),
        ("a/{device_id...}", "a/+/{device_id}", "a/x/y/7", "one"),
        ("a/{device_id...}", "a/{device_id...}/up", "a/x/up", "other"),
        ("{device_id}/{metric}", "{device_id}/{x}", "a/t", "one"),
        ("{device_id}/{metric}", "{device_id}/{x}", "a/v", "other"),
        ("{device_id}/{x}", "a/#", "a/b", "other"),
    ],
)
def test_of_two_patterns_the_more_exact_one_gets_a_topic(
    one: str, other: str, topic: str, receiver: str, tmp_path: Path
) -> None:
    streams = declared(
        tmp_path,
        one=f'topic = "{one}"\ndevice_default = "d"',
        other=f'topic = "{other}"\ndevice_default = "d"',
    )
    assert not streams.unusable
    found = streams.match(topic)
    assert found is not None
    assert found.stream.name == receiver


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a/+/{device_id}", "a/{device_id}/+"),
        ("a/{x}/{device_id}", "a/+/{device_id}"),
        ("a/{device_id...}", "a/#"),
        ("a/{device_id...}/b", "a/{x...}/b"),
        ("{device_id}/{metric}", "{x}/{metric}"),
    ],
)
def test_two_patterns_that_are_equally_exact_stop_the_second(
    one: str, other: str, tmp_path: Path
) -> None:
    streams = declared(
        tmp_path,
        one=f'topic = "{one}"\ndevice_default = "d"',
        other=f'topic = "{other}"\ndevice_default = "d"',
    )
    assert list(streams.unusable.values()) == [
        f"other.toml: topic: overlaps with one.toml: topic ({one})"
    ]


@pytest.mark.parametrize("wide", ["{device_id...}", "#", "{x}/{y}/{z}"])
def test_topics_of_autoforge_precede_those_of_a_wide_stream(wide: str, tmp_path: Path) -> None:
    streams = declared(tmp_path, x=f'topic = "{wide}"\ndevice_default = "d"')
    assert not streams.unusable
    for own in ("control/pump/command", "autoforge/home/notices"):
        assert streams.match(own) is None
        assert own in streams.own_topics
    for topic in ("control/pump/ack", "status/pump"):
        assert streams.match(topic) is None
    assert streams.match("hall/1/t") is not None


def test_the_topics_of_the_broker_itself_are_of_no_stream_unless_it_names_them(
    tmp_path: Path,
) -> None:
    streams = declared(tmp_path, x='topic = "$aws/things/{device_id}"')
    assert "$aws/things/7" not in streams.own_topics
    assert "$SYS/broker/uptime" in streams.own_topics
    assert "$aws/things/{device_id}" not in streams.filters
    assert "$aws/things/+" in streams.filters


def test_an_undeclared_metric_is_that_of_the_most_exact_pattern_unless_excluded(
    tmp_path: Path,
) -> None:
    wide = 'topic = "{device_id}/{metric}/state"'
    exact = 'topic = "ha/{metric}/{device_id}/state"\nexcept = ["automation"]'
    longer = 'topic = "{device_id}/a/b/{metric}"'
    parser = Parser(declared(tmp_path, a=wide, b=exact, c=longer))

    def parsed(topic: str) -> Parsed:
        return parser.parse(Message(topic, b"1", RECEIVED))

    found = parsed("ha/lock/door/state")
    assert isinstance(found, Rejection)
    assert (found.stream, found.reason) == ("b", "unknown_topic")
    assert isinstance(parsed("ha/automation/door/state"), Ignored)


@pytest.mark.parametrize(
    ("topic", "is_excluded"),
    [
        ("zigbee2mqtt/hall", False),
        ("zigbee2mqtt/hall/set", True),
        ("zigbee2mqtt/bridge/state", True),
        ("zigbee2mqtt/bridges", False),
    ],
)
def test_a_level_may_be_excluded(topic: str, is_excluded: bool, tmp_path: Path) -> None:
    text = 'topic = "zigbee2mqtt/{device_id...}"\nexcept = ["bridge", "set"]'
    found = declared(tmp_path, x=text).match(topic)
    assert found is not None
    assert found.is_excluded is is_excluded


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("topic = []", "topic: expected at least one topic"),
        ('topic = ["a/{device_id}", "b"]', "topic: expected the same placeholders in every topic"),
        ('topic = "{x...}/{y...}"', "topic: expected one of {x...}, {y...}, not all of them"),
        ('topic = "a/{x}/{x}"', "topic: expected {x} at most once"),
        ('topic = "a/{metric...}"', "topic: expected {metric}, whose levels may have /"),
        ('topic = "#"\ndevice = "{x}"', "device: expected a placeholder of the topic: none"),
        (
            'topic = "a/{x}"\ndevice = ["{y}"]',
            "device: expected a placeholder of the topic: {x}",
        ),
        ('topic = "a/{x}"\ndevice = []', "device: expected at least one part, such as {gateway}"),
        (
            'topic = "a/{device_id}"\nexcept = ["b/c"]',
            "except: expected levels of topics, not 'b/c'",
        ),
        ('topic = "a/{device_id}"\nexcept = ["+"]', "except: expected levels of topics, not '+'"),
        (
            'topic = "a/{device_id}"\nexcept = ["a"]',
            "except: expected no level of the stream's own topic a/{device_id}",
        ),
    ],
)
def test_a_wrong_topic_is_an_error(text: str, expected: str, tmp_path: Path) -> None:
    streams = declared(tmp_path, good='topic = "good/{device_id}"', x=text)
    assert streams.unusable["x"] == f"{tmp_path}/x.toml: {expected}"


@pytest.mark.parametrize(
    ("keys", "filters"),
    [
        ('topic = "home/+/x/{device_id}"', ["home/+/x/+"]),
        ('topic = "z/{device_id...}"', ["z/+/#"]),
        ('topic = "z/{device_id...}/up"', ["z/+/#"]),
        ('topic = ["a/{device_id}", "b/{device_id}"]', ["a/+", "b/+"]),
        ('topic = ["a/{device_id}", "a/{device_id}/#"]', ["a/+/#"]),
        ('topic = "{device_id}/{metric}"', ["+/+"]),
        (
            'topic = "{device_id}/{metric}/state"\n[metrics.t]\nlevel = "sensor/t"\n[metrics.u]\n',
            ["+/sensor/t/state", "+/u/state"],
        ),
    ],
)
def test_the_filters_of_a_topic_are(keys: str, filters: list[str], tmp_path: Path) -> None:
    streams = declared(tmp_path, x=keys)
    assert [one for one in streams.filters if one not in ("control/+/ack", "status/+")] == filters
    topic = streams["x"].topic_of("a-b", next(iter(streams["x"].topic.metric_levels), ""))
    assert any(topic_matches_sub(one, topic) for one in filters)


def test_a_level_of_a_metric_may_have_several_levels(tmp_path: Path) -> None:
    text = 'topic = "{device_id}/{metric}/state"\n[metrics.t]\nlevel = "sensor/t"\n[metrics.u]\n'
    streams = declared(tmp_path, x=text)
    found = [
        streams.match(topic) for topic in ("7/sensor/t/state", "7/u/state", "7/sensor/u/state")
    ]
    assert [one and (one.device_id, one.level) for one in found] == [
        ("7", "sensor/t"),
        ("7", "u"),
        None,
    ]


def _matches(levels: tuple[str, ...], topic: tuple[str, ...]) -> bool:
    if not levels:
        return not topic
    if levels[0] == "#":
        return any(_matches(levels[1:], topic[start:]) for start in range(len(topic) + 1))
    return bool(topic) and levels[0] in ("+", topic[0]) and _matches(levels[1:], topic[1:])


def test_levels_with_wildcards_anywhere_overlap_and_cover_as_their_topics_do() -> None:
    lengths = (1, 2, 3)
    patterns = [
        one
        for size in lengths
        for one in itertools.product("ab+#", repeat=size)
        if one.count("#") <= 1
    ]
    topics = [one for size in range(1, 6) for one in itertools.product("abc", repeat=size)]
    matched = {one: {topic for topic in topics if _matches(one, topic)} for one in patterns}
    for one, other in itertools.product(patterns, repeat=2):
        assert levels_overlap(one, other) == bool(matched[one] & matched[other]), (one, other)
        assert not levels_cover(one, other) or matched[other] <= matched[one], (one, other)


@pytest.mark.parametrize(
    ("topic", "filters"),
    [
        ("sensors/{device_id}/data", ["sensors/{device_id}/data"]),
        ("panel/{device_id}/{metric}", ["panel/{device_id}/+"]),
        ("home/{gateway}/{device_id}/#", ["home/+/{device_id}/#"]),
        ("zigbee2mqtt/{device_id...}", ["zigbee2mqtt/{device_id}/#"]),
    ],
)
def test_the_filters_of_one_device_keep_its_level(topic: str, filters: list[str]) -> None:
    assert TopicPattern.of(topic).filters("{device_id}") == filters
