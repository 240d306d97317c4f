"""Runs the static publisher at a broker: as a program, or as a service in this process."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from config import Settings
from publisher import service as module
from tests.publishing import Entries, MakeService, Run, Service, Subscriber, entry, running, write
from tests.support import Mosquitto


@pytest.fixture
def run(tmp_path: Path, broker: Mosquitto) -> Run:
    """Runs the program in the test's folder, at the broker of the module."""
    return partial(running, tmp_path, broker.port)


@pytest.fixture
def alone(tmp_path: Path, mosquitto: Mosquitto) -> Run:
    """Runs the program in the test's folder, at a broker of the test's own."""
    return partial(running, tmp_path, mosquitto.port)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with one entry."""
    write(tmp_path / "entries.json", [entry("a")])
    return tmp_path / "entries.json"


@pytest.fixture
def service(
    settings: Callable[..., Settings],
    mosquitto: Mosquitto,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[MakeService]:
    """Makes services of the file, which check it 20 times a second; those with entries are started."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(module, "SAVE_SECONDS", 0.1)
    made: list[Service] = []

    def make(entries: Entries = (), port: int = mosquitto.port, **values: str) -> Service:
        used = {"mqtt_broker": "127.0.0.1", "mqtt_port": port} | values
        made.append(Service(settings(**used), file))
        if entries:
            made[-1].write(entries)
            made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def heard(mosquitto: Mosquitto) -> Iterator[Subscriber]:
    """Hears everything at the broker of the service."""
    with Subscriber(mosquitto.port) as subscriber:
        yield subscriber
