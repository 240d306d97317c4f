"""The static publisher's file over REST: its entries, the API that has it, and how to ask it."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from config import Settings
from tests.api import Api, running
from tests.support import free_port

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


def written_to(folder: Path) -> Path:
    """A file with the entries boiler and pump 1."""
    path = folder / "publisher.json"
    path.write_text(json.dumps([BOILER, PUMP]))
    return path


def managing(settings: Callable[..., Settings], file: Path) -> AbstractContextManager[Api]:
    """The API with a file; nothing is started, and there is no broker."""
    return running(settings(publisher_config=file, mqtt_broker="127.0.0.1", mqtt_port=free_port()))


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
