"""The middleware in front of Socket.IO: who is let in."""

import json
from typing import Any

import pytest
from werkzeug.test import create_environ, run_wsgi_app

from serving.websockets import MAX_SESSIONS, Connections

LET_IN = b"let in"


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [LET_IN]


def ask(path: str, sessions: int) -> tuple[str, bytes]:
    """Status and body of a GET while there are so many sessions."""
    body, status, _ = run_wsgi_app(
        Connections(application, lambda: sessions), create_environ(path), buffered=True
    )
    return status, b"".join(body)


def test_of_too_many_clients_the_last_is_refused_and_told_so() -> None:
    assert ask("/socket.io/?EIO=4&transport=polling", MAX_SESSIONS - 1) == ("200 OK", LET_IN)
    status, body = ask("/socket.io/?EIO=4&transport=polling", MAX_SESSIONS)
    assert status == "503 SERVICE UNAVAILABLE"
    assert "Try again later" in json.loads(body)["message"]


@pytest.mark.parametrize(
    "path", ["/socket.io/?EIO=4&transport=polling&sid=x", "/api/health", "/socket.ioX"]
)
def test_those_who_are_there_and_the_rest_of_the_api_are_let_in(path: str) -> None:
    assert ask(path, MAX_SESSIONS) == ("200 OK", LET_IN)
