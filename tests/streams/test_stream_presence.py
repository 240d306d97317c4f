"""`[presence]` of a stream: what may be declared, what is subscribed to, and whose topics are whose."""

import re

import pytest

from services import broker_access
from streams.files import LIBRARY
from tests.declarations import METRIC, TOPIC, Declare
from tests.support import PROJECT

DEFAULT = '[presence]\ntopic = "a/{device_id}/here"\n'


def text(presence: str, stream: str = TOPIC) -> str:
    return f"{stream}[presence]\n{presence}\n{METRIC}"


def reason(declare: Declare, presence: str, stream: str = TOPIC) -> str:
    """Why the declaration cannot be used, without the folder."""
    good = f'topic = "good"\ndevice = "d"\n{METRIC}'
    return declare(good=good, x=text(presence, stream)).unusable["x"].rpartition("/x.toml: ")[2]


def test_the_words_have_a_default(declare: Declare) -> None:
    rules = declare(x=TOPIC + DEFAULT + METRIC)["x"].presence
    assert rules is not None
    assert rules.words == {"online": ("online",), "offline": ("offline",)}


@pytest.mark.parametrize(
    ("presence", "expected"),
    [
        ('online = "on"', "presence: Object missing required field `topic`"),
        ('topic = "a/+/b"', "presence.topic: expected a level {device_id}, for the device id"),
        ('topic = "a/{device_id...}/b"', "presence.topic: expected a level {device_id}, for the"),
        ('topic = "a/{device_id}/{metric}"', "presence.topic: expected a topic without {metric}"),
        ('topic = "a/{device_id}/b{x}"', "presence.topic: expected {device_id}, {metric}, another"),
        ('topic = "a//{device_id}"', "presence.topic: expected no empty level behind the first"),
        ('topic = ["a/{device_id}/b"]', "presence.topic: Expected `str`, got `array`"),
        ('topic = "p/{device_id}"\nonline = true', "presence.online: Expected `str | array`, got"),
        ('topic = "p/{device_id}"\nonline = ""', "presence.online: expected a word; an empty"),
        ('topic = "p/{device_id}"\nonline = []', "presence.online: expected at least one word"),
        ('topic = "p/{device_id}"\noffline = "a\\u200b"', "presence.offline: expected a text with"),
        (
            'topic = "p/{device_id}"\noffline = "{off}"',
            "presence.offline: expected JSON or a word, not '{off}': JSON is malformed",
        ),
        (
            'topic = "p/{device_id}"\noffline = ["off", " online "]',
            "presence.offline: expected other words than those of online",
        ),
        (
            'topic = "p/{device_id}"\nonline = \'{"a":1}\'\noffline = \'{ "a": 1 }\'',
            "presence.offline: expected other words than those of online",
        ),
        ('topic = "p/{device_id}"\nwords = 1', "presence: Object contains unknown field `words`"),
    ],
)
def test_a_wrong_key_makes_the_stream_unusable_and_is_named(
    presence: str, expected: str, declare: Declare
) -> None:
    assert reason(declare, presence).startswith(expected)


@pytest.mark.parametrize(
    ("stream", "presence", "topic", "device_id"),
    [
        (TOPIC, "a/{device_id}/here", "a/7/here", "7"),
        (
            'topic = "o/{user}/{phone}"\ndevice = ["{user}", "{phone}"]\n',
            "o/{phone}/of/{user}",
            "o/pixel/of/jane",
            "jane-pixel",
        ),
        ('topic = "z/{device_id...}"\n', "z/{device_id...}/up", "z/a.b/c/up", "a%2Eb.c"),
        ('topic = "plant"\ndevice = "machine"\n', "plant/{device_id}/up", "plant/m1/up", "m1"),
        (TOPIC, "+/{room}/{device_id}/up", "x/y/7/up", "7"),
    ],
)
def test_its_topic_names_the_devices_of_the_stream(
    stream: str, presence: str, topic: str, device_id: str, declare: Declare
) -> None:
    found = declare(x=text(f'topic = "{presence}"', stream))["x"]
    assert found.presence is not None
    pattern = found.presence.pattern
    assert pattern.filters()[0] in declare().filters
    matched = re.fullmatch(pattern.regex(), topic)
    assert matched is not None
    assert found.device_of(pattern.parts(matched.groupdict())) == device_id


