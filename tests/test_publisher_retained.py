"""What the broker has retained of an entry is cleared when the entry is removed, moved, or retained no more."""

import itertools
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from publisher.line import Message, Outcome
from publisher.retained import Retained
from tests.publishing import Document, Program, Subscriber, entry
from tests.support import Mosquitto, publishing, wait_for

NEVER = 1000.0
"""An interval that does not end in a test."""
PLAIN = entry("plain", "kept/plain", retain=True, interval=NEVER)
numbers = itertools.count()


def kept_by(broker: Mosquitto, topic: str) -> list[Document]:
    """What the broker gives to a new subscriber."""
    with Subscriber(broker.port, topic) as later, publishing(broker.port) as publish:
        publish(topic, '"after what is kept"')
        later.wait_said(topic, "after what is kept")
        return later.documents(topic)[:-1]


def one(topic: str, **changes: object) -> Document:
    return entry("one", topic, **({"retain": True, "interval": NEVER} | changes))


CHANGES: dict[str, Callable[[str], list[Document]]] = {
    "removed": lambda _: [],
    "on another topic": lambda topic: [one(f"{topic}/new")],
    "retained no more": lambda topic: [one(topic, retain=False)],
    "under another id, retained no more": lambda topic: [one(topic, id="other", retain=False)],
}


@pytest.mark.parametrize("lwt", [False, True], ids=["without a will", "with a will"])
@pytest.mark.parametrize("while_it_runs", [True, False], ids=["while it runs", "while it does not"])
@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_left_of_an_entry_that_is(
    change: str, while_it_runs: bool, lwt: bool, tmp_path: Path, broker: Mosquitto
) -> None:
    topic = f"kept/{next(numbers)}"
    after = [dict(new, lwt=lwt) for new in CHANGES[change](topic)]
    with (
        Subscriber(broker.port, topic) as heard,
        Program(tmp_path, broker.port, [one(topic, lwt=lwt), PLAIN]) as program,
    ):
        heard.wait(topic)
        program.wait_status(lambda status: topic in status["retained"])
        if while_it_runs:
            program.write([*after, PLAIN])
        else:
            program.stop()
            program.write([*after, PLAIN])
            program.start()
        wait_for(lambda: any(not arrival.payload for arrival in heard.of(topic)), what="an empty message")
        assert kept_by(broker, topic) == []
        program.wait_status(lambda status: topic not in status["retained"])
        said = [arrival.payload for arrival in heard.of(topic)]
        assert said.count(b"") == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"data": {"of": "new"}}, id="data"),
        pytest.param({"id": "other"}, id="id"),
        pytest.param({"qos": 2, "interval": NEVER + 1}, id="how it is published"),
        pytest.param({"lwt": True}, id="will"),
    ],
)
def test_a_change_of_anything_else_clears_nothing(change: Document, tmp_path: Path, broker: Mosquitto) -> None:
    topic = f"kept/{next(numbers)}"
    with Subscriber(broker.port, topic) as heard, Program(tmp_path, broker.port, [one(topic), PLAIN]) as program:
        heard.wait(topic)
        program.write([one(topic) | change, PLAIN])
        heard.wait(topic, 2)
        program.stop()
        assert [len(kept_by(broker, topic)), all(arrival.payload for arrival in heard.of(topic))] == [1, True]


def test_the_end_of_the_publisher_clears_nothing(tmp_path: Path, broker: Mosquitto) -> None:
    topic = f"kept/{next(numbers)}"
    with Program(tmp_path, broker.port, [one(topic), PLAIN]) as program, Subscriber(broker.port, topic) as heard:
        heard.wait(topic)
        program.stop(signal.SIGTERM)
    assert len(kept_by(broker, topic)) == 1


def test_it_is_cleared_when_a_broker_that_was_away_is_back(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with Program(tmp_path, mosquitto.port, [one("kept/away", lwt=True), PLAIN]) as program:
        program.wait_status(lambda status: status["retained"] == ["kept/away", "kept/plain"])
        mosquitto.stop()
        program.wait_status(lambda status: not status["connected"])
        program.write([PLAIN])
        program.wait_status(lambda status: status["active_configs"] == 1)
        mosquitto.start()
        program.wait_status(lambda status: status["connected"] and status["retained"] == ["kept/plain"], 30)
        assert kept_by(mosquitto, "kept/away") == []


# The rules, without a broker


def cleared(retained: Retained, topic: str) -> bool:
    """Whether a message that clears a topic is asked for; it is not settled."""
    return retained.last_of(topic) is not None


def test_a_topic_is_cleared_once_and_only_if_something_was_published_there() -> None:
    retained = Retained(["before"])
    retained.published("now")
    retained.want(["other"])
    assert [cleared(retained, topic) for topic in ("before", "now", "other", "never")] == [True, True, False, False]
    assert not cleared(retained, "before")
    assert retained.topics() == ["before", "now"]


def test_the_message_is_empty_and_retained_and_confirmed() -> None:
    retained = Retained(["a"])
    retained.want([])
    last = retained.last_of("a")
    assert last is not None
    assert last[0] == Message("a", b"", 1, retain=True)


@pytest.mark.parametrize(
    ("outcome", "left", "again"),
    [(Outcome.CONFIRMED, [], False), (Outcome.REFUSED, [], False), (Outcome.LOST, ["a"], True)],
)
def test_only_a_lost_message_is_sent_again(outcome: Outcome, left: list[str], again: bool) -> None:
    retained = Retained(["a"])
    retained.want([])
    last = retained.last_of("a")
    assert last is not None
    last[1].settled(outcome)
    assert (retained.topics(), cleared(retained, "a")) == (left, again)


def test_a_topic_that_is_wanted_again_meanwhile_is_not_cleared_again() -> None:
    retained = Retained(["a"])
    retained.want([])
    last = retained.last_of("a")
    assert last is not None
    retained.want(["a"])
    last[1].settled(Outcome.LOST)
    assert (retained.topics(), cleared(retained, "a")) == (["a"], False)
