"""Commands and their acknowledgements, at Mosquitto and at the embedded broker."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from config import Settings
from tests.api import Api, running
from tests.brokers import RealBroker, each_broker
from tests.devices import DeviceClient
from tests.support import wait_for

pytestmark = pytest.mark.database

COMMAND = {"device_id": "ESP32_001", "command": "restart"}


@pytest.fixture
def place(settings: Callable[..., Settings], real_broker: RealBroker) -> Settings:
    return settings(**real_broker.settings)


@pytest.fixture
def device(real_broker: RealBroker) -> Iterator[DeviceClient]:
    with closing(DeviceClient(real_broker.port)) as made:
        yield made


@contextmanager
def ingesting(place: Settings) -> Iterator[Api]:
    """The API, subscribed to the acknowledgements."""
    with running(place, start=True) as api:
        wait_for(lambda: api.get("/api/health")["status"] == "healthy", what="the subscription")
        yield api


def await_status(api: Api, command: dict[str, Any], status: str) -> None:
    wait_for(lambda: api.get(command["url"])["status"] == status, what=f"the status {status}")


@each_broker
def test_a_command_reaches_its_device_and_its_acknowledgements_come_back(
    place: Settings, device: DeviceClient
) -> None:
    with ingesting(place) as api:
        command = api.post("/api/control", COMMAND, expect=202)
        message = device.next()
        assert (message.topic, message.qos) == ("control/ESP32_001/command", 1)
        assert not message.retain
        for status in ("in_progress", "succeeded"):
            device.acknowledge(command["command_id"], status)
            await_status(api, command, status)


@each_broker
def test_what_a_device_acknowledges_while_nothing_ingests_is_known_afterwards(
    place: Settings, device: DeviceClient
) -> None:
    with ingesting(place) as api:
        command = api.post("/api/control", COMMAND, expect=202)
        assert device.next_command()["command_id"] == command["command_id"]
    device.acknowledge(command["command_id"], "succeeded")
    with running(place) as api:
        assert api.get(command["url"])["status"] == "sent"
    with ingesting(place) as api:
        await_status(api, command, "succeeded")
