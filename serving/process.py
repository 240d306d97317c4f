"""`python app.py`: gunicorn's worker in this process, without its master."""

import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger

from serving.worker import Worker
from utils.files import PRIVATE
from utils.signals import aside

THREADS = 1_200
"""Started when they are needed; each websocket holds one."""
CONNECTIONS = 2_000
GRACE_SECONDS = 5
"""How long requests may run on at the end: `docker stop` waits for 10 s in all."""


class _Application:
    """What the worker asks for the application."""

    def __init__(self, wsgi_app: Any) -> None:
        self._wsgi_app = wsgi_app

    def wsgi(self) -> Any:
        return self._wsgi_app


class Server(Worker):
    """Serves an application on a listening socket; calls `ending` on a thread when it stops."""

    def __init__(
        self,
        application: Any,
        listener: socket.socket,
        ending: Callable[[], None],
    ) -> None:
        cfg = Config()
        settings = {
            "threads": THREADS,
            "worker_connections": CONNECTIONS,
            "graceful_timeout": GRACE_SECONDS,
            # For a moment the worker sets this umask, while other threads create files.
            "umask": PRIVATE,
        }
        for name, value in settings.items():
            cfg.set(name, value)
        self._ending = ending
        super().__init__(0, os.getppid(), [listener], _Application(application), 0, cfg, _log(cfg))

    def init_process(self) -> None:
        """Serve until told to stop."""
        try:
            super().init_process()
        finally:
            self.tmp.close()
            for descriptor in self.PIPE:
                os.close(descriptor)

    def init_signals(self) -> None:
        """Stop at SIGTERM and Ctrl-C; a second Ctrl-C does not wait."""
        stop = aside(self._stop)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)

    def _stop(self) -> None:
        """Accept nothing more; what runs may end."""
        self._ending()
        self.handle_exit(signal.SIGTERM, None)

    def notify(self) -> None:
        """No master wants to know that this process lives."""

    def is_parent_alive(self) -> bool:
        """There is no master that could have ended."""
        return True


def _log(cfg: Config) -> Logger:
    """Gunicorn's log, written where ours is (utils/logger.py)."""
    log = Logger(cfg)
    log.error_log.handlers.clear()
    log.error_log.propagate = True
    return log
