"""Verification: is a running AutoForge whole, from the broker to what it serves? Each check says what it found."""

import json
import math
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from broker.publisher import Publisher, PublishError
from broker.sessions import SessionError, undelivered
from config import Settings, SettingsError
from ingest.values import shown
from models import VERIFY_DEVICE
from mqtt_client import NOTHING
from services import verification_traces
from services.running_backend import Failure, RunningBackend, as_list, as_object, good
from streams.registry import Streams
from streams.stream import Metric, Stream
from utils import clock
from utils.text import printable

DEVICE = VERIFY_DEVICE
BROKER_ADVICE = (
    "start the broker, or set MQTT_BROKER, MQTT_PORT and the login here as the backend has them"
)
_METRIC = ("name", "type", "required")


class Result(NamedTuple):
    """What a check has found."""

    check: str
    outcome: Literal["ok", "FAILED", "left out"]
    detail: str


class VerificationSample(NamedTuple):
    """A reading to publish, and what is to be served of it."""

    topic: str
    payload: dict[str, Any]
    expected: dict[str, Any]
    at: datetime


class Verification:
    """The checks; each gives a sentence, or raises Failure."""

    def __init__(
        self, settings: Settings, streams: Streams, backend: RunningBackend, timeout: float
    ) -> None:
        self._settings = settings
        self._streams = streams
        self._backend = backend
        self._timeout = timeout
        self._publisher = Publisher(settings, timeout)
        self.made: dict[str, datetime] = {}
        """By stream, the time of a reading that was made."""

    def close(self) -> None:
        """Disconnect."""
        self._publisher.close()

    def health(self) -> str:
        """The backend says that it is well."""
        status, answer = self._backend.ask("/api/health")
        health = as_object(answer, "status", "message", "version")
        if health["status"] != "healthy":
            came = f"{status}, {shown(health['status'])}: {printable(str(health['message']))}"
            raise Failure('200, "healthy"', came, "mend what it names; the log says more")
        return f"healthy, version {health['version']}"

    def mqtt_status(self) -> str:
        """The backend is connected to its broker."""
        status = as_object(
            self._backend.get("/api/mqtt/status"), "connected", "clientId", "messageCount"
        )
        if status["connected"] is not True:
            came = f"{shown(status['connected'])}: {printable(str(status.get('error')))}"
            raise Failure(
                '"connected": true', came, "look at the broker, and at MQTT_BROKER of the backend"
            )
        return f"connected as {status['clientId']}, {status['messageCount']} messages received"

    def last_values(self) -> str:
        """The newest value of each metric of a panel is served."""
        names = [metric.name for metric in self._streams["panels"].metrics]
        values = as_object(self._backend.get("/api/mqtt/last-values"), *names, "timestamp")
        return ", ".join(f"{name} {shown(values[name])}" for name in names)

    def topics(self) -> str:
        """The panels' topics are subscribed to."""
        served = self._backend.get("/api/mqtt/topics")
        missing = [
            topic
            for topic in self._streams["panels"].topic.subscriptions()
            if topic not in as_list(served)
        ]
        if missing:
            raise Failure(
                ", ".join(missing),
                f"only {shown(served)}",
                "restart the backend with these declarations",
            )
        return ", ".join(map(str, served))

    def history(self) -> str:
        """The newest messages of panels are served."""
        messages = as_list(self._backend.get("/api/mqtt/history?limit=10"))
        for message in messages:
            as_object(message, "topic", "value", "timestamp")
        return f"{len(messages)} messages"

    def broker(self) -> str:
        """The broker takes a message from here."""
        self._publish(NOTHING, b"")
        return "connected, and a message acknowledged"

    def publish(self) -> str:
        """What is published over HTTP comes back by the broker and the database."""
        panels = self._streams["panels"]
        sample = plausible(panels, panels.metrics[0])
        self.made[panels.name] = sample.at
        begun = time.monotonic()
        answer = good(
            *self._backend.ask(
                "/api/mqtt/publish", {"topic": sample.topic, "message": sample.payload}
            )
        )
        if as_object(answer, "success")["success"] is not True:
            raise Failure('"success": true', shown(answer), "look at the broker")
        expected = {"value": sample.payload["value"], "timestamp": sample.expected["timestamp"]}
        self._await(f"/api/mqtt/last-value/{quote(sample.topic)}", expected)
        return f"{sample.topic} published, stored and served after {_since(begun)} ms"

    def declarations(self) -> str:
        """The running backend has the streams that are declared here."""
        running = self._running()
        here = {stream.name: _own_essence(stream) for stream in self._streams}
        if differing := sorted(
            name for name in running.keys() | here if running.get(name) != here.get(name)
        ):
            came = f"a difference in {printable(', '.join(differing))}"
            advice = "use the backend's STREAMS_DIR and SENSOR_TOPIC here, or restart it with these"
            raise Failure("the streams that are declared here", came, advice)
        return ", ".join(here)

    def round_trip(self, stream: Stream) -> str:
        """A reading that is published is stored, and served exactly."""
        if stream.name not in self._running():
            raise Failure(
                "this stream in the running backend", "none", "restart it with this declaration"
            )
        begun = time.monotonic()
        sample = self._deliver(stream)
        self._await(f"/api/{stream.name}/latest?device_id={DEVICE}", sample.expected)
        return f"{sample.topic} published, stored and served after {_since(begun)} ms"

    def _deliver(self, stream: Stream) -> VerificationSample:
        """Publish a reading on each topic of a stream, and see those that name a device come back; the last one."""
        samples = [
            plausible(stream, metric)
            for metric in stream.metrics[:: -1 if stream.topic.has_metric else 1]
        ]
        samples = samples if stream.topic.has_metric else samples[:1]
        self.made[stream.name] = samples[-1].at
        messages = {sample.topic: json.dumps(sample.payload).encode() for sample in samples}
        if not stream.topic.has_device:
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
            advice = f"the broker does not deliver {lost}: its access list? `flask acl` prints one"
            raise Failure(
                f"{lost} back from the broker", f"nothing within {self._timeout:g} s", advice
            )
        return samples[-1]

    def clean(self) -> str | None:
        """Remove what was made; None where it is in another database."""
        if not verification_traces.remove(self._settings, self._streams, self.made):
            return None
        return f"the readings of {DEVICE} are removed; of each stream one may stay until the next time, and is not listed"

    def _await(self, path: str, expected: dict[str, Any]) -> None:
        answer = self._backend.wait_for(path, lambda answer: not _differing(answer, expected))
        if wrong := sorted(_differing(answer, expected)):
            served, wished = _document(answer), shown({name: expected[name] for name in wrong})
            came = (
                shown({name: served[name] for name in wrong})
                if served.keys() >= set(wrong)
                else shown(answer)
            )
            raise Failure(wished, came, self._advice(expected["timestamp"]))

    def _advice(self, at: str) -> str:
        for row in as_list(as_object(self._backend.get("/api/rejected"), "data")["data"]):
            if at in str(as_object(row, "payload", "message")["payload"]):
                return f"it was rejected: {printable(str(row['message']))}"
        return "see that the backend ingests from the same broker, and that the clocks agree"

    def _publish(self, topic: str, payload: bytes) -> None:
        try:
            self._publisher.publish(topic, payload)
        except (PublishError, SettingsError) as error:
            raise Failure(
                "the broker's acknowledgement", f"none: {error}", BROKER_ADVICE
            ) from error

    def _running(self) -> dict[str, Any]:
        declared = as_list(as_object(self._backend.get("/api/streams"), "streams")["streams"])
        return {str(stream["name"]): stream for stream in map(_essence, declared)}


