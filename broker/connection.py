"""Connecting to the broker: a paho client from the settings."""

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker.store import USER, Store
from config import Settings, SettingsError

NEVER_EXPIRES = 0xFFFF_FFFF


def new_client(
    settings: Settings,
    client_id: str,
    persistent: bool,
    context: ssl.SSLContext | None = None,
) -> paho.Client:
    """Return a paho client for the broker, not connected; clients may share a TLS context.

    Raises SettingsError.
    """
    address = settings.broker
    version5 = settings.mqtt_protocol == "5"
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=None if version5 else not persistent,
        protocol=MQTTProtocolVersion.MQTTv5 if version5 else MQTTProtocolVersion.MQTTv311,
        transport=address.transport,
        manual_ack=persistent,
    )
    client.connect_timeout = 5.0
    client.on_socket_open = send_at_once
    if address.username is not None:
        client.username_pw_set(address.username, address.password)
    if address.transport == "websockets":
        client.ws_set_options(path=address.path)
    if address.tls:
        client.tls_set_context(context or tls_context(settings))
    return client


def shared_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context that many clients share; None without TLS. Raises SettingsError."""
    return tls_context(settings) if settings.broker.tls else None


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Return a TLS context with the configured certificates. Raises SettingsError for a bad one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if settings.mqtt_client_cert:
            context.load_cert_chain(settings.mqtt_client_cert, settings.mqtt_client_key)
        if settings.mqtt_ca_cert:
            context.load_verify_locations(settings.mqtt_ca_cert)
        else:
            context.load_default_certs()
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise SettingsError(
            f"MQTT_CA_CERT, MQTT_CLIENT_CERT or MQTT_CLIENT_KEY: cannot be used: {error}"
        ) from error
    return context


def send_at_once(_: paho.Client, __: Any, opened: Any) -> None:
    """Disable Nagle's algorithm, which delays short messages."""
    _no_delay(opened, on=True)


@contextlib.contextmanager
def corked(client: paho.Client) -> Iterator[None]:
    """Collect short messages in few packets by Nagle's algorithm; send the rest at the end."""
    opened = client.socket()
    if opened is not None:
        _no_delay(opened, on=False)
    try:
        yield
    finally:
        if opened is not None and client.socket() is opened:
            _no_delay(opened, on=True)


def _no_delay(opened: Any, *, on: bool) -> None:
    if isinstance(opened, socket.socket):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, on)
        return
    # paho wraps the socket of a WebSocket, and exposes only its descriptor.
    with socket.socket(fileno=os.dup(opened.fileno())) as same:
        same.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, on)


def connect(
    client: paho.Client,
    settings: Settings,
    *,
    persistent: bool,
    as_device: bool = False,
) -> None:
    """Open the connection and send CONNECT; the answer comes to `on_connect`. Raises OSError.

    At the embedded broker a client uses AutoForge's own login, which is admitted before any device,
    unless it connects `as_device`.
    """
    if settings.embedded_broker and not as_device:
        _use_own_login(client, Store(settings.broker_folder))
    arguments: dict[str, Any] = {"keepalive": settings.mqtt_keepalive}
    if settings.mqtt_protocol == "5":
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # untyped
        properties.SessionExpiryInterval = NEVER_EXPIRES if persistent else 0
        arguments |= {"clean_start": not persistent, "properties": properties}
    try:
        client.connect(settings.broker.host, settings.broker.port, **arguments)
    except IndexError as error:
        # paho splits the headers of the answer to a WebSocket's handshake at ": ".
        raise OSError("the answer to the WebSocket's handshake cannot be read") from error


def _use_own_login(client: paho.Client, store: Store) -> None:
    if password := store.password():
        client.username_pw_set(USER, password)
