"""A client of a running backend whose errors say what was expected, what came and what to do."""

import json
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from ingest.showing import shown
from utils.text import printable

POLL_SECONDS = 0.01


class Failure(Exception):
    """A failed check: what was expected, what came, and what to do."""

    def __init__(self, expected: str, came: str, advice: str) -> None:
        super().__init__(f"expected {expected}; came {came}; {advice}")


class RunningBackend:
    """A backend at a URL, with `timeout` seconds for each answer."""

    def __init__(self, url: str, timeout: float) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout
        # A proxy from the environment would get requests to 127.0.0.1 too.
        self._opener = build_opener(ProxyHandler({}))

    def ask(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Return the status and the JSON of a GET, or of a POST with a body. Raises Failure."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(self.url + path, data, headers)  # noqa: S310 - see server_url
        try:
            with self._open(request) as answer:
                status, kind, content = (
                    answer.status,
                    answer.headers.get_content_type(),
                    answer.read(),
                )
        except (OSError, HTTPException, UnicodeError) as error:
            reason = printable(str(getattr(error, "reason", error)) or type(error).__name__)
            advice = "start the backend, or give its address with --url"
            raise Failure(f"an answer from {self.url}", f"none: {reason}", advice) from error
        try:
            return status, json.loads(content)
        except (ValueError, RecursionError) as error:
            text = printable(content[:60].decode(errors="backslashreplace"))
            advice = "another server answers there: check --url and any proxy in front"
            raise Failure("JSON", f"{status} {kind}: {text}", advice) from error

    def get(self, path: str) -> Any:
        """Return the JSON of a successful GET. Raises Failure."""
        return good(*self.ask(path))

    def wait_for(self, path: str, arrived: Callable[[Any], bool]) -> Any:
        """Poll until the answer is accepted or the time is over; return the last answer.

        Raises Failure.
        """
        deadline = time.monotonic() + self._timeout
        while True:
            status, answer = self.ask(path)
            if (status == 200 and arrived(answer)) or time.monotonic() > deadline:
                return answer
            time.sleep(POLL_SECONDS)

    def expect(self, path: str, expected: dict[str, Any]) -> None:
        """Wait until an answer contains these values. Raises Failure."""
        answer = self.wait_for(path, lambda answer: not _differing(answer, expected))
        if wrong := sorted(_differing(answer, expected)):
            served = _data(answer)
            complete = served.keys() >= set(wrong)
            came = {name: served[name] for name in wrong} if complete else answer
            wanted = {name: expected[name] for name in wrong}
            raise Failure(shown(wanted), shown(came), self._advice(expected["timestamp"]))

    def _advice(self, at: str) -> str:
        for row in as_list(as_object(self.get("/api/rejected"), "data")["data"]):
            if at in str(as_object(row, "payload", "message")["payload"]):
                return f"it was rejected: {printable(str(row['message']))}"
        return "check that the backend ingests from the same broker, and that the clocks agree"

    def _open(self, request: Request) -> Any:
        try:
            return self._opener.open(request, timeout=self._timeout)
        except HTTPError as error:
            return error


def server_url(text: str) -> str:
    """Return a valid address of a backend. Raises ValueError saying what is allowed."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not text.isprintable() or set(" ?#") & set(text):
        raise ValueError(f"{text!r}: expected an address such as http://127.0.0.1:5000")
    return text


def good(status: int, answer: Any) -> Any:
    """Return the answer of a successful request. Raises Failure."""
    if status != 200:
        message = answer.get("message") if isinstance(answer, dict) else answer
        raise Failure(
            "200",
            f"{status}: {shown(message)}",
            "follow the message, or check that the backend has this version",
        )
    return answer


def as_object(answer: Any, *keys: str) -> dict[str, Any]:
    """Return an answer that is an object with these keys. Raises Failure."""
    if not isinstance(answer, dict) or not answer.keys() >= set(keys):
        raise Failure(
            f"an object with {', '.join(keys)}",
            shown(answer),
            "check that AutoForge answers there",
        )
    return answer


def as_list(answer: Any) -> list[Any]:
    """Return an answer that is an array. Raises Failure."""
    if not isinstance(answer, list):
        raise Failure("an array", shown(answer), "check that AutoForge answers there")
    return answer


def milliseconds_since(begun: float) -> str:
    """Return the rounded milliseconds since a monotonic time."""
    return f"{1000 * (time.monotonic() - begun):.0f}"


def _data(answer: Any) -> dict[str, Any]:
    inner = answer.get("data", answer) if isinstance(answer, dict) else {}
    return inner if isinstance(inner, dict) else {}


def _differing(answer: Any, expected: dict[str, Any]) -> set[str]:
    served = _data(answer)
    return {name for name in expected if name not in served or served[name] != expected[name]}
