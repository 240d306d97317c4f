"""The retained message of an entry is cleared when the entry is removed, moved or no longer retained."""

import itertools
from collections.abc import Callable

import pytest

from broker.in_flight import Outgoing
from broker.tracked_connection import Delivery
from publisher.retained import Retained
from tests.publishing import NEVER, PublisherSite, RecordingSubscriber, entry
from tests.support import Mosquitto, publishing, wait_for
from utils.json_types import JsonObject

PLAIN = entry("plain", retain=True, interval=NEVER)


def kept_by(broker: Mosquitto, topic: str) -> list[JsonObject]:
    """The retained messages that the broker sends to a new subscriber."""
    with RecordingSubscriber(broker.port, topic) as later, publishing(broker.port) as publish:
        publish(topic, '{"of": "the test"}', qos=2)
        later.wait_said(topic, {"of": "the test"})
        # A message that an entry publishes meanwhile without the flag is not a retained one.
        return [found.document for found in later.of(topic) if found.retain]


def one(topic: str, **changes: object) -> JsonObject:
    return entry("one", topic, retain=True, interval=NEVER) | changes


CHANGES: dict[str, Callable[[str], list[JsonObject]]] = {
    "removed": lambda _: [],
    "moved": lambda topic: [one(f"{topic}/new")],
    "unretained": lambda topic: [one(topic, retain=False)],
    "renamed": lambda topic: [one(topic, id="other", retain=False)],
}


@pytest.mark.parametrize("while_it_runs", [True, False], ids=["while it runs", "while it does not"])
def test_the_message_of_a_removed_entry_is_cleared_once(
    site: PublisherSite, while_it_runs: bool
) -> None:
    kinds = {
        f"t/{name}/{lwt}": (name, lwt) for name, lwt in itertools.product(CHANGES, (False, True))
    }
    before = [one(topic, id=topic.replace("/", " "), lwt=lwt) for topic, (_, lwt) in kinds.items()]
    after = [
        changed | {"id": f"{changed['id']} {topic}".replace("/", " "), "lwt": lwt}
        for topic, (name, lwt) in kinds.items()
        for changed in CHANGES[name](topic)
    ]
    publisher = site.service([*before, PLAIN])
    publisher.wait_status(lambda status: len(status["retained"]) == len(before) + 1)
    site.heard.wait("#", len(before) + 1)
    if not while_it_runs:
        publisher.stop()
    publisher.write([*after, PLAIN])
    publisher.start()  # does nothing if it was not stopped
    for topic, (name, lwt) in kinds.items():
        cleared = site.heard.wait_said(topic, None)
        assert kept_by(site.broker, topic) == []
        came = site.heard.of(topic)
        assert [arrival.payload for arrival in came].count(b"") == 1
        if lwt and name in {"removed", "moved"}:
            offline = came[came.index(cleared) - 1]
            assert (offline.document["online"], offline.retain) == (0, True)
    publisher.wait_status(lambda status: not set(status["retained"]) & kinds.keys())
    publisher.stop()
    # Neither the clearing messages nor the test's own on each topic are counted.
    wait_for(lambda: publisher.published() == len(site.heard.of_schedule()) - 2 * len(kinds))


@pytest.mark.parametrize(
    "change",
    [{"data": {"of": "b"}}, {"id": "b"}, {"qos": 2, "interval": NEVER + 1}, {"lwt": True}],
    ids=" ".join,
)
def test_other_changes_and_the_end_clear_nothing(site: PublisherSite, change: JsonObject) -> None:
    publisher = site.service([one("t/one"), PLAIN])
    site.heard.wait("t/one")
    publisher.reload([one("t/one") | change, PLAIN])
    site.heard.wait("t/one", 2)
    publisher.stop()
    assert len(kept_by(site.broker, "t/one")) == 1
    assert all(arrival.payload for arrival in site.heard.of("t/one"))


def test_it_is_cleared_when_the_broker_is_back(site: PublisherSite) -> None:
    publisher = site.service([one("t/away", lwt=True), PLAIN])
    publisher.wait_status(lambda status: status["retained"] == ["t/away", "t/plain"])
    site.broker.stop()
    publisher.wait_status(lambda status: not status["connected"])
    publisher.reload([PLAIN])
    site.broker.start()
    publisher.wait_status(lambda status: status["retained"] == ["t/plain"])
    publisher.wait_connected()
    assert kept_by(site.broker, "t/away") == []


# The rules, without a broker


def test_a_topic_is_cleared_once_and_only_if_something_was_published_there() -> None:
    retained = Retained(["before"])
    retained.published("now")
    retained.want(["other"])
    topics = ["before", "now", "other", "never", "before"]
    requested = [retained.last_of(topic) is not None for topic in topics]
    assert requested == [True, True, False, False, False]
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
def test_a_clearing_message_is_sent_again_if_it_is_lost_and_the_topic_not_wanted_again(
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
    assert (retained.topics(), retained.last_of("a") is not None) == (left, again)
