"""The broker that AutoForge brings along, for when none is configured."""

import logging
import socket

from iotcore import Broker

from config import Settings, SettingsError

logger = logging.getLogger(__name__)
MAX_PAYLOAD = 16_000_000
_CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x05\x00\x00"


def start_if_needed(settings: Settings) -> Broker | None:
    """Start the embedded broker unless MQTT_BROKER is set or a broker already answers on MQTT_PORT.

    Raises SettingsError when the port is taken by something else.
    """
    if not settings.embedded_broker:
        return None
    port = settings.broker.port
    if _something_listens(port):
        if not _broker_answers(port):
            raise SettingsError(f"MQTT_PORT={port}: taken by something that is not an MQTT broker; set another port")
        logger.info("A broker already answers on port %d of this host: using it", port)
        return None
    return start(port)


def start(port: int) -> Broker:
    """Start an embedded broker on a port of this host. Raises SettingsError when the port is taken."""
    # rumqttd itself would listen on every interface, without authentication.
    broker = Broker(port=port, listen="127.0.0.1", max_payload_size=MAX_PAYLOAD, max_inflight_count=1000)
    try:
        broker.start()
    except (OSError, RuntimeError) as error:
        raise SettingsError(f"MQTT_PORT={port}: the embedded broker cannot listen there: {error}") from error
    logger.info("Embedded MQTT broker on 127.0.0.1:%d; it keeps nothing over a restart", port)
    return broker


def _something_listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _broker_answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.settimeout(2)
            connection.sendall(_CONNECT)
            return connection.recv(1) == b"\x20"
    except OSError:
        return False
