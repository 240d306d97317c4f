"""AutoForge: `python app.py` runs all of it; `app` and `live` are for gunicorn."""

import logging
import socket
import sys
from typing import Any

from click import ClickException
from flask_openapi.openapi import OpenAPI
from werkzeug.serving import make_server

from broker import embedded
from config import VERSION, Settings, SettingsError, load_settings, warn_of_exposed_files, warn_of_unknown_settings
from services.configurations import check_file
from streams.checks import StreamError
from utils import logger as logs
from utils import signals
from utils.files import keep_private
from wiring.backend import RoleName
from wiring.web import WebBackend

logger = logging.getLogger("autoforge")


def create_app(settings: Settings, role: RoleName = "all") -> OpenAPI:
    """The application of a backend. Nothing connects and nothing runs yet. Raises StreamError, SettingsError."""
    return WebBackend(settings, role).web.app


def main() -> None:
    """Run the backend until Ctrl-C or SIGTERM; a fault in the settings is one line and exit code 1."""
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
    backend.start()
    logger.info("AutoForge %s at http://%s/api/docs", VERSION, _shown_address(settings))
    _serve(backend, listener)
    backend.stop()
    if broker is not None:
        broker.stop()
    signals.ignore()


def _listen(settings: Settings) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in settings.flask_host else socket.AF_INET
        return socket.create_server((settings.flask_host, settings.flask_port), family=family, backlog=1024)
    except OSError as error:
        raise SettingsError(
            f"FLASK_PORT={settings.flask_port}: cannot listen on {settings.address}: {error.strerror}"
        ) from error


def _shown_address(settings: Settings) -> str:
    everywhere = settings.flask_host in ("0.0.0.0", "::")  # noqa: S104 - compared only
    return f"localhost:{settings.flask_port}" if everywhere else settings.address


def _serve(backend: WebBackend, listener: socket.socket) -> None:
    """Answer requests until told to stop."""
    if sys.platform == "win32":
        make_server(*listener.getsockname()[:2], backend.web.app, threaded=True, fd=listener.fileno()).serve_forever()
    else:
        from serving.process import Server  # noqa: PLC0415 - gunicorn cannot be imported on Windows

        Server(backend.web.app, listener, backend.end_live).init_process()


def __getattr__(name: str) -> Any:
    """`app` and `live`, made when gunicorn or flask asks for one, so that importing this module does nothing.

    Socket.IO needs all requests of a client in one process: `live` serves it, and `app` the rest in any number of them.
    """
    keep_private()
    try:
        if name == "app":
            return create_app(load_settings(), "rest")
        if name == "live":
            return create_app(load_settings(), "live")
    except (SettingsError, StreamError) as error:
        # The commands of flask show this as one line.
        raise ClickException(str(error)) from error
    raise AttributeError(name)


if __name__ == "__main__":
    main()
