"""The HTTP server of `python app.py`: gunicorn's worker, or werkzeug's server on Windows."""

import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from werkzeug.serving import make_server

from config import Settings, SettingsError, check_listening


def listen(settings: Settings) -> socket.socket:
    """Return a socket that listens on the address of the settings. Raises SettingsError."""
    host, port = settings.flask_host, settings.flask_port
    check_listening("FLASK_HOST", host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        problem = f"cannot listen on {settings.address}: {error.strerror}"
        raise SettingsError(f"FLASK_PORT={port}: {problem}") from error


def shown_address(settings: Settings) -> str:
    """Return the address that a browser on this machine can open."""
    everywhere = settings.flask_host in ("0.0.0.0", "::")  # noqa: S104 - compared only
    return f"localhost:{settings.flask_port}" if everywhere else settings.address


def serve(
    application: Any,
    listener: socket.socket,
    ended: threading.Event,
    ending: Callable[[], None],
) -> None:
    """Answer requests until `ended` is set or a signal stops the process.

    `ended` may be set already. gunicorn's worker calls `ending` when a signal stops it.
    """
    if sys.platform == "win32":
        host, port = listener.getsockname()[:2]
        server = make_server(host, port, application, threaded=True, fd=listener.fileno())
        _when(ended, server.shutdown)
        server.serve_forever()
    else:
        from serving.process import Server  # noqa: PLC0415 - gunicorn cannot be imported on Windows

        worker = Server(application, listener, ending)

        def stop() -> None:
            worker.alive = False

        # The worker handles signals only once it runs, and one may come before.
        _when(ended, stop)
        worker.init_process()


def _when(ended: threading.Event, action: Callable[[], None]) -> None:
    def wait() -> None:
        ended.wait()
        action()

    threading.Thread(target=wait, name="ended", daemon=True).start()
