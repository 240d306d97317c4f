"""Publishing single messages from Python: `MQTTConnectionManager`."""

import threading
from concurrent.futures import Future

from broker.connection_thread import ConnectionThread
from broker.in_flight import Outgoing
from broker.tracked_connection import Delivery, TrackedConnection
from config import Settings, load_settings

ANSWER_SECONDS = 10.0  # how long `connect` and `publish` wait for the broker


class MQTTConnectionManager:
    """A connection to the broker of `settings`, by default the environment's; for any thread."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or load_settings()
        self._starting = threading.Lock()
        self._thread = ConnectionThread(self._settings)
        self._started = False

    def connect(self) -> bool:
        """Start to connect; return whether the broker has accepted. If not, it keeps trying."""
        with self._starting:
            if not self._thread.alive:
                if self._started:
                    self._thread = ConnectionThread(self._settings)
                self._started = True
                self._thread.start()
        self._thread.answered.wait(ANSWER_SECONDS)
        return self.is_connected()

    def disconnect(self) -> None:
        """End the connection within two seconds."""
        self._thread.disconnect()

    def is_connected(self) -> bool:
        """Whether the connection is open."""
        return self._thread.shared.open

    def publish(self, topic: str, payload: str | bytes, qos: int = 1, retain: bool = False) -> bool:
        """Publish; return whether the message was acknowledged; at QoS 0, whether it was sent.

        Raises ValueError or TypeError for a topic, QoS or payload that MQTT does not allow.
        """
        thread = self._thread
        if not thread.alive:
            return False
        body = payload.encode() if isinstance(payload, str) else payload
        receipt = _Receipt(Outgoing(topic, body, qos, retain))
        thread.call_soon(lambda: receipt.send(thread.shared))
        try:
            return receipt.result(ANSWER_SECONDS)
        except TimeoutError:
            return False


class _Receipt(Future[bool]):
    """The outcome of a message."""

    def __init__(self, message: Outgoing) -> None:
        super().__init__()
        self.name = message.topic
        self._message = message

    def send(self, connection: TrackedConnection) -> None:
        try:
            if connection.room:
                connection.publish(self._message, self)
            else:
                self.set_result(False)
        except (TypeError, ValueError) as error:
            # An error of the caller must not end the thread.
            self.set_exception(error)

    def on_delivery(self, delivery: Delivery) -> None:
        self.set_result(delivery in (Delivery.WRITTEN, Delivery.CONFIRMED))
