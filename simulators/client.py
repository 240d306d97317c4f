"""Clients for the broker that the settings name: paho's, made so that an event loop of ours can drive them."""

import secrets

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from broker.connection import tls_context
from config import Settings

_TCP_SECONDS = 3.0


class BrokerError(Exception):
    """The broker cannot be used: the text says which and why."""


class Clients:
    """Makes a client for each device; all of them share one TLS context. Raises SettingsError for a bad certificate."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context = tls_context(settings) if settings.broker.tls else None

    def new(self, device_id: str) -> mqtt.Client:
        """A client that is not connected; `reconnect()` connects it, also the first time."""
        broker = self._settings.broker
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            # Another simulator with the same boards must not take over their connections.
            client_id=f"{device_id}-{secrets.token_hex(4)}",
            protocol=mqtt.MQTTv5 if self._settings.mqtt_protocol == "5" else mqtt.MQTTv311,
            transport=broker.transport,
            reconnect_on_failure=False,
        )
        # 0 is no limit: the window is ours, and with its own paho walks over all messages at every acknowledgement.
        client.max_inflight_messages = 0
        client.max_queued_messages = 0
        client.connect_timeout = _TCP_SECONDS
        if broker.username:
            client.username_pw_set(broker.username, broker.password)
        if broker.transport == "websockets":
            client.ws_set_options(path=broker.path)
        if self._context:
            client.tls_set_context(self._context)
        client.connect_async(broker.host, broker.port, self._settings.mqtt_keepalive)
        return client
