"""A parser of every shape that a stream can have, for the tests of parsing."""

from datetime import datetime
from pathlib import Path

from broker.message import Message
from config import PROJECT
from ingest.message import Parsed, Reading, Rejection
from ingest.payload import Parser
from streams.declaration import load
from tests.support import DEVICE_TOPICS

RECEIVED = datetime(2026, 1, 29, 14, 30, 46)
MOMENT = datetime(2026, 1, 29, 14, 30, 45, 123456)
SECOND = datetime(2026, 1, 29, 14, 30, 45)
VALUES = (24.5, 12.3, 450.0, 250.5)
TOPIC = "sensors/ESP32_001/data"
STATE = 'type = "text"\nsimulate = { states = ["running", "stopped"] }\n'
SHAPES = {
    "machine": f'topic = "plant/status"\ndevice = "machine_id"\n[metrics.speed]\n[metrics.state]\n{STATE}',
    "soil": 'topic = "soil/data"\nvalues = "sensor_readings"\ndevice = "node"\ndevice_default = "node-1"\n'
    "[metrics.N]\nrequired = true\n[metrics.pH]\n",
    "panel": f'topic = "panel/{{device_id}}/{{metric}}"\n[metrics.ampere]\nrequired = true\n[metrics.state]\n{STATE}'
    'level = "mode"\n',
    "tank": 'topic = "tank/{device_id}"\n[timestamp]\nfield = "ts"\n[metrics.level]\n[metrics.flow]\n',
    "pump": 'topic = "pump/{device_id}"\n[metrics.on]\ntype = "boolean"\n[metrics.cycles]\ntype = "integer"\n',
}


def make_parser(folder: Path) -> Parser:
    """A parser of the shipped `sensors` and of every other shape that a stream can have."""
    (folder / "sensors.toml").write_text((PROJECT / "streams" / "sensors.toml").read_text())
    for name, text in SHAPES.items():
        (folder / f"{name}.toml").write_text(text)
    return Parser(load(folder, {}, DEVICE_TOPICS))


def parse(parser: Parser, text: str | bytes, topic: str = TOPIC) -> Parsed:
    return parser.parse(Message(topic, text.encode() if isinstance(text, str) else text, RECEIVED))


def reading(parser: Parser, text: str | bytes, topic: str = TOPIC) -> Reading:
    parsed = parse(parser, text, topic)
    assert isinstance(parsed, Reading), parsed
    return parsed


def rejection(parser: Parser, text: str | bytes, topic: str = TOPIC) -> tuple[str, str]:
    """The reason and the sentence."""
    parsed = parse(parser, text, topic)
    assert isinstance(parsed, Rejection), parsed
    return parsed.reason, parsed.text


def sensors(
    temperature: str = "24.5", more: str = "", timestamp: str = '"2026-01-29T14:30:45.123456"'
) -> str:
    """A payload of `sensors` with a temperature and a timestamp as they are written in JSON, or as no JSON allows."""
    good = '"vibration":12.3,"gas":450.0,"power":250.5'
    return f'{{"temperature":{temperature},{good},"timestamp":{timestamp}{more}}}'
