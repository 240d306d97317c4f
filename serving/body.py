"""Reads the bytes of a request in time; a client that is too slow or breaks off gets a 4xx."""

import socket
import time
from typing import Any

from gunicorn.http.body import LengthReader
from gunicorn.http.errors import NoMoreData, ParseException, UnsupportedTransferCoding
from gunicorn.http.unreader import SocketUnreader
from werkzeug.exceptions import BadRequest, RequestTimeout

SECONDS = 15.0
"""How long a client may take to send a request."""
RATE = 20_000
"""Bytes that buy one second more, so that a long body may come over a slow line."""
_ALLOWED = f"{SECONDS:.0f} s and {RATE} bytes a second more"
TOO_SLOW = f"The request did not arrive within {_ALLOWED}. Send it in smaller parts"


class ReceiveDeadline:
    """Until when the next byte of a request must have arrived."""

    def __init__(self) -> None:
        self._deadline = time.monotonic() + SECONDS

    def count(self, received: int) -> None:
        """Give more time for so many bytes."""
        self._deadline += received / RATE

    def left(self) -> float:
        """Seconds; not above 0 when the client is too slow."""
        return self._deadline - time.monotonic()


class TimedUnreader(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """Reads from a connection until its deadline. Raises TimeoutError."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self.deadline = ReceiveDeadline()

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next bytes; none at the end."""
        left = self.deadline.left()
        if left <= 0:
            raise TimeoutError(TOO_SLOW)
        self.sock.settimeout(left)
        try:
            data: bytes = super().chunk(size_hint)
        finally:
            self.sock.settimeout(None)
        self.deadline.count(len(data))
        return data


def check_codings(request: Any) -> None:
    """Raise UnsupportedTransferCoding for a coding beside chunked.

    gunicorn takes `gzip, chunked` and hands on the compressed bytes as the body.
    """
    for name, value in request.headers:
        if name == "TRANSFER-ENCODING" and value.strip().lower() != "chunked":
            raise UnsupportedTransferCoding(value)


class WholeBody:
    """Reads a body for the application, which must not take a part of one for the whole."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._missing: int | None = reader.length if isinstance(reader, LengthReader) else None

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end. Raises BadRequest, RequestTimeout."""
        wanted = size if self._missing is None else min(size, self._missing)
        try:
            data: bytes = self._reader.read(wanted)
        except TimeoutError as error:
            raise RequestTimeout(TOO_SLOW) from error
        except (ParseException, NoMoreData, OSError) as error:
            raise BadRequest(f"The body cannot be read: {_reason(error)}") from error
        if self._missing is not None:
            self._missing -= len(data)
            if len(data) < wanted:
                missing = f"{self._missing} bytes of Content-Length did not come"
                raise BadRequest(f"The body broke off: {missing}")
        return data


def _reason(error: Exception) -> str:
    return "it broke off" if isinstance(error, OSError) else str(error)
