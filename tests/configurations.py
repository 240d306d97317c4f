"""The static publisher's file over REST: its entries, and how to ask for them."""

import json
from pathlib import Path
from typing import Any

from tests.api import Api

CONFIGS = "/api/publisher/configs"
BOILER: dict[str, Any] = {
    "id": "boiler",
    "topic": "plant/boiler",
    "data": {"t": 1.5, "unit": "°C"},
    "interval": 30,
}
PUMP: dict[str, Any] = {
    "id": "pump 1",
    "topic": "plant/pump",
    "data": {},
    "interval": 0.5,
    "lwt": True,
    "version": 7,
}
BROKEN = '[{"id": "boiler",'


def ask(api: Api, method: str, path: str, body: Any = None, expect: int = 200, **query: Any) -> Any:
    """The JSON of a request that says it is JSON, with a body or without."""
    sent: dict[str, Any] = {
        "content_type": None if method in ("GET", "DELETE") else "application/json"
    }
    sent |= {} if body is None else {"data": json.dumps(body)}
    answer = api.client.open(path, method=method, query_string=query or None, **sent)
    assert (answer.status_code, answer.mimetype) == (expect, "application/json"), answer.text
    return json.loads(answer.text)


def entries(file: Path) -> Any:
    return json.loads(file.read_bytes())
