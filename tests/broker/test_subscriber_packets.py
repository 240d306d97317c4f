"""The subscriber, packet by packet: what it asks for, what it acknowledges, on which connection and in which order."""

from collections.abc import Callable, Iterator

import pytest

from broker import batch
from broker.message import Filters
from config import Settings
from tests.receivers import RecordingReceiver, running
from tests.scripted_broker import (
    CONNACK,
    CONNECT,
    PUBACK,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    ScriptedBroker,
    scripted_broker,
)
from tests.support import wait_for

CLEAN_SESSION = 2


@pytest.fixture
def broker() -> Iterator[ScriptedBroker]:
    with scripted_broker() as made:
        yield made


@pytest.fixture
def store(settings: Callable[..., Settings], broker: ScriptedBroker) -> Iterator[RecordingReceiver]:
    """What a subscriber to the broker hands over."""
    made = RecordingReceiver()
    with running(settings(mqtt_broker="127.0.0.1", mqtt_port=broker.port), made):
        yield made
        broker.close()


def test_it_asks_for_a_session_that_lasts_and_for_qos_1(
    store: RecordingReceiver, broker: ScriptedBroker
) -> None:
    connect, subscribe = broker.accept().welcome(session_present=False)
    protocol = b"\0\4MQTT\4"
    assert connect.body.startswith(protocol)
    assert not connect.body[len(protocol)] & CLEAN_SESSION
    assert subscribe.body[2:] == b"\0\3t/#\1"


def test_it_acknowledges_in_the_order_received(
    store: RecordingReceiver, broker: ScriptedBroker
) -> None:
    peer = broker.accept()
    peer.welcome(session_present=False)
    store.open.clear()
    for packet_id in (3, 1, 2):
        peer.publish(packet_id, b"x")
    wait_for(lambda: store.refusals, what="the first attempt to store")
    store.open.set()
    assert [peer.expect(PUBACK).packet_id for _ in range(3)] == [3, 1, 2]


def test_it_acknowledges_on_no_other_connection_than_the_message_came_on(
    store: RecordingReceiver, broker: ScriptedBroker
) -> None:
    first = broker.accept()
    first.welcome(session_present=False)
    store.open.clear()
    for packet_id in (1, 2):
        first.publish(packet_id, b"before")
    wait_for(lambda: store.refusals, what="the first attempt to store")
    first.close()
    second = broker.accept()
    second.welcome(session_present=True)
    store.open.set()
    wait_for(lambda: len(store.messages) == 2, what="what the first connection brought")
    second.publish(7, b"after")
    # It acknowledges in order: one of the first connection would come before this.
    assert second.expect(PUBACK).packet_id == 7
    assert store.payloads == [b"before", b"before", b"after"]


def test_what_is_sent_again_while_it_is_held_is_held_once(
    store: RecordingReceiver, broker: ScriptedBroker
) -> None:
    peer = broker.accept()
    peer.welcome(session_present=False)
    store.open.clear()
    for again in (False, True, True):
        peer.publish(1, b"waits", again=again)
    wait_for(lambda: store.refusals, what="the first attempt to store")
    peer.publish(2, b"next")
    store.open.set()
    assert [peer.expect(PUBACK).packet_id for _ in range(2)] == [1, 2]
    assert store.payloads == [b"waits", b"next"]


def test_what_fills_the_memory_before_the_subscription_is_granted_is_handed_over(
    store: RecordingReceiver, broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MAX_HELD", 3)
    peer = broker.accept()
    peer.expect(CONNECT)
    peer.send(CONNACK, b"\1\0")
    subscribe = peer.expect(SUBSCRIBE)
    for packet_id in range(1, 6):
        peer.publish(packet_id, b"waited")
    assert [peer.expect(PUBACK).packet_id for _ in range(3)] == [1, 2, 3]
    assert not store.subscriptions
    peer.send(SUBACK, subscribe.body[:2] + b"\1")
    assert [peer.expect(PUBACK).packet_id for _ in range(2)] == [4, 5]
    wait_for(lambda: store.subscriptions == 1, what="the subscription")


def test_what_fills_the_memory_before_a_filter_is_given_up_is_handed_over(
    settings: Callable[..., Settings], broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MAX_HELD_BYTES", 30)
    made = RecordingReceiver()
    place = settings(mqtt_broker="127.0.0.1", mqtt_port=broker.port)
    with running(place, made, Filters(["t/#"], ["old/#"])):
        peer = broker.accept()
        peer.welcome(session_present=True)
        unsubscribe = peer.expect(UNSUBSCRIBE)
        for packet_id in (1, 2):
            peer.publish(packet_id, b"x" * 20)
        assert [peer.expect(PUBACK).packet_id for _ in range(2)] == [1, 2]
        assert not made.subscriptions
        peer.send(UNSUBACK, unsubscribe.body[:2])
        wait_for(lambda: made.subscriptions, what="the end of the old filter")
        broker.close()
