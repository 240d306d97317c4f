"""Check the endpoints of PELBIOT, as part of `flask verify`."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from urllib.parse import quote

from ingest.showing import shown
from integrations.pelbiot import routes
from services.running_backend import (
    Failure,
    RunningBackend,
    as_list,
    as_object,
    good,
    milliseconds_since,
)
from services.verification import Result, Verification, result
from services.verification_samples import plausible
from streams.stream import Stream
from utils.text import printable


class PanelChecks:
    """The checks; each returns a message, or raises Failure."""

    def __init__(self, panels: Stream, backend: RunningBackend, made: dict[str, datetime]) -> None:
        self._panels = panels
        self._backend = backend
        self._made = made

    def mqtt_status(self) -> str:
        """Check that the backend is connected to its broker."""
        status = as_object(
            self._backend.get("/api/mqtt/status"), "connected", "clientId", "messageCount"
        )
        if status["connected"] is not True:
            came = f"{shown(status['connected'])}: {printable(str(status.get('error')))}"
            raise Failure(
                '"connected": true', came, "check the broker, and MQTT_BROKER of the backend"
            )
        return f"connected as {status['clientId']}, {status['messageCount']} messages received"

    def last_values(self) -> str:
        """Check that the newest value of each metric is served."""
        names = [metric.name for metric in self._panels.metrics]
        values = as_object(self._backend.get("/api/mqtt/last-values"), *names, "timestamp")
        return ", ".join(f"{name} {shown(values[name])}" for name in names)

    def topics(self) -> str:
        """Check that the panels' topics are subscribed."""
        served = self._backend.get("/api/mqtt/topics")
        missing = [
            topic for topic in self._panels.topic.subscriptions() if topic not in as_list(served)
        ]
        if missing:
            raise Failure(
                ", ".join(missing),
                f"only {shown(served)}",
                "restart the backend with these declarations",
            )
        return ", ".join(map(str, served))

    def history(self) -> str:
        """Check that the newest messages of panels are served."""
        messages = as_list(self._backend.get("/api/mqtt/history?limit=10"))
        for message in messages:
            as_object(message, "topic", "value", "timestamp")
        return f"{len(messages)} messages"

    def publish(self) -> str:
        """Check that a message published over HTTP returns through the broker and the database."""
        sample = plausible(self._panels, self._panels.metrics[0])
        self._made[self._panels.name] = sample.at
        begun = time.monotonic()
        body = {"topic": sample.topic, "message": sample.payload}
        answer = good(*self._backend.ask("/api/mqtt/publish", body))
        if as_object(answer, "success")["success"] is not True:
            raise Failure('"success": true', shown(answer), "check the broker")
        expected = {"value": sample.payload["value"], "timestamp": sample.expected["timestamp"]}
        self._backend.expect(f"/api/mqtt/last-value/{quote(sample.topic)}", expected)
        return f"{sample.topic} published, stored and served after {milliseconds_since(begun)} ms"


CHECKS: Mapping[str, Callable[[PanelChecks], str]] = {
    "GET /api/mqtt/status": PanelChecks.mqtt_status,
    "GET /api/mqtt/last-values": PanelChecks.last_values,
    "GET /api/mqtt/topics": PanelChecks.topics,
    "GET /api/mqtt/history": PanelChecks.history,
    "POST /api/mqtt/publish": PanelChecks.publish,
}


def results(verification: Verification) -> Iterator[Result]:
    """Do the checks, or leave them out without a stream that fits."""
    panels = verification.streams.get("panels")
    own = None
    if panels is not None and routes.fits(panels):
        own = PanelChecks(panels, verification.backend, verification.made)
    for name, check in CHECKS.items():
        if own is None:
            yield Result(name, "left out", "no stream panels is declared here")
        else:
            yield result(name, partial(check, own))
