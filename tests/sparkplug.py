"""Messages of Sparkplug for the tests: encoded by Google's protobuf with the schema, and those of client libraries."""

import base64
import json
from functools import cache
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from broker.message import Message
from config import PROJECT
from utils import clock

SENT = 1_759_163_270_000
"""2025-09-29 16:27:50, in milliseconds."""
NBIRTH, NDATA = "spBv1.0/plant/NBIRTH/edge1", "spBv1.0/plant/NDATA/edge1"
DBIRTH, DDATA = "spBv1.0/plant/DBIRTH/edge1/press7", "spBv1.0/plant/DDATA/edge1/press7"
PRESS = """topic = ["spBv1.0/+/DDATA/+/{device_id}", "spBv1.0/+/DBIRTH/+/{device_id}", "spBv1.0/+/NDATA/{device_id}",
  "spBv1.0/+/NBIRTH/{device_id}"]
format = "sparkplug"
empty = "ignore"
[metrics]
a = {}
b = {}
n = { path = "Inputs/n", type = "integer" }
"""
PAYLOAD = {
    1: ("timestamp", "uint64"),
    3: ("seq", "uint64"),
    4: ("uuid", "string"),
    5: ("body", "bytes"),
}
METRIC = {
    1: ("name", "string"),
    2: ("alias", "uint64"),
    3: ("timestamp", "uint64"),
    4: ("datatype", "uint32"),
    5: ("is_historical", "bool"),
    6: ("is_transient", "bool"),
    7: ("is_null", "bool"),
    8: ("metadata", "bytes"),
    9: ("properties", "bytes"),
    10: ("int_value", "uint32"),
    11: ("long_value", "uint64"),
    12: ("float_value", "float"),
    13: ("double_value", "double"),
    14: ("boolean_value", "bool"),
    15: ("string_value", "string"),
    16: ("bytes_value", "bytes"),
    17: ("dataset_value", "bytes"),
    18: ("template_value", "bytes"),
}  # fmt: skip
"""The fields of Payload.Metric in sparkplug_b.proto; messages in it are bytes."""


@cache
def _payload_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="sparkplug_b.proto", package="org.eclipse.tahu.protobuf", syntax="proto2"
    )
    payload = file.message_type.add(name="Payload")
    metric = payload.nested_type.add(name="Metric")
    metric.oneof_decl.add(name="value")
    for message, declared in ((payload, PAYLOAD), (metric, METRIC)):
        for number, (name, kind) in declared.items():
            field = message.field.add(name=name, number=number, label=1)
            field.type = getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{kind.upper()}")
            if name.endswith("_value"):
                field.oneof_index = 0
    payload.field.add(
        name="metrics",
        number=2,
        label=3,
        type=11,
        type_name=".org.eclipse.tahu.protobuf.Payload.Metric",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName("org.eclipse.tahu.protobuf.Payload")
    return message_factory.GetMessageClass(found)


def encoded(*metrics: dict[str, Any], timestamp: int | None = SENT, **fields: Any) -> bytes:
    """A payload with these metrics."""
    payload = _payload_class()(**fields)
    if timestamp is not None:
        payload.timestamp = timestamp
    for metric in metrics:
        payload.metrics.add(**metric)
    raw: bytes = payload.SerializeToString()
    return raw


class Recorded(NamedTuple):
    """A message that a client library encoded, and the values that it was given."""

    by: str
    topic: str
    payload: bytes
    values: dict[str, Any]


def recorded() -> list[Recorded]:
    """The messages of pysparkplug and of Eclipse Tahu, in the order in which they were sent.

    Both need an old paho, so the project cannot install them.
    """
    lines = (
        (PROJECT / "tests" / "data" / "sparkplug.jsonl").read_text(encoding="utf-8").splitlines()
    )
    found = map(json.loads, lines)
    return [
        Recorded(one["by"], one["topic"], base64.b64decode(one["payload_b64"]), one["values"])
        for one in found
    ]


def born(topic: str = DBIRTH, *, retained: bool = False, **aliases: int) -> Message:
    """A birth certificate of the metrics `a`, `b`, with these aliases and without values."""
    metrics = [{"name": name, "alias": alias, "datatype": 10} for name, alias in aliases.items()]
    return Message(topic, encoded(*metrics), clock.now(), retained=retained)


def data(
    alias: int, value: float, topic: str = DDATA, *, packet_id: int = 0, dup: bool = False
) -> Message:
    """The value of the metric with an alias; each has a time of its own."""
    metric = {"alias": alias, "double_value": value, "timestamp": SENT + int(value)}
    return Message(topic, encoded(metric), clock.now(), packet_id, dup)
