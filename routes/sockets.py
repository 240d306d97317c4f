"""Socket.IO: clients emit `subscribe` and receive `reading`, `command`, `presence` and `gap`."""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, request
from flask_socketio import SocketIO, emit
from pydantic import ValidationError
from socketio import Server
from werkzeug.middleware.proxy_fix import ProxyFix

from database import Unavailable
from routes.arguments import Subscription
from routes.errors import validation_message
from routes.fields import position
from services.broker_watch import BrokerWatch
from services.feed import EVERYONE
from services.live import Hub
from services.sockets import SocketClient
from serving.websockets import MAX_BODY, Connections
from streams.registry import Streams
from utils.json_types import JsonObject

logger = logging.getLogger(__name__)
PING_INTERVAL = 15
PING_TIMEOUT = 10
"""Seconds; after both a client that is away or stuck is disconnected."""


class Sockets:
    """The Socket.IO endpoint; it accepts connections once the application is served."""

    def __init__(
        self,
        app: Flask,
        origins: list[str],
        streams: Streams,
        hub: Hub,
        watch: BrokerWatch | None = None,
        *,
        proxies: int = 0,
    ) -> None:
        self._streams = streams
        self._hub = hub
        self._watch = watch
        self._proxies = proxies
        self._clients: dict[str, SocketClient] = {}
        self._lock = threading.Lock()
        self._io = _socket_io(app, origins)
        # The stubs do not know it.
        self._server: Server = self._io.server  # type: ignore[attr-defined]
        # Engine.IO's own method waits forever for a client that stopped polling.
        self._server.eio.disconnect = self._end
        self._connections = Connections(app.wsgi_app, lambda: len(self._server.eio.sockets))
        app.wsgi_app = self._connections  # type: ignore[method-assign]  # the way Flask documents
        handlers: dict[str, Callable[..., Any]] = {
            "connect": self._connect,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "disconnect": self._disconnect,
        }
        for name, handler in handlers.items():
            self._io.on_event(name, handler)

    def close(self) -> None:
        """Close every connection."""
        for engine in list(self._server.eio.sockets.values()):
            engine.close(wait=False)
        self._connections.close()

    def _connect(self, *_: Any) -> None:
        """Send the broker's state, if a stream declares such events; it needs no subscription."""
        if self._watch is None:
            return
        self._client().offer(self._watch.current())

    def _subscribe(self, *arguments: Any) -> JsonObject:
        try:
            wanted = self._wanted(arguments)
            self._hub.changes.ask()
            since = position(wanted.since, lambda: self._hub.changes.newest_id(wanted.stream))
            missed = None if since is None else self._hub.changes.missed(wanted.interest, since)
            self._client().subscribe(wanted.interest, missed)
        except (ValueError, Unavailable) as error:
            return _error(error)
        return {"message": "subscribed", **wanted.interest._asdict()}

    def _unsubscribe(self, *arguments: Any) -> JsonObject:
        try:
            wanted = self._wanted(arguments)
            self._client().interests -= {wanted.interest}
        except (ValueError, Unavailable) as error:
            return _error(error)
        return {"message": "unsubscribed", **wanted.interest._asdict()}

    def _end(self, engine_sid: str) -> None:
        if engine := self._server.eio.sockets.pop(engine_sid, None):
            engine.close(wait=False)

    def _disconnect(self, *_: Any) -> None:
        sid = request.sid  # type: ignore[attr-defined]  # Flask-SocketIO adds it
        # A client may emit an event named "disconnect" without leaving.
        if self._server.manager.is_connected(sid, "/"):
            return
        client = self._clients.pop(sid, None)
        if client is not None:
            self._hub.leave(client)

    def _client(self) -> SocketClient:
        sid = request.sid  # type: ignore[attr-defined]  # Flask-SocketIO adds it
        with self._lock:
            if sid not in self._clients:
                everyone = [EVERYONE] if self._watch else []
                self._clients[sid] = SocketClient(
                    self._server, sid, everyone, self._root(request.environ)
                )
            client = self._clients[sid]
        self._hub.join(client)
        # Another thread may have disconnected it meanwhile.
        if not self._server.manager.is_connected(sid, "/"):
            self._clients.pop(sid, None)
            self._hub.leave(client)
        return client

    def _root(self, environ: Mapping[str, Any]) -> str:
        """Return the path of the proxy; Engine.IO answers before the middleware that sets it."""
        copy = dict(environ)  # ProxyFix modifies it
        ProxyFix(lambda *_: (), 0, 0, 0, 0, self._proxies)(copy, lambda *_: lambda _: None)
        return str(copy.get("SCRIPT_NAME", ""))

    def _wanted(self, arguments: tuple[Any, ...]) -> Subscription:
        """Validate a subscription. Raises ValueError saying what is wrong."""
        try:
            wanted = Subscription.model_validate(arguments[0] if arguments else None)
        except ValidationError as error:
            raise ValueError(validation_message(error, "The argument of subscribe")) from error
        if self._streams.get(wanted.stream) is None:
            names = ", ".join(stream.name for stream in self._streams)
            unknown = f"stream: there is no stream {wanted.stream[:40]!r}"
            raise ValueError(f"{unknown}. Declared streams: {names}")
        return wanted


def _error(error: Exception) -> JsonObject:
    # Also emitted, for clients that do not request an acknowledgement.
    message = str(error)
    if isinstance(error, Unavailable):
        message = f"The database cannot be used now: {error}. Try again"
    emit("error", {"message": message})
    return {"error": message}


def _socket_io(app: Flask, origins: list[str]) -> SocketIO:
    library = logging.getLogger("engineio.server")
    library.addFilter(_one_line)
    return SocketIO(
        app,
        async_mode="threading",
        async_handlers=False,
        manage_session=False,
        always_connect=True,  # the reply to a client's CONNECT precedes the events
        cors_allowed_origins="*" if "*" in origins else origins,
        cors_credentials=False,
        ping_interval=PING_INTERVAL,
        ping_timeout=PING_TIMEOUT,
        max_http_buffer_size=MAX_BODY,
        logger=library,
        engineio_logger=library,
    )


def _one_line(record: logging.LogRecord) -> bool:
    """Log a client's malformed packet in one line: the traceback shows only the library's code."""
    if record.exc_info and record.exc_info[1] is not None:
        record.msg = f"{record.getMessage()}: {record.exc_info[1]!r:.200}"
        record.args, record.exc_info, record.exc_text = (), None, None
    return record.levelno >= logging.WARNING
