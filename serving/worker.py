"""gunicorn's threaded worker, with limits on the time, threads and memory of a connection."""

import errno
import logging
import selectors
import time
from typing import Any

from gunicorn.http.errors import InvalidResponseHeader, InvalidResponseHeaderName, ParseException
from gunicorn.workers.gthread import ThreadWorker
from werkzeug.exceptions import HTTPException

from serving.answer_socket import AnswerSocket, Unread
from serving.arrivals import Arrivals
from serving.body import TOO_SLOW, WholeBody, check_codings
from serving.connection import HttpConnection
from serving.headers import check_single
from serving.refusal import message_of, refusal, status_of
from serving.shares import Shares
from utils import descriptors
from utils.logger import Throttle

logger = logging.getLogger(__name__)
PAUSE_SECONDS = 0.5
"""How long nothing is accepted when there is no descriptor for it."""
YIELD_SECONDS = 0.001
"""How long a worker that has more connections than another leaves the next one to it."""
BUSY = "The server is busy: all its connections are in use. Try again later"
NO_TLS = "certfile: AutoForge does not speak TLS itself. Put nginx in front (deploy/nginx.conf)"
_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Gives a thread only to a request that has arrived; a slow or silent connection costs none.

    At most `worker_connections` are held. A further one takes the room of the one that has been
    silent longest, or gets 503 if all are busy.
    """

    slot = 0
    """The number of this worker among those of its master (gunicorn.conf.py)."""
    _shares = Shares()
    _arrivals: Arrivals

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._unread = Unread()
        self._accept_again = 0.0
        self._throttle = Throttle(seconds=60)

    @classmethod
    def check_config(cls, cfg: Any, _: Any) -> None:
        """Raise SystemExit for what this worker cannot do."""
        if cfg.is_ssl:
            raise SystemExit(NO_TLS)

    def init_process(self) -> None:
        """Serve until told to stop."""
        self.worker_connections = min(self.cfg.worker_connections, descriptors.allow_most())
        self.max_keepalived = self.worker_connections
        # The headers of a proxy are believed as PROXY_COUNT has it, and not from any local client.
        self.cfg.set("forwarder_headers", "")
        self.cfg.set("secure_scheme_headers", {})
        # The system call would wait for a slow client without a limit.
        self.cfg.set("sendfile", "false")
        super().init_process()

    def run(self) -> None:
        """Accept, read, hand over and expire, until told to stop; then let what runs end."""
        called = self.method_queue.run_callbacks
        self.poller.register(self.method_queue.fileno(), selectors.EVENT_READ, called)
        self._arrivals = Arrivals(self.poller, self.enqueue_req, self._on_end, self._throttle)
        self._shares.set(self.slot, 0)
        while self.alive and self.is_parent_alive():
            pause = self._accept_again - time.monotonic()
            self.set_accept_enabled(pause <= 0)
            self._turn(pause if pause > 0 else PAUSE_SECONDS)
        self.set_accept_enabled(False)
        self._shares.leave(self.slot)
        self._arrivals.hurry()
        deadline = time.monotonic() + self.cfg.graceful_timeout
        while self.nr_conns > 0 and time.monotonic() < deadline:
            self._turn(PAUSE_SECONDS)
        self._clean_up()

    def _turn(self, seconds: float) -> None:
        self.notify()
        self.wait_for_and_dispatch_events(timeout=seconds)
        self._arrivals.end_expired()

    def _clean_up(self) -> None:
        self._arrivals.end_all()
        self.tpool.shutdown(wait=False)
        self.poller.close()
        self.method_queue.close()
        for listener in self.sockets:
            listener.close()

    def accept(self, listener: Any) -> None:
        """Take a connection; most bring their request along."""
        try:
            accepted, client = listener.accept()
        except OSError as error:
            if error.errno in _OUT_OF:
                self._out_of_descriptors(error)
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        answering = AnswerSocket(descriptors.lifted(accepted), self._unread)
        connection = HttpConnection(self.cfg, answering, client, listener.getsockname())
        self._count(+1)
        if self.nr_conns > self._shares.least():
            self._accept_again = time.monotonic() + YIELD_SECONDS
        if self.nr_conns > self.worker_connections and not self._arrivals.make_room():
            self._arrivals.refuse(connection, 503, BUSY)
        else:
            self._arrivals.receive(connection)

    def _out_of_descriptors(self, error: OSError) -> None:
        refused = f"No connection can be accepted: {error.strerror}"
        self._throttle.warn(logger, "descriptors", refused)
        if not self._arrivals.make_room():
            self._accept_again = time.monotonic() + PAUSE_SECONDS

    def _on_end(self) -> None:
        self._count(-1)

    def _count(self, change: int) -> None:
        self.nr_conns += change
        if self.alive:
            self._shares.set(self.slot, self.nr_conns)

    def finish_request(self, conn: HttpConnection, fs: Any) -> None:
        """Wait for the next request of a connection, or end it; called on the main thread."""
        if fs.cancelled() or fs.exception() or not fs.result():
            self._arrivals.lingering_close(conn)
        else:
            self._arrivals.wait_for_next(conn, self.cfg.keepalive if self.alive else None)

    def handle(self, conn: HttpConnection) -> bool:
        """Answer a request on a thread of the pool; whether the connection can take another."""
        request = None
        try:
            request = next(conn.parser)
            check_codings(request)
            check_single(request)
            request.body.reader = WholeBody(request.body.reader)
            return bool(self._keepalive_after(conn, self.handle_request(request, conn)))
        except (StopIteration, HTTPException):
            pass  # it has been answered, and the rest of its body is not worth waiting for
        except TimeoutError:
            conn.send_answer(refusal(408, TOO_SLOW))
        except OSError as error:
            # The client has gone, or does not read what it asked for.
            logger.debug("A connection has ended: %s", error)
        except ParseException as error:
            self._refuse_request(request, conn, error)
        except Exception as error:  # noqa: BLE001 - logged and answered with 500
            self.handle_error(request, conn.sock, conn.client, error)
        return False

    def _refuse_request(self, request: Any, conn: HttpConnection, error: ParseException) -> None:
        if isinstance(error, InvalidResponseHeader | InvalidResponseHeaderName):
            self.handle_error(request, conn.sock, conn.client, error)
            return
        message = message_of(error)
        self._throttle.warn(logger, "nonsense", f"Refused what {conn.client} sent: {message}")
        conn.send_answer(refusal(status_of(error), message))
