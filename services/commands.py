"""Commands: what people tell devices to do, published on the device's control topic."""

import uuid
from typing import Any, NamedTuple

import msgspec

from mqtt_publisher import Publisher
from utils import clock


class Command(NamedTuple):
    """A command as published."""

    command_id: str
    device_id: str
    command: str
    parameters: dict[str, Any]
    issued_at: str


class Commands:
    """Sends commands; `topic` is the control topic with a level `{device_id}`."""

    def __init__(self, publisher: Publisher, topic: str) -> None:
        self._publisher = publisher
        self._topic = topic

    def send(self, device_id: str, command: str, parameters: dict[str, Any]) -> Command:
        """Publish a command and wait until the broker has it. Raises mqtt_publisher.PublishError."""
        issued = Command(str(uuid.uuid4()), device_id, command, parameters, clock.rfc3339(clock.now()))
        payload = issued._asdict()
        del payload["device_id"]
        self._publisher.publish(self._topic.replace("{device_id}", device_id), msgspec.json.encode(payload))
        return issued
