"""Birth certificates of Sparkplug: what they say of later messages."""

from typing import Any

import pytest

from broker.message import Message
from ingest import certificates
from ingest.certificates import SparkplugSender
from ingest.message import Ignored, Parsed, Reading, Rejection, Several
from ingest.payload import Parser
from streams.registry import Streams
from tests.declarations import Declare
from tests.parsing import RECEIVED
from tests.sparkplug import (
    DBIRTH,
    DDATA,
    NBIRTH,
    NDATA,
    PRESS,
    born,
    data,
    encoded,
    recorded,
)

INT32 = 3


@pytest.fixture
def streams(declare: Declare) -> Streams:
    return declare(press=PRESS)


# Whose certificate it is


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        (DBIRTH, ("spBv1.0/plant/edge1", "press7", True)),
        (DDATA, ("spBv1.0/plant/edge1", "press7", False)),
        (NBIRTH, ("spBv1.0/plant/edge1", "", True)),
        (NDATA, ("spBv1.0/plant/edge1", "", False)),
        (f"site/4/{DDATA}", ("site/4/spBv1.0/plant/edge1", "press7", False)),
        ("spBv1.0/plant/DBIRTH/edge1", None),
        ("spBv1.0/plant/NBIRTH/edge1/press7", None),
        ("spBv1.0/plant/NDEATH/edge1", None),
        ("spBv1.0/plant/DCMD/edge1/press7", None),
        ("spBv1.0/STATE/host", None),
        ("spBv1.0//NBIRTH/edge1", None),
        ("spBv1.0/plant/NBIRTH/edge1 ", None),
        (f"{'x' * 400}/{NBIRTH}", None),
        ("x/7", None),
    ],
)
def test_a_topic_names_the_sender(topic: str, expected: tuple[str, str, bool] | None) -> None:
    assert SparkplugSender.of(topic) == expected


# What a message means


def parsed(streams: Streams, *messages: Message) -> list[Parsed]:
    parser = Parser(streams)
    return [parser.parse(message) for message in messages]


def values(found: Parsed) -> Any:
    """The values of `a` and `b`, or why there are none."""
    if isinstance(found, Reading):
        return found.values[:2]
    return found.reason if isinstance(found, Rejection | Ignored) else type(found)


UNKNOWN = "no_birth_certificate"


@pytest.mark.parametrize(
    ("before", "message", "expected"),
    [
        pytest.param([], data(1, 5), UNKNOWN, id="no certificate"),
        pytest.param([born(a=1)], data(1, 5), (5.0, None), id="an alias"),
        pytest.param([born(a=1)], data(2, 5), UNKNOWN, id="another alias"),
        pytest.param([born(a=0)], data(0, 5), (5.0, None), id="the alias 0"),
        pytest.param([born(a=1), born(b=1)], data(1, 5), (None, 5.0), id="the last one counts"),
        pytest.param([born(a=1), born(b=2)], data(1, 5), UNKNOWN, id="only the last one counts"),
        pytest.param([born(NBIRTH, a=1)], data(1, 5, NDATA), (5.0, None), id="an edge node"),
        pytest.param([born(NBIRTH, a=1)], data(1, 5), UNKNOWN, id="a node says nothing of a device"),
        pytest.param([born(a=1), born(NBIRTH, b=2)], data(1, 5), UNKNOWN, id="a node is born again"),
        pytest.param(
            [born(a=1), born("spBv1.0/plant/NBIRTH/edge2", b=2)], data(1, 5), (5.0, None), id="another node"
        ),
        pytest.param(
            [born(a=1), born(DBIRTH.replace("7", "8"), b=1)], data(1, 5), (5.0, None), id="another device"
        ),
        pytest.param([born(a=1, retained=True)], data(1, 5), (5.0, None), id="retained"),
        pytest.param(
            [born(a=1), born(b=1, retained=True)], data(1, 5), (5.0, None), id="retained, and maybe older"
        ),
        pytest.param(
            [born(a=1), born(NBIRTH, b=2, retained=True)], data(1, 5), (5.0, None), id="a retained one of the node"
        ),
        pytest.param(
            [born(a=1), Message(DBIRTH, b"\x08", RECEIVED)], data(1, 5), UNKNOWN, id="one that cannot be read"
        ),
        pytest.param(
            [born(a=1), Message(DBIRTH, b"", RECEIVED, retained=True)], data(1, 5), (5.0, None), id="one is cleared"
        ),
    ],
)  # fmt: skip
def test_a_message_is_read_by_the_last_certificate(
    before: list[Message], message: Message, expected: Any, streams: Streams
) -> None:
    *_, last = parsed(streams, *before, message)
    assert values(last) == expected


def test_the_values_of_a_certificate_are_a_reading(streams: Streams) -> None:
    metric = {"name": "Inputs/n", "alias": 1, "datatype": INT32, "int_value": 2**32 - 5}
    again = {"alias": 1, "int_value": 2**32 - 6}
    found = parsed(
        streams,
        Message(DBIRTH, encoded(metric), RECEIVED),
        Message(DDATA, encoded(again), RECEIVED),
    )
    assert [one.values for one in found if isinstance(one, Reading)] == [
        (None, None, -5),
        (None, None, -6),
    ]


@pytest.mark.parametrize("by", sorted({one.by for one in recorded()}))
def test_the_messages_of_a_client_library_are_readings(by: str, declare: Declare) -> None:
    paths = (
        'a = "Inputs/Float"\nb = "Inputs/Double"\nn = { path = "Ints/Int64", type = "integer" }\n'
    )
    streams = declare(press=PRESS.partition("a = {}")[0] + paths)
    given = [one for one in recorded() if one.by == by and "/D" in one.topic and one.values]
    found = parsed(streams, *(Message(one.topic, one.payload, RECEIVED) for one in given))
    assert len(found) >= 2
    for one in found:
        assert isinstance(one, Reading), one
        assert one.values == (61.5, 0.1, -(2**53) - 1)
        assert one.own_time


def test_the_other_metrics_of_a_message_are_stored(streams: Streams) -> None:
    payload = encoded({"name": "a", "double_value": 1}, {"alias": 4, "double_value": 2})
    (found,) = parsed(streams, Message(DDATA, payload, RECEIVED))
    assert isinstance(found, Several)
    assert [one.values for one in found.readings] == [(1.0, None, None)]
    assert [(one.reason, one.text, one.device_id) for one in found.rejections] == [
        (UNKNOWN, "no birth certificate that was received says the name of the alias 4", "press7")
    ]


def test_there_are_not_too_many(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "MAX_METRICS", 2 * certificates.OVERHEAD + 3)
    other = DBIRTH.replace("7", "8")
    found = parsed(
        streams,
        born(a=1),
        born(other, a=1, b=2),
        born(other, a=1, b=2, c=3),
        data(1, 5),
        data(1, 5, other),
    )
    assert [values(one) for one in found] == [
        "no_values", "no_values", "too_many_births", (5.0, None), UNKNOWN
    ]  # fmt: skip
