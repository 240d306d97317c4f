"""A running backend as its clients see it: what it answers, and a sentence for each way in which it does not."""

import json
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from ingest.values import shown
from utils.text import printable

POLL_SECONDS = 0.01


class Failure(Exception):
    """A check that failed: what was expected, what came, and what to do."""

    def __init__(self, expected: str, came: str, advice: str) -> None:
        super().__init__(f"expected {expected}; came {came}; {advice}")


class RunningBackend:
    """A backend at a URL; it has `timeout` seconds for each answer."""

    def __init__(self, url: str, timeout: float) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout
        # A proxy of the environment would be asked for 127.0.0.1 too.
        self._opener = build_opener(ProxyHandler({}))

    def ask(self, path: str, body: Any = None) -> tuple[int, Any]:
        """The status and the JSON of a GET, or of a POST if there is a body. Raises Failure."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data, {"Content-Type": "application/json"})  # noqa: S310 - see server_url
        try:
            with self._open(request) as answer:
                status, kind, content = (
                    answer.status,
                    answer.headers.get_content_type(),
                    answer.read(),
                )
        except (OSError, HTTPException, UnicodeError) as error:
            reason = printable(str(getattr(error, "reason", error)) or type(error).__name__)
            advice = "start the backend, or name its address with --url"
            raise Failure(f"an answer from {self.url}", f"none: {reason}", advice) from error
        try:
            return status, json.loads(content)
        except (ValueError, RecursionError) as error:
            text = printable(content[:60].decode(errors="backslashreplace"))
            advice = "what answers there is not AutoForge, or not alone: look at --url and at the proxy in front"
            raise Failure("JSON", f"{status} {kind}: {text}", advice) from error

    def get(self, path: str) -> Any:
        """The JSON of a GET that succeeds. Raises Failure."""
        return good(*self.ask(path))

    def wait_for(self, path: str, arrived: Callable[[Any], bool]) -> Any:
        """Ask until the answer is as wished, or until the time is over; the last answer. Raises Failure."""
        deadline = time.monotonic() + self._timeout
        while True:
            status, answer = self.ask(path)
            if (status == 200 and arrived(answer)) or time.monotonic() > deadline:
                return answer
            time.sleep(POLL_SECONDS)

    def _open(self, request: Request) -> Any:
        try:
            return self._opener.open(request, timeout=self._timeout)
        except HTTPError as error:
            return error


def server_url(text: str) -> str:
    """The address of a backend, as given. Raises ValueError saying what is allowed."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not text.isprintable() or set(" ?#") & set(text):
        raise ValueError(f"{text!r}: expected an address such as http://127.0.0.1:5000")
    return text


def good(status: int, answer: Any) -> Any:
    """The answer of a request that has succeeded. Raises Failure."""
    if status != 200:
        message = answer.get("message") if isinstance(answer, dict) else answer
        raise Failure(
            "200",
            f"{status}: {shown(message)}",
            "do what it says, or look whether it is this version",
        )
    return answer


def as_object(answer: Any, *keys: str) -> dict[str, Any]:
    """An answer that is an object with these keys. Raises Failure."""
    if not isinstance(answer, dict) or not answer.keys() >= set(keys):
        raise Failure(
            f"an object with {', '.join(keys)}",
            shown(answer),
            "look whether AutoForge answers there",
        )
    return answer


def as_list(answer: Any) -> list[Any]:
    """An answer that is an array. Raises Failure."""
    if not isinstance(answer, list):
        raise Failure("an array", shown(answer), "look whether AutoForge answers there")
    return answer
