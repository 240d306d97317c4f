"""gunicorn: the master owns the embedded broker, and workers start after the fork."""

import signal
import threading
from typing import Any

from broker import embedded
from config import (
    SettingsError,
    check_listening,
    load_settings,
    warn_of_exposed_files,
    warn_of_unknown_settings,
)
from services.configurations import check_file
from streams.checks import StreamError
from utils import files, logger
from utils.signals import aside
from wiring import backend
from wiring.web import backend_of

try:
    settings = load_settings()
except SettingsError as error:
    raise SystemExit(str(error)) from None
bind = settings.address
workers = 2
# In one process these requests hold a thread each: up to 200 live clients and waits for a command
# (MAX_HELD in wiring/backend.py), 36 requests that read many rows (HEAVY_REQUESTS, and MAX_WAITING
# in services/heavy.py), 48 responses to slow clients (MOST_UNREAD in serving/answer_socket.py) and
# 8 long bodies (MAX_STREAMED in serving/arrivals.py).
worker_class = "serving.worker.Worker"
threads = 320
worker_connections = 2000
proc_name = "worker"
graceful_timeout = 20
control_socket_disable = True
_broker: Any = None


def on_starting(server: Any) -> None:
    """Start the embedded broker, if one is needed, where no killed worker takes it down."""
    global _broker  # noqa: PLW0603 - gunicorn's hooks share nothing but this module
    files.keep_private()
    logger.configure(
        settings.log_level,
        settings.log_file,
        "" if server.cfg.proc_name == "worker" else "live-master",
    )
    warn_of_exposed_files(settings)
    try:
        warn_of_unknown_settings()
        # Another address may be named on the command line.
        if bind in server.cfg.bind:
            check_listening("FLASK_HOST", settings.flask_host)
        check_file(settings)
        # Before the workers, whose errors gunicorn prints as tracebacks.
        backend.check(settings)
        _broker = embedded.start_if_needed(settings)
    except (SettingsError, StreamError) as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        raise SystemExit(0) from None  # as gunicorn ends later


def on_exit(_: Any) -> None:
    """Stop the embedded broker after the last worker."""
    if _broker is not None:
        _broker.stop()


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker the lowest free number: a replacement goes on in the same log file."""
    taken = {other.slot for other in server.WORKERS.values()}
    worker.slot = min(set(range(1, len(taken) + 2)) - taken)


def post_fork(_: Any, worker: Any) -> None:
    """Log to a file of the worker's own: processes that rotate one file lose lines."""
    logger.configure(settings.log_level, settings.log_file, f"{worker.cfg.proc_name}-{worker.slot}")
    # With --preload it was made before the fork, and all workers would share its sockets, locks and
    # selectors.
    worker.app.callable = None


def post_worker_init(worker: Any) -> None:
    """Start the background work; at the end close the live clients, which gunicorn awaits."""
    ending = signal.getsignal(signal.SIGTERM)
    ended = threading.Event()

    def end() -> None:
        ended.set()
        backend_of(worker.wsgi).end_live()
        if callable(ending):
            ending(signal.SIGTERM, None)

    # Before the start, which waits for the database.
    signal.signal(signal.SIGTERM, aside(end))
    backend_of(worker.wsgi).start(ended)


def worker_exit(_: Any, worker: Any) -> None:
    """Commit and acknowledge what was received."""
    if getattr(worker, "wsgi", None) is not None:
        backend_of(worker.wsgi).stop()
