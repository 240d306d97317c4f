"""Values for payloads that are written, and what is read of them."""

import json
from datetime import datetime
from typing import Any

from hypothesis import strategies as st

from broker.message import Message
from ingest.message import Reading, Several
from ingest.payload import Parser
from streams.metric import Metric, Value
from streams.value_writer import ValueWriter
from tests.parsing import RECEIVED


def any_value(metric: Metric) -> st.SearchStrategy[Value]:
    """Any value that a payload can have for a metric."""
    if metric.map:
        meanings = st.sampled_from(list(metric.map.values()))
        return meanings.map(lambda value: ValueWriter(metric).representable(value))
    match metric.type:
        case "number":
            numbers = st.floats(-1e6, 1e6).map(lambda number: round(number, 3) + 0.0)
            return numbers.map(lambda number: ValueWriter(metric).representable(number))
        case "integer":
            return st.integers(-(2**53), 2**53).map(lambda n: ValueWriter(metric).representable(n))
        case "boolean":
            return st.booleans()
        case "text":
            return st.sampled_from(["running", "3", "true", "ä", "two words"])


def read_back(
    parser: Parser, topic: str, payload: Any, received_at: datetime = RECEIVED
) -> Reading:
    """Return the only reading of a payload, of which nothing is rejected."""
    text = json.dumps(payload, ensure_ascii=False)
    found = parser.parse(Message(topic, text.encode(), received_at))
    if isinstance(found, Several):
        assert (len(found.readings), found.rejections) == (1, []), (text, found)
        return found.readings[0]
    assert isinstance(found, Reading), (text, found)
    return found
