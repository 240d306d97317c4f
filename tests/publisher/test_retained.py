"""What the broker has retained of an entry is cleared when the entry is removed, moved, or retained no more."""

import itertools
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from broker.in_flight import Outgoing
from broker.tracked_connection import Delivery
from publisher.retained import Retained
from tests.publishing import Program, Subscriber, entry
from tests.support import Mosquitto, publishing, wait_for
from utils.json_types import JsonObject

NEVER = 1000.0
"""An interval that does not end in a test."""
PLAIN = entry("plain", "kept/plain", retain=True, interval=NEVER)
numbers = itertools.count()


def kept_by(broker: Mosquitto, topic: str) -> list[JsonObject]:
    """What the broker gives to a new subscriber."""
    with Subscriber(broker.port, topic) as later, publishing(broker.port) as publish:
        publish(topic, '"after what is kept"')
        later.wait_said(topic, "after what is kept")
        return later.documents(topic)[:-1]


def one(topic: str, **changes: object) -> JsonObject:
    return entry("one", topic, **({"retain": True, "interval": NEVER} | changes))


CHANGES: dict[str, Callable[[str], list[JsonObject]]] = {
    "removed": lambda _: [],
    "moved": lambda topic: [one(f"{topic}/new")],
    "unretained": lambda topic: [one(topic, retain=False)],
    "renamed": lambda topic: [one(topic, id="other", retain=False)],
}


@pytest.mark.process
@pytest.mark.parametrize("while_it_runs", [True, False], ids=["while it runs", "while it does not"])
def test_nothing_is_left_of_an_entry_that_is_removed_or_retained_no_more(
    while_it_runs: bool, tmp_path: Path, broker: Mosquitto
) -> None:
    base = f"kept/{next(numbers)}"
    kinds = {f"{base}/{name}/{lwt}": (name, lwt) for name in CHANGES for lwt in (False, True)}
    before = [one(topic, id=topic.replace("/", " "), lwt=lwt) for topic, (_, lwt) in kinds.items()]
    after = [
        changed | {"id": f"{changed['id']} {topic}".replace("/", " "), "lwt": lwt}
        for topic, (name, lwt) in kinds.items()
        for changed in CHANGES[name](topic)
    ]
    with (
        Subscriber(broker.port, f"{base}/#") as heard,
        Program(tmp_path, broker.port, [*before, PLAIN]) as program,
    ):
        heard.wait("#", len(before))
        program.wait_status(lambda status: len(status["retained"]) == len(before) + 1)
        if not while_it_runs:
            program.stop()
        program.write([*after, PLAIN])
        if not while_it_runs:
            program.start()
        for topic in kinds:
            wait_for(partial(emptied, heard, topic), what="an empty message")
            assert kept_by(broker, topic) == []
            assert [arrival.payload for arrival in heard.of(topic)].count(b"") == 1
        program.wait_status(lambda status: not set(status["retained"]) & kinds.keys())


def emptied(heard: Subscriber, topic: str) -> bool:
    return any(not arrival.payload for arrival in heard.of(topic))


@pytest.mark.process
@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"data": {"of": "new"}}, id="data"),
        pytest.param({"id": "other"}, id="id"),
        pytest.param({"qos": 2, "interval": NEVER + 1}, id="how it is published"),
        pytest.param({"lwt": True}, id="will"),
    ],
)
def test_a_change_of_anything_else_clears_nothing(
    change: JsonObject, tmp_path: Path, broker: Mosquitto
) -> None:
    topic = f"kept/{next(numbers)}"
    with (
        Subscriber(broker.port, topic) as heard,
        Program(tmp_path, broker.port, [one(topic), PLAIN]) as program,
    ):
        heard.wait(topic)
        program.write([one(topic) | change, PLAIN])
        heard.wait(topic, 2)
        program.stop()
        assert [
            len(kept_by(broker, topic)),
            all(arrival.payload for arrival in heard.of(topic)),
        ] == [1, True]


@pytest.mark.process
def test_the_end_of_the_publisher_clears_nothing(tmp_path: Path, broker: Mosquitto) -> None:
    topic = f"kept/{next(numbers)}"
    with (
        Program(tmp_path, broker.port, [one(topic), PLAIN]) as program,
        Subscriber(broker.port, topic) as heard,
    ):
        heard.wait(topic)
        program.stop(signal.SIGTERM)
    assert len(kept_by(broker, topic)) == 1


@pytest.mark.process
def test_it_is_cleared_when_a_broker_that_was_away_is_back(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    with Program(tmp_path, mosquitto.port, [one("kept/away", lwt=True), PLAIN]) as program:
        program.wait_status(lambda status: status["retained"] == ["kept/away", "kept/plain"])
        mosquitto.stop()
        program.wait_status(lambda status: not status["connected"])
        program.write([PLAIN])
        program.wait_status(lambda status: status["active_configs"] == 1)
        mosquitto.start()
        program.wait_status(
            lambda status: status["connected"] and status["retained"] == ["kept/plain"], 30
        )
        assert kept_by(mosquitto, "kept/away") == []


# The rules, without a broker


def cleared(retained: Retained, topic: str) -> bool:
    """Whether a message that clears a topic is asked for; it is not settled."""
    return retained.last_of(topic) is not None


def test_a_topic_is_cleared_once_and_only_if_something_was_published_there() -> None:
    retained = Retained(["before"])
    retained.published("now")
    retained.want(["other"])
    assert [cleared(retained, topic) for topic in ("before", "now", "other", "never")] == [
        True,
        True,
        False,
        False,
    ]
    assert not cleared(retained, "before")
    assert retained.topics() == ["before", "now"]


@pytest.mark.parametrize(
    ("delivery", "left", "again"),
    [(Delivery.CONFIRMED, [], False), (Delivery.REFUSED, [], False), (Delivery.LOST, ["a"], True)],
)
def test_only_a_lost_message_is_sent_again(
    delivery: Delivery, left: list[str], again: bool
) -> None:
    retained = Retained(["a"])
    retained.want([])
    last = retained.last_of("a")
    assert last is not None
    assert last[0] == Outgoing("a", b"", 1, retain=True)
    last[1].on_delivery(delivery)
    assert (retained.topics(), cleared(retained, "a")) == (left, again)


def test_a_topic_that_is_wanted_again_meanwhile_is_not_cleared_again() -> None:
    retained = Retained(["a"])
    retained.want([])
    last = retained.last_of("a")
    assert last is not None
    retained.want(["a"])
    last[1].on_delivery(Delivery.LOST)
    assert (retained.topics(), cleared(retained, "a")) == (["a"], False)
