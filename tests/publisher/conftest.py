"""Runs the static publisher on a broker that hears it."""

from functools import partial
from pathlib import Path

import pytest

from tests.publishing import Run, running
from tests.support import Mosquitto


@pytest.fixture
def run(tmp_path: Path, broker: Mosquitto) -> Run:
    """Runs it in the test's folder, on the broker of the module."""
    return partial(running, tmp_path, broker.port)


@pytest.fixture
def alone(tmp_path: Path, mosquitto: Mosquitto) -> Run:
    """Runs it in the test's folder, on a broker of the test's own."""
    return partial(running, tmp_path, mosquitto.port)
