"""Filters that cross: what is subscribed to with an identifier, and which delivery of a message is a copy."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from paho.mqtt import client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from broker.message import Message
from broker.subscriptions import Subscriptions, identifiers
from utils import clock

PANELS, SENSORS, LAB, OTHER = "panel/+/+", "+/sensors/+", "lab/+/+", "status/+"
FILTERS = [PANELS, OTHER, SENSORS, LAB]
CROSSING = [PANELS, SENSORS, LAB]
IDS = identifiers(CROSSING)
EARLIER = identifiers([SENSORS, PANELS])
GRANTED, REFUSED = (
    ReasonCode(PacketTypes.SUBACK, name) for name in ("Granted QoS 1", "Not authorized")
)


class Client:
    """Notes what is asked of the broker."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], list[int]]] = []

    def subscribe(self, filters: list[tuple[str, int]], properties: Any = None) -> tuple[int, int]:
        assert {qos for _, qos in filters} == {1}
        self.asked.append(
            ([one for one, _ in filters], getattr(properties, "SubscriptionIdentifier", []))
        )
        return 0, len(self.asked)


def requested(
    filters: list[str], *, version5: bool = True, connack: Any = None
) -> tuple[Subscriptions, Client]:
    made, client = Subscriptions(filters, version5=version5), Client()
    made.request(cast("paho.Client", client), connack)
    return made, client


def is_copy(made: Subscriptions, topic: str, *via: int) -> bool:
    message = Message(topic, b"1", clock.now(), via=via)
    made.mark([message])
    return message.copy


@pytest.mark.parametrize(
    ("filters", "version5", "connack", "asked"),
    [
        (FILTERS, True, None, [([OTHER], [])] + [([one], [IDS[one]]) for one in CROSSING]),
        (FILTERS, True, SimpleNamespace(SubscriptionIdentifierAvailable=0), [(FILTERS, [])]),
        (FILTERS, False, None, [(FILTERS, [])]),
        ([PANELS, OTHER], True, None, [([PANELS, OTHER], [])]),
        (
            [PANELS, SENSORS],
            True,
            None,
            [([one], [number]) for one, number in identifiers([PANELS, SENSORS]).items()],
        ),
    ],
)
def test_filters_that_cross_have_an_identifier_where_that_can_be(
    filters: list[str], version5: bool, connack: Any, asked: list[tuple[list[str], list[int]]]
) -> None:
    made, client = requested(filters, version5=version5, connack=connack)
    assert client.asked == asked
    assert made.numbered == (len(asked) > 1)


@pytest.mark.parametrize(
    ("topic", "via", "copy"),
    [
        ("panel/sensors/x", [IDS[PANELS]], False),
        ("panel/sensors/x", [IDS[SENSORS]], True),
        ("lab/sensors/x", [IDS[SENSORS]], False),
        ("lab/sensors/x", [IDS[LAB]], True),
        ("panel/t1/x", [IDS[PANELS]], False),
        # One delivery for all of them.
        ("panel/sensors/x", [IDS[SENSORS], IDS[PANELS]], False),
        # By a filter without an identifier, or from when the filters were others.
        ("panel/sensors/x", [], False),
        ("panel/sensors/x", [EARLIER[SENSORS]], False),
        ("panel/sensors/x", [EARLIER[PANELS], IDS[SENSORS]], False),
        # By no filter that is known to match it.
        ("elsewhere/a/b", [IDS[SENSORS]], False),
    ],
)
def test_of_the_deliveries_of_a_message_one_is_no_copy(
    topic: str, via: list[int], copy: bool
) -> None:
    assert is_copy(requested(FILTERS)[0], topic, *via) is copy
    assert is_copy(Subscriptions(FILTERS, version5=True), topic, *via) is copy, (
        "of a session that is only emptied"
    )
    assert not is_copy(requested(FILTERS, version5=False)[0], topic, *via)


def test_what_comes_by_a_filter_is_no_copy_where_the_broker_refuses_the_one_before() -> None:
    made, client = requested(FILTERS)
    packet_ids = {filters[0]: place for place, (filters, _) in enumerate(client.asked, 1)}
    assert is_copy(made, "panel/sensors/x", IDS[SENSORS])
    assert not made.answered(packet_ids[PANELS], [REFUSED])
    assert not is_copy(made, "panel/sensors/x", IDS[SENSORS])
    assert not made.answered(packet_ids[OTHER], [GRANTED])
    assert not made.answered(packet_ids[LAB], [GRANTED])
    assert made.answered(packet_ids[SENSORS], [GRANTED])
    assert made.denied == [PANELS]


def test_identifiers_are_those_of_the_whole_set_and_within_what_mqtt_allows() -> None:
    many = [f"a{number}/+" for number in range(400)]
    numbers = identifiers(many)
    assert len({*numbers.values()}) == len(numbers) == 255
    assert all(0 < number < 1 << 28 for number in numbers.values())
    assert not {*IDS.values()} & {*EARLIER.values()}
