"""Notify Socket.IO clients of whether the backend is connected to the broker."""

from config import Settings
from database import Database
from services import status
from services.feed import Event
from utils import clock


class BrokerWatch:
    """Makes the events `mqtt-connected` and `mqtt-error`."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._last: tuple[str, object] | None = None

    def current(self) -> Event:
        """Return the current state as an event."""
        state = status.health(self._settings, self._database)
        mqtt = state.get("mqtt", {})
        connected = bool(mqtt.get("connected") and mqtt.get("subscribed"))
        name = "mqtt-connected" if connected else "mqtt-error"
        message = f"Connected to {self._settings.broker}" if connected else state["message"]
        details = {"connected": connected, "broker": str(self._settings.broker), "message": message}
        return Event(name, "", details | {"timestamp": clock.rfc3339(clock.now())}, everyone=True)

    def changes(self) -> list[Event]:
        """Return the current state, if it has changed since the last call."""
        event = self.current()
        before, self._last = self._last, (event.name, event.payload["message"])
        return [event] if before not in (None, self._last) else []
