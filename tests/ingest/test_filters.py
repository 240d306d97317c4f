"""What is subscribed to: every topic of the streams, what lies beside it, and no message twice."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from paho.mqtt.client import topic_matches_sub

from broker.message import Message
from config import PROJECT, Settings, SettingsError, load_settings
from ingest.message import Ignored, Reading, Rejection
from ingest.payload import Parser
from streams import declaration
from streams.checks import StreamError
from streams.registry import Streams, filters_for
from streams.topics import TopicPattern
from tests.support import DEVICE_TOPICS
from utils import clock
from utils.topic_filters import covers, fewest, overlap

Make = Callable[..., Settings]
FILTERS = [
    "#",
    "+",
    "+/a/#",
    "+/+",
    "a",
    "a/#",
    "a/+",
    "a/b",
    "a/+/c",
    "a/b/#",
    "+/b",
    "+/b/c",
    "b/#",
]
LEVELS = ["a", "b", "c", "x"]
TOPICS = [
    "/".join(levels) for depth in (1, 2, 3, 4) for levels in itertools.product(LEVELS, repeat=depth)
]


def pattern(text: str, *levels: str) -> TopicPattern:
    return TopicPattern(tuple(text.split("/")), {level: (level,) for level in levels})


@pytest.mark.parametrize("one", FILTERS)
@pytest.mark.parametrize("other", FILTERS)
def test_filters_cover_and_cross_as_their_topics_do(one: str, other: str) -> None:
    mine = {topic for topic in TOPICS if topic_matches_sub(one, topic)}
    theirs = {topic for topic in TOPICS if topic_matches_sub(other, topic)}
    assert covers(one, other) == (theirs <= mine)
    assert overlap(one, other) == bool(mine & theirs)


PANELS = pattern("panel/{device_id}/{metric}", "volt", "power")
ACK = pattern("control/{device_id}/ack")
SENSORS = pattern("{device_id}/sensors/{metric}", "temp")


@pytest.mark.parametrize(
    ("patterns", "catch_all", "topics"),
    [
        (
            [PANELS, ACK, SENSORS],
            "",
            ["panel/t1/nothing", "e1/sensors/humidty", "panel/sensors/x", "control/a/ack"],
        ),
        (
            [PANELS, SENSORS, pattern("lab/{device_id}/{metric}", "val")],
            "",
            ["lab/e1/vall", "panel/t1/nothing"],
        ),
        (
            [PANELS, pattern("{device_id}/tele/STATE")],
            "",
            ["panel/t1/nothing", "panel/tele/STATE", "x/tele/STATE"],
        ),
        ([pattern("{metric}/all", "u"), pattern("x/{device_id}")], "", ["i/all", "x/all", "x/1"]),
        ([PANELS], "panel/+/volt/#", ["panel/t1/nothing", "panel/t1/volt/raw", "panel/t1/volt"]),
    ],
)
def test_no_filter_is_narrowed_because_it_crosses_another(
    patterns: list[TopicPattern], catch_all: str, topics: list[str]
) -> None:
    filters = filters_for(patterns, catch_all)
    assert {one for pattern in patterns for one in pattern.filters()} <= {*filters}
    assert not [
        topic for topic in topics if not any(topic_matches_sub(one, topic) for one in filters)
    ]
    beside = {"other/t1/x/y", "control/a/command", "e1/sensor/humidity"}
    assert not [topic for topic in beside if any(topic_matches_sub(one, topic) for one in filters)]


@pytest.mark.parametrize(
    ("patterns", "catch_all", "expected"),
    [
        ([pattern("s/{device_id}/data")], "", ["s/+/data"]),
        ([pattern("p/{device_id}/{metric}", "u", "i")], "", ["p/+/+"]),
        ([pattern("p/{device_id}/{metric}", "u"), pattern("p/main/{device_id}")], "", ["p/+/+"]),
        ([pattern("{device_id}/{metric}", "u"), pattern("status/{device_id}")], "", ["+/+"]),
        ([pattern("s/{device_id}/data"), pattern("x/y")], "#", ["#"]),
        ([pattern("s/{device_id}/data"), pattern("x/y")], "s/#", ["x/y", "s/#"]),
        ([pattern("s/{device_id}/data"), pattern("x/y")], "site/#", ["s/+/data", "x/y", "site/#"]),
    ],
)
def test_the_fewest_filters_are_subscribed_to(
    patterns: list[TopicPattern], catch_all: str, expected: list[str]
) -> None:
    assert filters_for(patterns, catch_all) == expected
    assert not any(overlap(one, other) for one in expected for other in expected if one != other)


def test_the_same_filter_is_not_subscribed_to_twice() -> None:
    assert fewest(["a/+", "a/+", "a/b"]) == ["a/+"]


def test_what_is_declared_is_listed_as_declared(streams: Streams) -> None:
    assert streams["panels"].topic.subscriptions() == [
        f"panel/+/{metric}" for metric in ("volt", "ampere", "power", "energy_cost")
    ]
    assert set(streams["panels"].topic.subscriptions()) < set(streams.subscriptions())
    assert "panel/+/+" in streams.filters


@pytest.mark.parametrize("text", ["#", "site/#", "+/site/#", "site/+/raw", "a b/#"])
def test_a_catch_all_is_a_topic_filter(text: str) -> None:
    assert load_settings(_env_file=None, catch_all_topic=text).catch_all_topic == text


def test_the_other_spelling_of_everything_is_everything() -> None:
    assert load_settings(_env_file=None, catch_all_topic="+/#").catch_all_topic == "#"


@pytest.mark.parametrize(
    "text",
    [
        "site#",
        "#/a",
        "a/+b",
        "/a",
        "$SYS/#",
        "$share/g/#",
        "a/#/b",
        "a\x01/#",
        "a\u200b/#",
        "+/" * 200 + "#",
    ],
)
def test_what_is_no_topic_filter_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"CATCH_ALL_TOPIC=.*one topic filter such as"):
        load_settings(_env_file=None, catch_all_topic=text)


def test_a_catch_all_that_cuts_a_topic_in_two_is_refused(settings: Make, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "halls.toml").write_text('topic = "{device_id}/hall/data"\n[metrics.t]\n')
    with pytest.raises(
        StreamError, match=r"CATCH_ALL_TOPIC=site/#: expected .* all of \+/hall/data or none of it"
    ):
        declaration.declared(settings(streams_dir=tmp_path / "s", catch_all_topic="site/#"))


@pytest.mark.parametrize(
    ("topic", "own"),
    [
        ("$SYS/broker/uptime", True),
        ("autoforge/0123456789ab/notices", True),
        ("autoforge/nothing/notices", True),
        ("autoforge/elsewhere", False),
        ("control/a/command", True),
        ("control/a/ack", False),
        ("harit-samarth/status", True),
        ("harit-samarth/soil-health/analysis", True),
        ("plant/x", False),
    ],
)
def test_what_autoforge_publishes_itself_is_nobody_s_reading(topic: str, own: bool) -> None:
    folder = Settings(_env_file=None).streams_dir
    assert (topic in declaration.load(folder, {}, DEVICE_TOPICS, "#").own_topics) is own


def test_what_autoforge_publishes_itself_is_ignored_where_a_wide_stream_hears_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "soil.toml").write_text((PROJECT / "streams" / "soil.toml").read_text())
    (tmp_path / "home.toml").write_text('topic = "{device_id}/{metric}"\n[metrics.volt]\n')
    parser = Parser(declaration.load(tmp_path, {}, DEVICE_TOPICS))
    for topic, becomes in (
        ("harit-samarth/status", Ignored),
        ("control/a/command", Ignored),
        ("a/volt", Reading),
        ("a/other", Rejection),
    ):
        assert isinstance(parser.parse(Message(topic, b"1", clock.now())), becomes), topic
