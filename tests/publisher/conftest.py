"""Runs the static publisher at a broker: as a program, or as a service in this process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from config import Settings
from publisher import service as module
from tests.publishing import Entries, Program, PublisherSite, RecordingSubscriber, Run, entry, write
from tests.support import Mosquitto


@pytest.fixture
def run(tmp_path: Path, broker: Mosquitto) -> Run:
    """Runs the program at the broker of the module, with a subscriber to a topic."""

    @contextmanager
    def running(
        topic: str, entries: Entries, **more: str
    ) -> Iterator[tuple[RecordingSubscriber, Program]]:
        program = Program(tmp_path, broker.port, entries, **more)
        with RecordingSubscriber(broker.port, topic) as heard, program:
            yield heard, program

    return running


@pytest.fixture
def site(
    settings: Callable[..., Settings],
    mosquitto: Mosquitto,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[PublisherSite]:
    """A broker of the test's own, a subscriber, and services that check their file 20 times a second."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(module, "SAVE_SECONDS", 0.1)
    with RecordingSubscriber(mosquitto.port) as heard:
        made = PublisherSite(settings, mosquitto, heard, tmp_path / "entries.json")
        write(made.file, [entry("a")])
        yield made
        for service in made.services:
            service.stop()