def run(settings: Settings, streams: Streams, url: str, timeout: float) -> Iterator[Result]:
    """Check a running backend; one failure does not stop the others. `timeout` in seconds is for each answer."""
    checks = Verification(settings, streams, RunningBackend(url, timeout), timeout)
    try:
        yield _result("Backend health", checks.health)
        panels = streams.get("panels")
        for name, check in (
            ("GET /api/mqtt/status", checks.mqtt_status),
            ("GET /api/mqtt/last-values", checks.last_values),
            ("GET /api/mqtt/topics", checks.topics),
            ("GET /api/mqtt/history", checks.history),
            ("POST /api/mqtt/publish", checks.publish),
        ):
            declared = panels is not None and panels.topic.has_metric
            yield (
                _result(name, check)
                if declared
                else Result(name, "left out", "no stream panels is declared here")
            )
        yield _result("MQTT broker connection", checks.broker)
        yield _result("Declared streams", checks.declarations)
        for stream in streams:
            yield _result(f"Stream {stream.name}", partial(checks.round_trip, stream))
        if checks.made:
            yield _cleaning(checks, url)
    finally:
        checks.close()


def _cleaning(checks: Verification, url: str) -> Result:
    if removed := checks.clean():
        return Result("Clean up", "ok", removed)
    kept = f"DATABASE_URL here is not the database of {url}: readings of {DEVICE} stay in {', '.join(checks.made)}"
    return Result("Clean up", "left out", f"{kept}; lists and figures leave them out")


def plausible(stream: Stream, metric: Metric | None = None) -> VerificationSample:
    """A reading of `autoforge-verify` now; of one metric alone, the first or this one, where each has its own topic."""
    now = clock.now()
    at = clock.rfc3339(now)
    payload: dict[str, Any] = {} if stream.topic.has_device else {stream.device: DEVICE}
    payload[stream.timestamp.field] = at
    values: dict[str, Any] = {}
    for each in stream.metrics:
        values[each.name] = plausible_value(each, values)
    only = metric or stream.metrics[0]
    if stream.topic.has_metric:
        values = {only.name: values[only.name]}
        payload["value"] = values[only.name]
    else:
        payload |= {stream.values: values} if stream.values else values
    topic = stream.topic.fill(DEVICE, only.level)
    return VerificationSample(topic, payload, {"device_id": DEVICE, "timestamp": at, **values}, now)


def plausible_value(metric: Metric, before: dict[str, Any]) -> float | str:
    """What a simulated device would say on average; `before` has the values of the metrics that stand before."""
    simulation = metric.simulate
    if metric.type == "text":
        return simulation.states[0]
    value = simulation.mean
    if simulation.product:
        value = simulation.factor * math.prod(before[name] for name in simulation.product)
    low = -math.inf if simulation.minimum is None else simulation.minimum
    return min(max(value, low), math.inf if simulation.maximum is None else simulation.maximum)


def _result(name: str, check: Callable[[], str]) -> Result:
    try:
        return Result(name, "ok", check())
    except Failure as failure:
        return Result(name, "FAILED", str(failure))


def _document(answer: Any) -> dict[str, Any]:
    inner = answer.get("data", answer) if isinstance(answer, dict) else {}
    return inner if isinstance(inner, dict) else {}


def _differing(answer: Any, expected: dict[str, Any]) -> set[str]:
    served = _document(answer)
    return {name for name in expected if name not in served or served[name] != expected[name]}


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


def _since(begun: float) -> str:
    return f"{1000 * (time.monotonic() - begun):.0f}"
