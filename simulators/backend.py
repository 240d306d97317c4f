"""An HTTP client of the backend: posts readings, and reads the last one of a device."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from broker.dialer import reason

_SECONDS = 10.0
_SHORT_SECONDS = 2.0


class Away(Exception):
    """The backend did not answer, or the answer is not AutoForge's; the text says why."""


class BackendResponse(NamedTuple):
    """The status and body of a response."""

    status: int
    text: str


class _EveryAnswer(urllib.request.HTTPErrorProcessor):
    def http_response(
        self,
        request: urllib.request.Request,  # noqa: ARG002 - the interface
        response: Any,
    ) -> Any:
        return response

    https_response = http_response


class BackendClient:
    """AutoForge at an address such as `http://127.0.0.1:5000`."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _EveryAnswer)

    def post(self, path: str, body: bytes) -> BackendResponse:
        """Post JSON. Raises Away when there is no answer."""
        return self._ask(path, _SECONDS, body)

    def check(self) -> None:
        """Check that the backend answers. Raises Away."""
        self._get("/api/health", 200, 503)

    def latest(self, stream: str, device_id: str) -> Mapping[str, Any] | None:
        """Return a device's last reading, or None if there is none. Raises Away."""
        answer = self._get(f"/api/{stream}/latest?device_id={quote(device_id, safe='')}", 200, 404)
        return answer.get("data")

    def _get(self, path: str, *statuses: int) -> dict[str, Any]:
        answer = self._ask(path, _SHORT_SECONDS)
        try:
            body = json.loads(answer.text)
        except ValueError:
            body = None
        if answer.status not in statuses or not isinstance(body, dict):
            raise Away(f"it answers {answer.status}, which is not an answer of AutoForge")
        return body

    def _ask(self, path: str, seconds: float, body: bytes | None = None) -> BackendResponse:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, body, headers)  # noqa: S310 - HTTP only
        try:
            with self._opener.open(request, timeout=seconds) as answer:
                return BackendResponse(answer.status, answer.read().decode(errors="replace"))
        except urllib.error.URLError as error:
            raise Away(
                reason(error.reason) if isinstance(error.reason, Exception) else error.reason
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise Away(reason(error)) from error
