"""What several tests of commands need."""

from collections.abc import Iterator

import pytest

from tests.devices import Device


@pytest.fixture
def device(embedded_broker: int) -> Iterator[Device]:
    """A device that listens for commands."""
    made = Device(embedded_broker)
    yield made
    made.close()
