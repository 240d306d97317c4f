"""AutoForge: `python app.py` runs the whole backend; gunicorn serves `app` and `live`."""

import logging
import sys
from typing import Any

from click import ClickException
from flask_openapi.openapi import OpenAPI

from broker import embedded
from config import (
    VERSION,
    Settings,
    SettingsError,
    load_settings,
    warn_of_exposed_files,
    warn_of_unknown_settings,
)
from services.configurations import check_file
from serving import server
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
        listener = server.listen(settings)
        backend = WebBackend(settings)
        broker = embedded.start_if_needed(settings)
    except (SettingsError, StreamError) as error:
        sys.exit(f"{error}")
    logger.info("Configuration: MQTT=%s, database=%s", settings.broker, backend.database)
    backend.start(ended)
    if not ended.is_set():
        logger.info("AutoForge %s at http://%s/api/docs", VERSION, server.shown_address(settings))
    server.serve(backend.web.app, listener, ended, backend.end_live)
    logger.info("Stopping")
    backend.stop()
    if broker is not None:
        broker.stop()
    signals.ignore()


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
