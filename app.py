"""AutoForge: `python app.py` runs the whole backend; gunicorn serves `app` and `live`."""

import logging
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from click import ClickException
from flask_openapi.openapi import OpenAPI
from werkzeug.serving import make_server

from broker import embedded
from config import (
    VERSION,
    Settings,
    SettingsError,
    check_listening,
    load_settings,
    warn_of_exposed_files,
    warn_of_unknown_settings,
)
from services.configurations import check_file
from streams.checks import StreamError
from utils import logger as logs
from utils import signals
from utils.files import keep_private
from wiring.backend import RoleName
from wiring.web import WebBackend

logger = logging.getLogger("autoforge")


def create_app(settings: Settings, role: RoleName = "all") -> OpenAPI:
    """Build a backend and return its application; nothing connects or runs yet.

    Raises StreamError, SettingsError.
    """
    return WebBackend(settings, role).web.app


def main() -> None:
    """Run the backend until Ctrl-C or SIGTERM; exit with code 1 and a message for bad settings."""
    ended = signals.ending()
    keep_private()
    try:
        settings = load_settings()
        logs.configure(settings.log_level, settings.log_file)
        warn_of_unknown_settings()
        warn_of_exposed_files(settings)
        check_file(settings)
        listener = _listen(settings)
        backend = WebBackend(settings)
        broker = embedded.start_if_needed(settings)
    except (SettingsError, StreamError) as error:
        sys.exit(f"{error}")
    logger.info("Configuration: MQTT=%s, database=%s", settings.broker, backend.database)
    backend.start(ended)
    if not ended.is_set():
        logger.info("AutoForge %s at http://%s/api/docs", VERSION, _shown_address(settings))
    _serve(backend, listener, ended)
    logger.info("Stopping")
    backend.stop()
    if broker is not None:
        broker.stop()
    signals.ignore()


def _listen(settings: Settings) -> socket.socket:
    host, port = settings.flask_host, settings.flask_port
    check_listening("FLASK_HOST", host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        problem = f"cannot listen on {settings.address}: {error.strerror}"
        raise SettingsError(f"FLASK_PORT={port}: {problem}") from error


def _shown_address(settings: Settings) -> str:
    everywhere = settings.flask_host in ("0.0.0.0", "::")  # noqa: S104 - compared only
    return f"localhost:{settings.flask_port}" if everywhere else settings.address


def _serve(backend: WebBackend, listener: socket.socket, ended: threading.Event) -> None:
    """Answer requests until Ctrl-C or SIGTERM, even if it came before."""
    if sys.platform == "win32":
        host, port = listener.getsockname()[:2]
        server = make_server(host, port, backend.web.app, threaded=True, fd=listener.fileno())
        _when(ended, server.shutdown)
        server.serve_forever()
    else:
        from serving.process import Server  # noqa: PLC0415 - gunicorn cannot be imported on Windows

        worker = Server(backend.web.app, listener, backend.end_live)

        def stop() -> None:
            worker.alive = False

        # Its own handlers of signals come later than a signal may.
        _when(ended, stop)
        worker.init_process()


def _when(ended: threading.Event, action: Callable[[], None]) -> None:
    def wait() -> None:
        ended.wait()
        action()

    threading.Thread(target=wait, name="ended", daemon=True).start()


def __getattr__(name: str) -> Any:
    """Create `app` or `live` when gunicorn or flask asks for it, not on import.

    Socket.IO needs one process for all requests of a client: `live` serves Socket.IO, and any
    number of processes serve the rest as `app`.
    """
    keep_private()
    try:
        if name == "app":
            return create_app(load_settings(), "rest")
        if name == "live":
            return create_app(load_settings(), "live")
    except (SettingsError, StreamError) as error:
        # The flask command prints a ClickException as one line.
        raise ClickException(str(error)) from error
    raise AttributeError(name)


if __name__ == "__main__":
    main()
