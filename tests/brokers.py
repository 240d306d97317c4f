"""The brokers that AutoForge is run with: Mosquitto, and the embedded broker of the product."""

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest

from benchmarks.broker import lets_in
from broker import embedded
from broker.embedded import EmbeddedBroker
from broker.store import Store
from config import Settings
from tests.support import Mosquitto, free_port, wait_for


class EmbeddedServer:
    """The embedded broker, started as `python app.py` starts it; it admits devices from the start.

    The product admits them once its session at the broker keeps what they publish. Here it is the
    test that decides when there is such a session, as it does at Mosquitto.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.settings: dict[str, Any] = {
            "database_url": f"sqlite:///{folder}/test.db",
            "mqtt_port": self.port,
        }
        """The settings of an AutoForge that uses it; its store is beside the database."""
        self._settings = Settings(_env_file=None, **self.settings)
        self._store = Store(self._settings.broker_folder)
        self._broker: EmbeddedBroker | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and return when it admits devices."""
        self._broker = embedded.start_if_needed(self._settings)
        assert self._broker is not None, f"something else answers on port {self.port}"
        self._store.admit()
        wait_for(partial(lets_in, self.port), what="the embedded broker to admit devices")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, by this signal, and wait until it has ended."""
        if self._broker is not None:
            if number != signal.SIGTERM:
                os.kill(int(self._store.pid_file.read_text()), number)
            self._broker.stop()
            self._broker = None


RealBroker = Mosquitto | EmbeddedServer
each_broker = pytest.mark.parametrize(
    "real_broker", ["mosquitto", "embedded_broker"], indirect=True
)
"""For what must be the same at both of them."""
each_broker_and_version = pytest.mark.parametrize(
    ("real_broker", "version"),
    [("mosquitto", "3.1.1"), ("mosquitto", "5"), ("embedded_broker", "3.1.1")],
    indirect=["real_broker"],
)
"""For what must be the same with each version of MQTT that one of them speaks."""
