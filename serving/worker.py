"""gunicorn's threaded worker, with a limit on what a connection may cost: time, threads, memory and descriptors."""

import contextlib
import errno
import logging
import selectors
import time
from typing import Any

from gunicorn.http.errors import InvalidResponseHeader, InvalidResponseHeaderName, ParseException
from gunicorn.workers.gthread import ThreadWorker
from werkzeug.exceptions import HTTPException

from serving.body import TOO_SLOW, WholeBody
from serving.connection import Connection, State
from serving.framing import Arrived, missing
from serving.refusal import refusal, sentence, status_of
from serving.shares import Shares
from utils import descriptors
from utils.answer_socket import AnswerSocket, Unread
from utils.logger import Throttle

logger = logging.getLogger(__name__)
MAX_STREAMED = 8
"""Requests at a time whose body a thread reads, because it is long or of unknown length."""
PAUSE_SECONDS = 0.5
"""How long nothing is accepted when there is no descriptor for it."""
YIELD_SECONDS = 0.001
"""How long a worker that has more connections than another leaves the next one to it."""
LOOK_SECONDS = 0.1
"""Between two looks at which connections have been waited for long enough; with many, each look takes a while."""
LAST_WORDS_SECONDS = 2.0
"""How long a connection that we end waits for the client to end it too, so that it can read the answer."""
BUSY = "The server is busy: all its connections are in use. Try again later"
_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Gives a thread only to a request that has arrived; a connection that is slow or silent costs none.

    `worker_connections` are held. Of more, the one that has been silent longest makes room, and where all are busy
    the new one gets 503.
    """

    slot = 0
    """The number of this worker among those of its master (gunicorn.conf.py)."""
    _shares = Shares()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._parked: dict[Connection, None] = {}
        self._unread = Unread()
        self._streamed = 0
        self._accept_again = self._look_again = 0.0
        self._throttle = Throttle(seconds=60)

    @classmethod
    def check_config(cls, cfg: Any, _: Any) -> None:
        """Raise SystemExit for what this worker cannot do."""
        if cfg.is_ssl:
            raise SystemExit("certfile: AutoForge does not speak TLS itself. Put nginx in front (deploy/nginx.conf)")

    def init_process(self) -> None:
        """Serve until told to stop."""
        self.worker_connections = min(self.cfg.worker_connections, descriptors.allow_most())
        self.max_keepalived = self.worker_connections
        # What a proxy says is believed as PROXY_COUNT has it, and not from everybody on this machine.
        self.cfg.set("forwarder_headers", "")
        self.cfg.set("secure_scheme_headers", {})
        # The system call would wait for a slow client without a limit.
        self.cfg.set("sendfile", "false")
        super().init_process()

    def run(self) -> None:
        """Accept, read, hand over and expire, until told to stop; then let what runs end."""
        self.poller.register(self.method_queue.fileno(), selectors.EVENT_READ, self.method_queue.run_callbacks)
        self._shares.tell(self.slot, 0)
        while self.alive and self.is_parent_alive():
            pause = self._accept_again - time.monotonic()
            self.set_accept_enabled(pause <= 0)
            self._turn(pause if pause > 0 else PAUSE_SECONDS)
        self.set_accept_enabled(False)
        self._shares.leave(self.slot)
        for connection in self._parked:
            connection.hurry(LAST_WORDS_SECONDS)
        deadline = time.monotonic() + self.cfg.graceful_timeout
        while self.nr_conns > 0 and time.monotonic() < deadline:
            self._turn(PAUSE_SECONDS)
        self._clean_up()

    def _turn(self, seconds: float) -> None:
        self.notify()
        self.wait_for_and_dispatch_events(timeout=seconds)
        if (now := time.monotonic()) >= self._look_again:
            self._look_again = now + LOOK_SECONDS
            for connection in [parked for parked in self._parked if parked.expired()]:
                self._expire(connection)

    def _clean_up(self) -> None:
        for connection in list(self._parked):
            self._end(connection)
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
        connection = Connection(self.cfg, answering, client, listener.getsockname())
        self._count(+1)
        if self.nr_conns > self._shares.least():
            self._accept_again = time.monotonic() + YIELD_SECONDS
        if self.nr_conns > self.worker_connections and not self._make_room():
            self._refuse(connection, 503, BUSY)
        else:
            self._receive(connection)

    def _out_of_descriptors(self, error: OSError) -> None:
        self._throttle.warn(logger, "descriptors", f"No connection can be accepted: {error.strerror}")
        if not self._make_room():
            self._accept_again = time.monotonic() + PAUSE_SECONDS

    def _make_room(self) -> bool:
        """End the connection that has been silent longest, if there is one."""
        oldest = next((parked for parked in self._parked if parked.state is not State.RECEIVING), None)
        oldest = oldest or next(iter(self._parked), None)
        if oldest is not None:
            self._throttle.warn(logger, "room", "Too many connections: those that send nothing make room")
            self._end(oldest)
        return oldest is not None

    def _receive(self, connection: Connection) -> None:
        """Take what has come, and hand the request over when it is there."""
        try:
            open_still = connection.receive()
        except OSError:
            self._end(connection)
            return
        if connection.state is State.ENDING:
            if not open_still:
                self._end(connection)
        elif not open_still and connection.buffer:
            self._refuse(connection, 400, f"The request broke off: {missing(connection.buffer)}")
        elif not open_still:
            self._end(connection)
        else:
            self._hand_over(connection)

    def _hand_over(self, connection: Connection) -> None:
        came = connection.arrived()
        if came is Arrived.PART:
            self._park(connection)
        elif came is Arrived.STREAM and self._streamed >= MAX_STREAMED:
            self._refuse(connection, 503, f"More than {MAX_STREAMED} long requests are arriving. Try again later")
        else:
            self._unpark(connection)
            connection.begin(streamed=came is Arrived.STREAM)
            self._streamed += connection.streamed
            self.enqueue_req(connection)

    def _park(self, connection: Connection) -> None:
        """Wait for the client without a thread."""
        if connection not in self._parked:
            self._parked[connection] = None
            self.poller.register(connection.sock, selectors.EVENT_READ, lambda _: self._readable(connection))

    def _readable(self, connection: Connection) -> None:
        # One that was ready in the same turn may have taken its room.
        if connection in self._parked:
            self._receive(connection)

    def _unpark(self, connection: Connection) -> None:
        if connection in self._parked:
            del self._parked[connection]
            self.poller.unregister(connection.sock)

    def _expire(self, connection: Connection) -> None:
        if connection.state is State.RECEIVING and connection.buffer:
            self._refuse(connection, 408, TOO_SLOW)
        else:
            self._end(connection)

    def _refuse(self, connection: Connection, status: int, message: str) -> None:
        with contextlib.suppress(OSError):
            connection.sock.send(refusal(status, message))
        self._say_goodbye(connection)

    def _say_goodbye(self, connection: Connection) -> None:
        """End a connection so that the client can read what it was told: reset would throw that away."""
        self._unpark(connection)
        try:
            connection.end(LAST_WORDS_SECONDS)
            self._park(connection)
        except OSError:
            self._end(connection)

    def _end(self, connection: Connection) -> None:
        self._unpark(connection)
        self._count(-1)
        connection.close()

    def _count(self, change: int) -> None:
        self.nr_conns += change
        if self.alive:
            self._shares.tell(self.slot, self.nr_conns)

    def finish_request(self, conn: Connection, fs: Any) -> None:
        """Wait for the next request of a connection, or end it; called on the main thread."""
        self._streamed -= conn.streamed
        if fs.cancelled() or fs.exception() or not fs.result():
            self._say_goodbye(conn)
            return
        conn.next_request(self.cfg.keepalive if self.alive else LAST_WORDS_SECONDS)
        if conn.buffer:
            self._hand_over(conn)
        else:
            self._park(conn)

    def handle(self, conn: Connection) -> bool:
        """Answer a request, on a thread of the pool; whether the connection can take another."""
        request = None
        try:
            request = next(conn.parser)
            request.body.reader = WholeBody(request.body.reader)
            return bool(self._keepalive_after(conn, self.handle_request(request, conn)))
        except (StopIteration, HTTPException):
            pass  # it has been answered, and what is left of its body is not worth waiting for
        except TimeoutError:
            conn.tell(refusal(408, TOO_SLOW))
        except OSError as error:
            # The client has gone, or does not read what it asked for.
            logger.debug("A connection has ended: %s", error)
        except ParseException as error:
            self._answer_nonsense(request, conn, error)
        except Exception as error:  # noqa: BLE001 - logged and answered with 500
            self.handle_error(request, conn.sock, conn.client, error)
        return False

    def _answer_nonsense(self, request: Any, conn: Connection, error: ParseException) -> None:
        if isinstance(error, InvalidResponseHeader | InvalidResponseHeaderName):
            self.handle_error(request, conn.sock, conn.client, error)
        else:
            self._throttle.warn(logger, "nonsense", f"Refused what {conn.client} sent: {sentence(error)}")
            conn.tell(refusal(status_of(error), sentence(error)))
