"""Error messages about a connection to the broker, with what to check."""

import ssl

from paho.mqtt.client import WebsocketConnectionError
from paho.mqtt.reasoncodes import ReasonCode

from config import Settings
from utils.broker_address import BrokerAddress

TAKEN_OVER = 0x8E
"""MQTT 5: another client has connected with the same client id."""
_CERTIFICATE = "MQTT_CLIENT_CERT, MQTT_CLIENT_KEY"
_LOGIN = "check MQTT_USERNAME and MQTT_PASSWORD"
_CLIENT_ID = "check MQTT_CLIENT_ID"
_ALLOWED_IDS = "and which client ids the broker allows for this login"
_HINTS = {
    "bad user name or password": _LOGIN,
    "not authorized": f"{_LOGIN}, and what the broker allows this login to do",
    "unsupported protocol version": "set MQTT_PROTOCOL to the other version",
    "client identifier not valid": f"{_CLIENT_ID}, {_ALLOWED_IDS}",
}


def unreachable(address: BrokerAddress, error: Exception) -> str:
    """Return why a connection could not be opened."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {address} is not accepted: {error.verify_message}; "
            "set MQTT_CA_CERT to the CA that signed it, and MQTT_BROKER to the host name "
            "in the certificate"
        )
    if address.tls and "ALERT" in str(getattr(error, "reason", "")):
        refused = f"{address} refused the TLS handshake ({getattr(error, 'reason', '')})"
        return f"{refused}: does it require another client certificate ({_CERTIFICATE})?"
    if address.tls and _in_handshake(error):
        plain = "ws" if address.transport == "websockets" else "mqtt"
        return (
            f"{address} does not answer with TLS: is that port unencrypted ({plain}://)? ({error})"
        )
    if isinstance(error, WebsocketConnectionError) or "WebSocket" in str(error):
        # Anyone may read this, and a path or query may hold a secret.
        return (
            f"{address} does not answer as a WebSocket: does the broker serve WebSockets "
            "on that port, and is the path in MQTT_BROKER right (default: /mqtt)?"
        )
    return f"{address} cannot be reached: {error}"


def _in_handshake(error: Exception) -> bool:
    ended = isinstance(error, ssl.SSLError | ConnectionResetError)
    return ended or "handshake" in str(error).lower()


def closed_at_once(settings: Settings) -> str:
    """Return why a broker may have closed a connection without an answer to CONNECT."""
    address = settings.broker
    if address.tls:
        questions = ["does it require another client certificate (MQTT_CLIENT_CERT)?"]
    else:
        questions = [
            f"does it expect TLS ({'wss' if address.transport == 'websockets' else 'mqtts'}://)?"
        ]
    if address.transport == "tcp":
        questions.append("does it expect WebSockets (ws://)?")
    questions += [
        f"does it support MQTT {settings.mqtt_protocol}?",
        "has it reached its client limit?",
    ]
    return f"{address} closed the connection at once: {' '.join(questions)}"


def refused(address: BrokerAddress, reason: ReasonCode) -> str:
    """Return the error in the broker's answer to CONNECT."""
    hint = _HINTS.get(str(reason).lower())
    return f"{address} refused the connection: {reason}" + (f"; {hint}" if hint else "")


def lost(address: BrokerAddress, reason: ReasonCode, *, soon: bool) -> str:
    """Return how a connection ended; `soon` if it was short, as with two clients of one id."""
    if reason.value == TAKEN_OVER and reason.is_failure:
        return f"another client has connected to {address} with AutoForge's client id"
    text = f"the connection to {address} was lost: {reason}"
    taken = (
        "another client may use AutoForge's client id, for example after the database was copied"
    )
    return f"{text}; {taken}" if soon else text
