"""Fixtures that several tests of REST share."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config import Settings
from tests.api import Api, running
from tests.configurations import BOILER, PUMP
from tests.devices import DeviceClient
from tests.fixtures import Lend
from tests.support import free_port


@pytest.fixture(scope="module")
def used_streams(request: pytest.FixtureRequest) -> str:
    """As for all tests, but most of these know only one stream."""
    return str(getattr(request.module, "USED_STREAMS", "sensors"))


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
def publisher(
    settings: Callable[..., Settings],
    file: Path,
    tmp_path: Path,
    lent_database: Lend,
    used_streams: str,
) -> Iterator[Api]:
    """The API that has this file; nothing is started, and there is no broker."""
    with lent_database("sqlite", tmp_path) as url:
        used = settings(
            publisher_config=file,
            mqtt_broker="127.0.0.1",
            mqtt_port=free_port(),
            database_url=url,
            streams=used_streams,
        )
        with running(used) as made:
            yield made