def test_a_placeholder_that_the_device_id_needs_must_be_there(declare: Declare) -> None:
    stream = 'topic = "o/{user}/{phone}"\ndevice = ["{user}", "{phone}"]\n'
    expected = "presence.topic: expected a level {phone}, for the device id"
    assert reason(declare, 'topic = "p/{user}"', stream) == expected


@pytest.mark.parametrize(
    ("presence", "overlaps"),
    [
        ("a/{device_id}", "x.toml: topic (a/{device_id})"),
        ("status/{device_id}", "STATUS_TOPIC (status/{device_id})"),
        ("control/{device_id}/ack", "ACK_TOPIC (control/{device_id}/ack)"),
        ("control/{device_id}/command", "CONTROL_TOPIC (control/{device_id}/command)"),
        ("autoforge/{device_id}/notices", "AutoForge's notices (autoforge/{device_id}/notices)"),
        ("other/{device_id}/here", "other.toml: presence.topic (other/{device_id}/here)"),
        ("other/{device_id}/t", "other.toml: topic (other/{device_id}/t)"),
    ],
)
def test_its_topic_conflicts_with_equal_ones(
    presence: str, overlaps: str, declare: Declare
) -> None:
    other = text('topic = "other/{device_id}/here"', 'topic = "other/{device_id}/t"\n')
    streams = declare(other=other, x=text(f'topic = "{presence}"'))
    assert streams.unusable == {"x": f"x.toml: presence.topic: overlaps with {overlaps}"}


def test_a_stream_may_not_take_the_presence_topic_of_another_one(declare: Declare) -> None:
    declare(one=TOPIC + DEFAULT + METRIC)
    streams = declare(two=f'topic = "a/{{device_id}}/here"\n{METRIC}')
    told = "two.toml: topic: overlaps with one.toml: presence.topic (a/{device_id}/here)"
    assert streams.unusable == {"two": told}


def test_its_topic_may_lie_in_that_of_the_stream_and_is_not_excepted(declare: Declare) -> None:
    stream = 'topic = "z/{device_id...}"\nexcept = ["availability"]\n'
    streams = declare(z=text('topic = "z/{device_id...}/availability"', stream))
    assert streams.match("z/kitchen/fridge/availability") is None
    assert streams.match("z/kitchen/fridge") is not None
    assert "z/+/#" in streams.filters


def test_what_autoforge_publishes_may_be_more_specific(declare: Declare) -> None:
    health = '[health]\nstatus_topic = "said/status"\n'
    streams = declare(
        x=text('topic = "{device_id}/status"'), y=f'topic = "y/{{device_id}}"\n{health}{METRIC}'
    )
    assert not streams.unusable
    assert ("said/status" in streams.own_topics, "b/status" in streams.own_topics) == (True, False)


def test_the_access_list_lets_each_device_say_it(declare: Declare) -> None:
    lines = broker_access.mosquitto(declare(x=TOPIC + DEFAULT + METRIC), "autoforge").splitlines()
    assert "topic read a/+/here" in lines
    assert "pattern write a/%u/here" in lines


def test_the_shipped_streams_and_the_library_go_together(declare: Declare) -> None:
    files = [*(PROJECT / "streams").glob("*.toml"), *LIBRARY.glob("*.toml")]
    assert not declare(**{file.stem: file.read_text() for file in files}).unusable


def test_the_presence_topic_of_a_file_that_is_no_toml_is_not_its_topic(declare: Declare) -> None:
    broken = f'topic = ["a/{{device_id}}"]\n{DEFAULT}{METRIC}= 1\n'
    streams = declare(x=broken, good='topic = "good"\ndevice = "d"\n' + METRIC)
    assert "x" in streams.unusable
    assert not streams.knows_all_topics
