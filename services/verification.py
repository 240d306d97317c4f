"""Verify a running backend, from the broker to its answers. Each check reports what it found."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Any, Literal, NamedTuple

from broker.publisher import Publisher, PublishError
from broker.sessions import SessionError, undelivered
from config import Settings, SettingsError
from ingest.showing import shown
from models import VERIFY_DEVICE
from mqtt_client import NOTHING
from services import verification_traces
from services.running_backend import (
    Failure,
    RunningBackend,
    as_list,
    as_object,
    milliseconds_since,
)
from services.verification_samples import VerificationSample, plausible, unverifiable
from streams.registry import Streams
from streams.stream import Stream
from utils.text import printable

DEVICE = VERIFY_DEVICE
BROKER_ADVICE = (
    "start the broker, or set MQTT_BROKER, MQTT_PORT and the login here as the backend has them"
)
_METRIC = ("name", "type", "required")


class Result(NamedTuple):
    """The outcome of a check."""

    check: str
    outcome: Literal["ok", "FAILED", "left out"]
    detail: str


class Verification:
    """The checks; each returns a message, or raises Failure."""

    def __init__(
        self, settings: Settings, streams: Streams, backend: RunningBackend, timeout: float
    ) -> None:
        self._settings = settings
        self.streams = streams
        self.backend = backend
        self._timeout = timeout
        self._publisher = Publisher(settings, timeout)
        self.made: dict[str, datetime] = {}
        """The time of the last reading made, by stream."""

    def close(self) -> None:
        """Disconnect from the broker."""
        self._publisher.close()

    def health(self) -> str:
        """Check that the backend is healthy."""
        status, answer = self.backend.ask("/api/health")
        health = as_object(answer, "status", "message", "version")
        if health["status"] != "healthy":
            came = f"{status}, {shown(health['status'])}: {printable(str(health['message']))}"
            raise Failure('200, "healthy"', came, "fix what it names; the log has details")
        return f"healthy, version {health['version']}"

    def broker(self) -> str:
        """Check that the broker acknowledges a message from here."""
        self._publish(NOTHING, b"")
        return "connected, and a message acknowledged"

    def declarations(self) -> str:
        """Check that the running backend has the streams declared here."""
        running = self._running()
        here = {stream.name: _own_essence(stream) for stream in self.streams}
        if differing := sorted(
            name for name in running.keys() | here if running.get(name) != here.get(name)
        ):
            came = f"a difference in {printable(', '.join(differing))}"
            advice = "use the backend's STREAMS_DIR and SENSOR_TOPIC here, or restart it with these"
            raise Failure("the streams that are declared here", came, advice)
        return ", ".join(here)

    def round_trip(self, stream: Stream) -> str:
        """Check that a published reading is stored, and served unchanged."""
        if stream.name not in self._running():
            raise Failure(
                "this stream in the running backend", "none", "restart it with this declaration"
            )
        begun = time.monotonic()
        sample = self._deliver(stream)
        self.backend.expect(f"/api/{stream.name}/latest?device_id={DEVICE}", sample.expected)
        return f"{sample.topic} published, stored and served after {milliseconds_since(begun)} ms"

    def _deliver(self, stream: Stream) -> VerificationSample:
        """Publish a reading on each topic of a stream; return the last one.

        Where the topic contains the device id, check that the broker delivers them.
        """
        samples = [
            plausible(stream, metric)
            for metric in stream.metrics[:: -1 if stream.topic.has_metric else 1] or [None]
        ]
        samples = samples if stream.topic.has_metric else samples[:1]
        self.made[stream.name] = samples[-1].at
        messages = {sample.topic: json.dumps(sample.payload).encode() for sample in samples}
        if not stream.is_named_by_topic:
            for topic, payload in messages.items():
                self._publish(topic, payload)
            return samples[-1]
        try:
            lost = ", ".join(undelivered(self._settings, messages, self._timeout))
        except SessionError as error:
            raise Failure(
                "the broker's acknowledgement", f"none: {error}", BROKER_ADVICE
            ) from error
        if lost:
            advice = f"check the broker's access list for {lost}; `flask acl` prints one"
            raise Failure(
                f"{lost} back from the broker", f"nothing within {self._timeout:g} s", advice
            )
        return samples[-1]

    def clean(self) -> str | None:
        """Remove the readings made; None if they are in another database."""
        if not verification_traces.remove(self._settings, self.streams, self.made):
            return None
        removed = f"the readings of {DEVICE} are removed"
        return f"{removed}; one per stream may stay until the next run, and is not listed"

    def _publish(self, topic: str, payload: bytes) -> None:
        try:
            self._publisher.publish(topic, payload)
        except (PublishError, SettingsError) as error:
            raise Failure(
                "the broker's acknowledgement", f"none: {error}", BROKER_ADVICE
            ) from error

    def _running(self) -> dict[str, Any]:
        declared = as_list(as_object(self.backend.get("/api/streams"), "streams")["streams"])
        return {str(stream["name"]): stream for stream in map(_essence, declared)}


Checks = Callable[[Verification], Iterator[Result]]
"""Checks that an integration contributes."""


def result(name: str, check: Callable[[], str]) -> Result:
    """Do a check and return its outcome."""
    try:
        return Result(name, "ok", check())
    except Failure as failure:
        return Result(name, "FAILED", str(failure))


def run(
    settings: Settings, streams: Streams, url: str, timeout: float, contributed: Iterable[Checks]
) -> Iterator[Result]:
    """Check a running backend; a failed check does not stop the others.

    `timeout` is in seconds, for each answer. `contributed` are the checks of integrations.
    """
    checks = Verification(settings, streams, RunningBackend(url, timeout), timeout)
    try:
        yield result("Backend health", checks.health)
        for own in contributed:
            yield from own(checks)
        yield result("MQTT broker connection", checks.broker)
        yield result("Declared streams", checks.declarations)
        for stream in streams:
            if reason := unverifiable(stream):
                yield Result(f"Stream {stream.name}", "left out", reason)
            else:
                yield result(f"Stream {stream.name}", partial(checks.round_trip, stream))
        if checks.made:
            yield _cleaning(checks, url)
    finally:
        checks.close()


def _cleaning(checks: Verification, url: str) -> Result:
    if removed := checks.clean():
        return Result("Clean up", "ok", removed)
    reason = f"DATABASE_URL here is not the database of {url}"
    kept = f"readings of {DEVICE} stay in {', '.join(checks.made)}"
    return Result("Clean up", "left out", f"{reason}: {kept}; lists and figures leave them out")


def _essence(listed: Any) -> dict[str, Any]:
    names = ("name", "topic", "device", "timestamp_required", "metrics")
    answer = as_object(listed, *names)
    metrics = [as_object(metric, *_METRIC) for metric in as_list(answer["metrics"])]
    return {name: answer[name] for name in names} | {
        "metrics": [{n: metric[n] for n in _METRIC} for metric in metrics]
    }


def _own_essence(stream: Stream) -> dict[str, Any]:
    return {
        "name": stream.name,
        "topic": str(stream.topic),
        "device": stream.device,
        "timestamp_required": stream.timestamp.required,
        "metrics": [{name: getattr(metric, name) for name in _METRIC} for metric in stream.metrics],
    }
