"""Devices for the tests: they receive commands, acknowledge them, and say that they are online."""

import json
import queue
import subprocess
import sys
import threading
from typing import Any

from paho.mqtt import client as paho

from tests.support import connected_client

BOARD = """
import sys
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
port, keepalive, topic, online, offline = sys.argv[1:]
client = paho.Client(CallbackAPIVersion.VERSION2, client_id=topic.replace("/", "-"))
client.will_set(topic, offline, qos=1, retain=True)
client.on_connect = lambda *_: client.publish(topic, online, qos=1, retain=True)
client.connect("127.0.0.1", int(port), keepalive=int(keepalive))
client.loop_forever()
"""


class DeviceClient:
    """One connection that stands for any number of devices; `next` waits for the next command at QoS 1.

    With `answers`, every command is acknowledged at once with each of these states in turn.
    """

    def __init__(
        self, port: int, topic: str = "control/+/command", answers: tuple[str, ...] = ()
    ) -> None:
        self.messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self._answers = answers
        subscribed = threading.Event()
        self._client = connected_client(port)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = lambda *arguments: self._on_message(arguments[2])
        self._client.subscribe(topic, 1)
        assert subscribed.wait(10)

    def next(self) -> paho.MQTTMessage:
        return self.messages.get(timeout=10)

    def next_command(self) -> dict[str, Any]:
        """What the next command says."""
        command: dict[str, Any] = json.loads(self.next().payload)
        return command

    def acknowledge(
        self, command_id: str, status: str, device_id: str = "ESP32_001", **more: Any
    ) -> None:
        """Say what has become of a command."""
        text = json.dumps({"command_id": command_id, "status": status} | more)
        self._client.publish(f"control/{device_id}/ack", text, qos=1)

    def publish(self, topic: str, text: str, retain: bool = False) -> None:
        """Say anything."""
        self._client.publish(topic, text, qos=1, retain=retain)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, message: paho.MQTTMessage) -> None:
        self.messages.put(message)
        for status in self._answers:
            command_id = json.loads(message.payload)["command_id"]
            self.acknowledge(command_id, status, message.topic.split("/")[1])


def board(
    port: int,
    device_id: str,
    keepalive: int = 60,
    online: str = "online",
    offline: str = "offline",
    topic: str = "",
) -> subprocess.Popen[bytes]:
    """A device as a process of its own, which a signal can end or stop; its broker says when it is gone."""
    arguments = [str(port), str(keepalive), topic or f"status/{device_id}", online, offline]
    return subprocess.Popen([sys.executable, "-c", BOARD, *arguments])
