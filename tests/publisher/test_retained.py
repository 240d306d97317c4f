"""What the broker has retained of an entry is cleared when the entry is removed, moved, or retained no more."""

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from broker.in_flight import Outgoing
from broker.tracked_connection import Delivery
from publisher.retained import Retained
from tests.publishing import NEVER, Program, Run, Subscriber, entry
from tests.support import Mosquitto, publishing, wait_for
from utils.json_types import JsonObject

PLAIN = entry("plain", "kept/plain", retain=True, interval=NEVER)
topics = map("kept/{}".format, itertools.count())


def kept_by(broker: Mosquitto, topic: str) -> list[JsonObject]:
    """What the broker gives to a new subscriber."""
    with Subscriber(broker.port, topic) as later, publishing(broker.port) as publish:
        publish(topic, '"after what is kept"')
        later.wait_said(topic, "after what is kept")
        return later.documents(topic)[:-1]


def one(topic: str, **changes: object) -> JsonObject:
    return entry("one", topic, retain=True, interval=NEVER) | changes


CHANGES: dict[str, Callable[[str], list[JsonObject]]] = {
    "removed": lambda _: [],
    "moved": lambda topic: [one(f"{topic}/new")],
    "unretained": lambda topic: [one(topic, retain=False)],
    "renamed": lambda topic: [one(topic, id="other", retain=False)],
}


@pytest.mark.process
@pytest.mark.parametrize("while_it_runs", [True, False], ids=["while it runs", "while it does not"])
def test_nothing_is_left_of_an_entry_that_is_removed_or_retained_no_more(
    while_it_runs: bool, run: Run, broker: Mosquitto
) -> None:
    base = next(topics)
    kinds = {f"{base}/{name}/{lwt}": (name, lwt) for name in CHANGES for lwt in (False, True)}
    before = [one(topic, id=topic.replace("/", " "), lwt=lwt) for topic, (_, lwt) in kinds.items()]
    after = [
        changed | {"id": f"{changed['id']} {topic}".replace("/", " "), "lwt": lwt}
        for topic, (name, lwt) in kinds.items()
        for changed in CHANGES[name](topic)
    ]
    with run(f"{base}/#", [*before, PLAIN]) as (heard, program):
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
    [{"data": {"of": "b"}}, {"id": "b"}, {"qos": 2, "interval": NEVER + 1}, {"lwt": True}],
    ids=" ".join,
)
def test_any_other_change_clears_nothing(change: JsonObject, run: Run, broker: Mosquitto) -> None:
    topic = next(topics)
    with run(topic, [one(topic), PLAIN]) as (heard, program):
        heard.wait(topic)
        program.write([one(topic) | change, PLAIN])
        heard.wait(topic, 2)
        program.stop()
        assert len(kept_by(broker, topic)) == 1
        assert all(arrival.payload for arrival in heard.of(topic))


@pytest.mark.process
def test_the_end_of_the_publisher_clears_nothing(run: Run, broker: Mosquitto) -> None:
    topic = next(topics)
    with run(topic, [one(topic), PLAIN]) as (heard, program):
        heard.wait(topic)
        program.stop()
    assert len(kept_by(broker, topic)) == 1


@pytest.mark.process
def test_it_is_cleared_when_the_broker_is_back_again(tmp_path: Path, mosquitto: Mosquitto) -> None:
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
    topics = ["before", "now", "other", "never", "before"]
    assert [cleared(retained, topic) for topic in topics] == [True, True, False, False, False]
    assert retained.topics() == ["before", "now"]


@pytest.mark.parametrize(
    ("delivery", "wanted", "left", "again"),
    [
        (Delivery.CONFIRMED, False, [], False),
        (Delivery.REFUSED, False, [], False),
        (Delivery.LOST, False, ["a"], True),
        (Delivery.LOST, True, ["a"], False),
    ],
)
def test_only_what_is_lost_and_not_wanted_meanwhile_is_sent_again(
    delivery: Delivery, wanted: bool, left: list[str], again: bool
) -> None:
    retained = Retained(["a"])
    retained.want([])
    last = retained.last_of("a")
    assert last is not None
    assert last[0] == Outgoing("a", b"", 1, retain=True)
    if wanted:
        retained.want(["a"])
    last[1].on_delivery(delivery)
    assert (retained.topics(), cleared(retained, "a")) == (left, again)
