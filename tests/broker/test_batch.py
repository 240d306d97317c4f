"""The batch of received messages: what it holds, how much, and what it acknowledges."""

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from broker import batch
from broker.batch import MessageBatch
from broker.subscriptions import Subscriptions

CLIENT = Client(CallbackAPIVersion.VERSION2)


def received(
    packet_id: int, payload: bytes = b"x", *, qos: int = 1, again: bool = False
) -> MQTTMessage:
    message = MQTTMessage(packet_id, b"t/1")
    message.payload = payload
    message.qos = qos
    message.dup = again
    return message


def add(made: MessageBatch, *messages: MQTTMessage) -> None:
    for message in messages:
        made.on_message(CLIENT, None, message)


@pytest.fixture
def made() -> MessageBatch:
    return MessageBatch(Subscriptions(["t/#"], version5=False))


def test_it_acknowledges_in_the_order_received_and_begins_anew(made: MessageBatch) -> None:
    add(made, received(3), received(1), received(0, qos=0), received(2))
    assert [message.packet_id for message in made.messages] == [3, 1, 0, 2]
    assert list(made.stored()) == [3, 1, 2]
    assert (made.messages, list(made.stored())) == ([], [])


def test_each_message_is_later_than_the_one_before(made: MessageBatch) -> None:
    made.begin_round()
    add(made, received(1), received(2))
    first, second = made.messages
    assert first.received_at < second.received_at


def test_what_is_sent_again_while_it_is_held_is_held_once(made: MessageBatch) -> None:
    add(made, received(1), received(1, again=True), received(2, again=True))
    assert [message.packet_id for message in made.messages] == [1, 2]


def test_after_a_lost_connection_it_keeps_the_messages_and_no_packet_id(made: MessageBatch) -> None:
    add(made, received(1))
    made.connection_lost()
    add(made, received(1, again=True))
    assert len(made.messages) == 2
    assert list(made.stored()) == [1]


def test_a_topic_that_is_no_utf_8_is_escaped(made: MessageBatch) -> None:
    message = MQTTMessage(1, b"t/\xff")
    add(made, message)
    (held,) = made.messages
    assert (held.topic, held.valid_topic) == ("t/\\xff", False)


@pytest.mark.parametrize("limit", ["MAX_BATCH", "MAX_BATCH_BYTES"])
def test_a_round_ends_at_its_limit_and_the_next_one_goes_on(
    made: MessageBatch, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(batch, limit, 2)
    made.begin_round()
    add(made, received(1))
    assert made.takes_more(connected=True)
    add(made, received(2))
    assert not made.takes_more(connected=True)
    made.begin_round()
    assert made.takes_more(connected=True)


@pytest.mark.parametrize("limit", ["MAX_HELD", "MAX_HELD_BYTES"])
def test_a_full_batch_takes_more_only_to_read_the_answer_to_connect(
    made: MessageBatch, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(batch, limit, 2)
    made.begin_round()
    add(made, received(1))
    assert not made.full
    add(made, received(2))
    assert made.full
    assert not made.takes_more(connected=True)
    assert made.takes_more(connected=False)
