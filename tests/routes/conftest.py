"""Fixtures that several tests of REST share."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config import Settings
from tests.api import Api, running
from tests.configurations import BOILER, PUMP
from tests.devices import DeviceClient
from tests.support import free_port


@pytest.fixture
def device(fast_broker: int) -> Iterator[DeviceClient]:
    """A device that listens for commands."""
    made = DeviceClient(fast_broker)
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of the static publisher with the entries boiler and pump 1."""
    path = tmp_path / "publisher.json"
    path.write_text(json.dumps([BOILER, PUMP]))
    return path


@pytest.fixture
def publisher(settings: Callable[..., Settings], file: Path) -> Iterator[Api]:
    """The API that has this file; nothing is started, and there is no broker."""
    used = settings(publisher_config=file, mqtt_broker="127.0.0.1", mqtt_port=free_port())
    with running(used) as made:
        yield made
